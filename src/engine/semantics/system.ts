/**
 * System instructions (SDM vol. 2). Guests run at CPL 3, their kernels too: what needs ring 0 leaves guest code with
 * EXIT.PRIVILEGED, and the hypervisor emulates it or raises #GP(0).
 */
import { CpuState, EXIT, GPR, SEG, VEC } from '../state.ts';
import type { Builder, Val } from './builder.ts';
import { storeSelector } from './segment.ts';
import { type Insn, insn } from './table.ts';

const CR4 = { TSD: 1 << 2, FSGSBASE: 1 << 16, OSXSAVE: 1 << 18 } as const;

/** An instruction that is always the hypervisor's. */
const emulated = (name: string, encodings: string | string[]): Insn =>
  insn(name, encodings, (b) => b.exit(EXIT.PRIVILEGED));
const undefinedOpcode = (name: string, encodings: string | string[]): Insn =>
  insn(name, encodings, (b) => b.raise(VEC.UD));

/** #UD unless a bit of CR4 is set. */
function needs(b: Builder, bit: number): void {
  b.raiseIf(b.eqz(b.and(b.get(CpuState.off.cr4, 4), b.i32(bit))), VEC.UD);
}

/** v to rDX:rAX as two halves. */
function toEdxEax(b: Builder, v: Val): void {
  b.setReg(GPR.RAX, 4, v);
  b.setReg(GPR.RDX, 4, b.shrU(v, 32));
}

function rdtsc(b: Builder, aux: boolean): void {
  const disabled = b.and(b.get(CpuState.off.cr4, 4), b.i32(CR4.TSD));
  b.if(b.and(disabled, b.shl(b.get(CpuState.off.cpl, 4), 2)), () => b.exit(EXIT.PRIVILEGED));
  toEdxEax(b, b.call('rdtsc', [], 'i64', { pure: true }));
  if (aux) b.setReg(GPR.RCX, 4, b.get(CpuState.off.tsc_aux, 4));
}

/** CF = 1 (a number was there), the other status flags 0. */
function random(b: Builder): void {
  const v = b.call('rdrand', [], 'i64', { pure: true });
  b.write(0, b.to(b.ty(b.size), v));
  const one = b.i64(1);
  // Bits 63 and 62: CF with OF = 0.
  b.flags({ z: one, s: one, c: b.i64(-1), x: one });
}

function xgetbv(b: Builder): void {
  needs(b, CR4.OSXSAVE);
  b.raiseIf(b.reg(GPR.RCX, 4), VEC.GP, 0);
  toEdxEax(b, b.get(CpuState.off.xcr0, 8));
}

/**
 * sgdt and sidt are not privileged. No linear address holds the tables: guests see base 0.
 */
function storeTable(b: Builder, limit: Val): void {
  const base = b.long ? 8 : 4;
  const p = b.probe(b.ea(0), 2 + base);
  b.pstore(p, 0, 2, limit);
  b.pstore(p, 2, base, b.i64(0));
  b.commit(p);
}
const IDT_LIMIT = 256 * 16 - 1;

/** rdfsbase rdgsbase wrfsbase wrgsbase. */
const segmentBase = (name: string, digit: number, seg: number, write: boolean): Insn =>
  insn(name, `F3 0F AE /${digit} Ry ; o64`, (b) => {
    needs(b, CR4.FSGSBASE);
    const at = CpuState.off.segbase + seg * 8;
    if (!write) {
      b.write(0, b.get(at, b.size));
      return;
    }
    const v = b.to('i64', b.read(0));
    if (b.size === 8) {
      const canonical = b.shrS(b.shl(v, 16), 16);
      b.raiseIf(b.cmp('ne', canonical, v), VEC.GP, 0);
    }
    b.set(at, 8, v);
  });

