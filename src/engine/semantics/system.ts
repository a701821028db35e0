/**
 * System instructions (SDM vol. 2). PV guests run at CPL 3, their kernels too: what needs ring 0 leaves guest code with
 * EXIT.PRIVILEGED, and the hypervisor emulates it or raises #GP(0). In an HVM container they do what they do
 * (runtime/hvm/), at CPL 0.
 */
import { CpuState, EXIT, GPR, IO_IN, SEG, VEC } from '../state.ts';
import type { Builder, Val } from './builder.ts';
import { storeSelector } from './segment.ts';
import { type Insn, insn } from './table.ts';

const CR4 = { TSD: 1 << 2, FSGSBASE: 1 << 16, OSXSAVE: 1 << 18 } as const;

const inHvm = (b: Builder): Val => b.get(CpuState.off.hvm, 4);

/** The hypervisor's in PV; else #GP(0) unless CPL is 0. */
export function ring0(b: Builder): void {
  b.if(b.eqz(inHvm(b)), () => b.exit(EXIT.PRIVILEGED));
  b.raiseIf(b.get(CpuState.off.cpl, 4), VEC.GP, 0);
}

/** An instruction of ring 0. */
const privileged = (name: string, encodings: string | string[], describe: (b: Builder) => void): Insn =>
  insn(name, encodings, (b) => {
    ring0(b);
    describe(b);
  });

/** Goes on behind this instruction, with whatever it has changed of the vCPU's address space or mode. */
export function goOn(b: Builder): void {
  b.set(CpuState.off.rip, 8, b.nextRip());
  b.resync();
}

/** Calls a helper that may fault, and goes on. */
function helper(b: Builder, name: string, ...args: Val[]): void {
  b.callFaulting(name, args);
  goOn(b);
}

/** lgdt, lidt. */
function loadTable(b: Builder, name: string): void {
  const at = b.ea(0);
  const base = b.add(at, b.i64(2));
  const limit = b.load(at, 2);
  b.callFaulting(name, [limit, b.to('i64', b.load(b.long ? base : b.zx(base, 4), b.long ? 8 : 4))]);
}

/** in and out: the bytes that are moved, from or to port `port` (i32). */
function port(b: Builder, bytes: number, at: Val, input: boolean): void {
  b.if(b.eqz(inHvm(b)), () => b.exit(EXIT.PRIVILEGED));
  const n = b.zx(at, 2);
  b.callFaulting('hvm_io_okay', [n, b.i32(bytes)]);
  const leave = () => b.exit(EXIT.IO, { vector: n, error: b.i32(bytes | (input ? IO_IN : 0)) });
  if (!input) {
    leave();
    return;
  }
  b.if(b.eqz(b.get(CpuState.off.no_ports, 4)), leave);
  b.setReg(GPR.RAX, bytes, b.i32(-1));
}

const input = (encoding: string) => insn('in', encoding, (b) => port(b, portBytes(b, 0), portOf(b, 1), true));
const output = (encoding: string) => insn('out', encoding, (b) => port(b, portBytes(b, 1), portOf(b, 0), false));
/** REX.W makes no more of it than four bytes. */
const portBytes = (b: Builder, i: number): number => Math.min(b.bytes(i), 4);
/** Ports of an immediate operand have 8 bits, DX's 16. */
const portOf = (b: Builder, i: number): Val => (b.bytes(i) === 1 ? b.zx(b.read(i), 1) : b.read(i));

function invpcid(b: Builder): void {
  const at = b.ea(1);
  const second = b.add(at, b.i64(8));
  const pcid = b.load(at, 8);
  const va = b.load(b.long ? second : b.zx(second, 4), 8);
  helper(b, 'hvm_invpcid', b.to('i64', b.read(0)), pcid, va);
}
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
  b.if(b.select(b.get(CpuState.off.cpl, 4), disabled, b.i32(0)), () => {
    b.if(b.eqz(inHvm(b)), () => b.exit(EXIT.PRIVILEGED));
    b.raise(VEC.GP, 0);
  });
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