export const system: Insn[] = [
  // What asks for the hypervisor by design.
  insn('syscall', '0F 05', (b) => b.exit(EXIT.SYSCALL)),
  insn('sysenter', '0F 34', (b) => b.exit(EXIT.SYSENTER)),
  insn('cpuid', '0F A2', (b) => b.exit(EXIT.CPUID)),
  insn('vmcall', 'NP 0F 01 =C1', (b) => b.exit(EXIT.VMCALL)),
  insn('vmmcall', 'NP 0F 01 =D9', (b) => b.exit(EXIT.VMCALL)),
  insn('int', 'CD Ib', (b) => b.exit(EXIT.SOFTINT, { vector: b.zx(b.read(0), 1) })),
  insn('int3', 'CC', (b) => b.exit(EXIT.SOFTINT, { vector: b.i32(VEC.BP) })),
  insn('into', 'CE ; i64', (b) => b.if(b.flag('o'), () => b.exit(EXIT.SOFTINT, { vector: b.i32(VEC.OF) }))),
  // A trap: rip is after it. No DPL check, so it is an exception and no software interrupt.
  insn('int1', 'F1', (b) => b.exit(EXIT.EXCEPTION, { vector: b.i32(VEC.DB), next: true })),
  insn('hlt', 'F4', (b) => {
    b.privileged();
    b.exit(EXIT.HLT, { next: true });
  }),

  // Ring 0.
  emulated('sysret', '0F 07'),
  emulated('sysexit', '0F 35'),
  emulated('rdmsr', '0F 32'),
  emulated('wrmsr', '0F 30'),
  emulated('invd', '0F 08'),
  emulated('wbinvd', '0F 09'),
  emulated('clts', '0F 06'),
  emulated('invlpg', '0F 01 /7 Mb'),
  emulated(
    'mov',
    // Control registers 0 (with REX.R 8), 2, 3 and 4; the others do not exist.
    [0, 2, 3, 4].flatMap((n) => [`0F 20 /${n} Rd,Cd`, `0F 22 /${n} Cd,Rd`]),
  ),
  emulated('mov', ['0F 21 Rd,Dd', '0F 23 Dd,Rd']),
  emulated('lgdt', '0F 01 /2 M'),
  emulated('lidt', '0F 01 /3 M'),
  emulated('lmsw', '0F 01 /6 Ew'),
  emulated('lldt', '0F 00 /2 Ew'),
  emulated('ltr', '0F 00 /3 Ew'),
  emulated('swapgs', '0F 01 =F8 ; o64'),
  emulated('xsetbv', 'NP 0F 01 =D1'),
  // Ports: allowed or not by the guest's IOPL and I/O bitmap, which the hypervisor keeps.
  emulated('in', ['E4 AL,Ib', 'E5 rAX,Ib', 'EC AL,DX', 'ED rAX,DX']),
  emulated('out', ['E6 Ib,AL', 'E7 Ib,rAX', 'EE DX,AL', 'EF DX,rAX']),
  emulated('ins', ['6C', '6D ; v']),
  emulated('outs', ['6E', '6F ; v']),

  // Performance counters are not offered.
  insn('rdpmc', '0F 33', (b) => b.raise(VEC.GP, 0)),
  undefinedOpcode('ud2', '0F 0B'),
  undefinedOpcode('ud1', '0F B9 Gv,Ev'),
  undefinedOpcode('ud0', '0F FF Gv,Ev'),
  undefinedOpcode('monitor', '0F 01 =C8'),
  undefinedOpcode('mwait', '0F 01 =C9'),

  // Readable at any CPL.
  insn('rdtsc', '0F 31', (b) => rdtsc(b, false)),
  insn('rdtscp', '0F 01 =F9', (b) => rdtsc(b, true)),
  insn('rdrand', '0F C7 /6 Rv', random),
  insn('rdseed', '0F C7 /7 Rv', random),
  insn('xgetbv', 'NP 0F 01 =D0', xgetbv),
  insn('sgdt', '0F 01 /0 M', (b) => storeTable(b, b.get(CpuState.off.gdt_limit, 4))),
  insn('sidt', '0F 01 /1 M', (b) => storeTable(b, b.i32(IDT_LIMIT))),
  insn('sldt', ['0F 00 /0 Ev ; reg', '0F 00 /0 Ew ; mem'], (b) =>
    storeSelector(b, b.get(CpuState.off.sel + SEG.LDTR * 2, 2)),
  ),
  insn('str', ['0F 00 /1 Ev ; reg', '0F 00 /1 Ew ; mem'], (b) =>
    storeSelector(b, b.get(CpuState.off.sel + SEG.TR * 2, 2)),
  ),
  insn('smsw', ['0F 01 /4 Ev ; reg', '0F 01 /4 Ew ; mem'], (b) =>
    storeSelector(b, b.get(CpuState.off.cr0, b.bytes(0))),
  ),
  segmentBase('rdfsbase', 0, SEG.FS, false),
  segmentBase('rdgsbase', 1, SEG.GS, false),
  segmentBase('wrfsbase', 2, SEG.FS, true),
  segmentBase('wrgsbase', 3, SEG.GS, true),
];