/** sgdt and sidt are not privileged. No linear address holds a PV guest's tables: it sees base 0. */
function storeTable(b: Builder, limit: Val, at: number): void {
  const base = b.long ? 8 : 4;
  const p = b.probe(b.ea(0), 2 + base);
  b.pstore(p, 0, 2, limit);
  b.pstore(p, 2, base, b.get(at, 8));
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
  insn('syscall', '0F 05', (b) => {
    b.if(b.eqz(inHvm(b)), () => b.exit(EXIT.SYSCALL));
    b.callFaulting('hvm_syscall', [b.nextRip()]);
    b.resync();
  }),
  insn('sysenter', '0F 34', (b) => {
    b.if(b.eqz(inHvm(b)), () => b.exit(EXIT.SYSENTER));
    // As AMD's processors in long mode.
    b.raise(VEC.UD);
  }),
  insn('cpuid', '0F A2', (b) => b.exit(EXIT.CPUID)),
  insn('vmcall', 'NP 0F 01 =C1', (b) => b.exit(EXIT.VMCALL)),
  insn('vmmcall', 'NP 0F 01 =D9', (b) => b.exit(EXIT.VMCALL)),
  insn('int', 'CD Ib', (b) => b.exit(EXIT.SOFTINT, { vector: b.zx(b.read(0), 1) })),
  insn('int3', 'CC', (b) => b.exit(EXIT.SOFTINT, { vector: b.i32(VEC.BP) })),
  insn('into', 'CE ; i64', (b) => b.if(b.flag('o'), () => b.exit(EXIT.SOFTINT, { vector: b.i32(VEC.OF) }))),
  // A trap: rip is after it. No DPL check, so it is an exception and no software interrupt.
  insn('int1', 'F1', (b) => b.exit(EXIT.EXCEPTION, { vector: b.i32(VEC.DB), next: true })),
  insn('hlt', 'F4', (b) => {
    b.if(b.get(CpuState.off.cpl, 4), () => {
      b.if(b.eqz(inHvm(b)), () => b.exit(EXIT.PRIVILEGED));
      b.raise(VEC.GP, 0);
    });
    b.exit(EXIT.HLT, { next: true });
  }),

  // Ring 0.
  privileged('sysret', '0F 07 ; y', (b) => {
    b.callFaulting('hvm_sysret', [b.i32(b.size === 8 ? 1 : 0)]);
    b.resync();
  }),
  privileged('sysexit', '0F 35', (b) => b.raise(VEC.UD)),
  privileged('rdmsr', '0F 32', (b) => void b.callFaulting('hvm_rdmsr', [b.length()])),
  privileged('wrmsr', '0F 30', (b) => helper(b, 'hvm_wrmsr', b.length())),
  // There is no cache.
  privileged('invd', '0F 08', () => {}),
  privileged('wbinvd', '0F 09', () => {}),
  privileged('clts', '0F 06', (b) => void b.call('hvm_clts', [])),
  // What is executed next may lie in the page.
  privileged('invlpg', '0F 01 /7 Mb', (b) => {
    b.call('hvm_invlpg', [b.ea(0)]);
    goOn(b);
  }),
  privileged('invpcid', '66 0F 38 82 Gy,M ; f64', invpcid),
  // Of the control registers 0, 2, 3, 4 and 8 exist; 8 is 0 with REX.R.
  ...['/0 Ry,C ; f64', '/2 Ry,C ; f64 r0', '/3 Ry,C ; f64 r0', '/4 Ry,C ; f64 r0'].map((operands) =>
    privileged('mov', `0F 20 ${operands}`, (b) => b.write(0, b.read(1))),
  ),
  privileged('mov', '0F 22 /2 C,Ry ; f64 r0', (b) => b.set(CpuState.off.cr2, 8, b.to('i64', b.read(1)))),
  ...[
    ['0F 22 /0 C,Ry ; f64 r0', 0] as const,
    ['0F 22 /0 C,Ry ; f64 r1', 8] as const,
    ['0F 22 /3 C,Ry ; f64 r0', 3] as const,
    ['0F 22 /4 C,Ry ; f64 r0', 4] as const,
  ].map(([encoding, n]) =>
    privileged('mov', encoding, (b) => helper(b, 'hvm_set_cr', b.i32(n), b.to('i64', b.read(1)))),
  ),
  ...[0, 1, 2, 3, 4, 5, 6, 7].flatMap((n) => [
    privileged('mov', `0F 21 /${n} Ry,D ; f64 r0`, (b) => {
      b.callFaulting('hvm_get_dr', [b.i32(n)]);
      b.write(0, b.get(CpuState.off.ret0, b.bytes(0)));
    }),
    privileged('mov', `0F 23 /${n} D,Ry ; f64 r0`, (b) => helper(b, 'hvm_set_dr', b.i32(n), b.to('i64', b.read(1)))),
  ]),
  privileged('lgdt', '0F 01 /2 M', (b) => loadTable(b, 'hvm_lgdt')),
  privileged('lidt', '0F 01 /3 M', (b) => loadTable(b, 'hvm_lidt')),
  privileged('lmsw', '0F 01 /6 Ew', (b) => helper(b, 'hvm_lmsw', b.zx(b.read(0), 2))),
  privileged('lldt', '0F 00 /2 Ew', (b) => void b.callFaulting('hvm_lldt', [b.zx(b.read(0), 2)])),
  privileged('ltr', '0F 00 /3 Ew', (b) => void b.callFaulting('hvm_ltr', [b.zx(b.read(0), 2)])),
  privileged('swapgs', '0F 01 =F8 ; o64', (b) => {
    const at = CpuState.off.segbase + SEG.GS * 8;
    const gs = b.get(at, 8);
    b.set(at, 8, b.get(CpuState.off.kernel_gs_base, 8));
    b.set(CpuState.off.kernel_gs_base, 8, gs);
  }),
  insn('xsetbv', 'NP 0F 01 =D1', (b) => {
    b.if(b.eqz(inHvm(b)), () => b.exit(EXIT.PRIVILEGED));
    needs(b, CR4.OSXSAVE);
    b.raiseIf(b.get(CpuState.off.cpl, 4), VEC.GP, 0);
    b.callFaulting('hvm_xsetbv', []);
  }),
  // Ports: allowed or not by IOPL and I/O bitmap, which the hypervisor keeps for PV guests.
  ...['E4 AL,Ib', 'E5 rAX,Ib', 'EC AL,DX', 'ED rAX,DX'].map(input),
  ...['E6 Ib,AL', 'E7 Ib,rAX', 'EE DX,AL', 'EF DX,rAX'].map(output),
  // Of strings: PV only (docs/SUPPORT.md).
  ...[
    ['ins', '6C'],
    ['ins', '6D ; v'],
    ['outs', '6E'],
    ['outs', '6F ; v'],
  ].map(([name, encoding]) => insn(name, encoding, (b) => b.exit(EXIT.PRIVILEGED))),

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
  insn('sgdt', '0F 01 /0 M', (b) => storeTable(b, b.get(CpuState.off.gdt_limit, 4), CpuState.off.gdt_base)),
  insn('sidt', '0F 01 /1 M', (b) =>
    storeTable(b, b.select(inHvm(b), b.get(CpuState.off.idt_limit, 4), b.i32(IDT_LIMIT)), CpuState.off.idt_base),
  ),
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
