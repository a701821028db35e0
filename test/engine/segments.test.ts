/** Segment loads and far control transfers at CPL 3 (Intel SDM vol. 3 chapter 5): descriptors of a GDT made here. */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { RFLAGS } from '../../src/engine/flags.ts';
import { CpuState, EXIT, GPR, SEG, VEC } from '../../src/engine/state.ts';
import { PTE, Sandbox } from './sandbox.ts';

const CODE = 0x400000n;
const STACK = 0x500000n;
const LDT = 0x600000n;
const { off } = CpuState;

/** Selectors of the test's GDT, RPL 3. */
const SEL = {
  CODE64: 0x0b,
  CODE32: 0x13,
  DATA: 0x1b,
  BASED: 0x23,
  ABSENT: 0x2b,
  KERNEL: 0x33,
  EXEC: 0x3b,
  CODE16: 0x43,
  TSS: 0x4b,
};
const access = (type: number, dpl = 3, present = 1) => BigInt((present << 7) | (dpl << 5) | 0x10 | type) << 40n;
const L = 1n << 53n;
const D = 1n << 54n;
const G = 1n << 55n;
const LIMIT = 0x000f_0000_0000_ffffn;
const base = (v: bigint) => ((v & 0xffffffn) << 16n) | ((v & 0xff000000n) << 32n);
const GDT = [
  0n,
  LIMIT | G | L | access(0xa),
  LIMIT | G | D | access(0xa),
  LIMIT | G | D | access(0x2),
  LIMIT | G | D | access(0x2) | base(0x12345678n),
  LIMIT | G | D | access(0x2, 3, 0),
  LIMIT | G | D | access(0x2, 0),
  LIMIT | G | D | access(0x8),
  LIMIT | G | access(0xa),
  0x67n | (0x8bn << 40n),
];

let s: Sandbox;
let gdt: number;
beforeAll(() => {
  s = new Sandbox();
  for (const page of [CODE, STACK, LDT]) s.map(page);
  gdt = s.allocate();
});
beforeEach(() => start(0));

function start(mode: 0 | 1): void {
  s.reset(mode);
  for (const [i, d] of GDT.entries()) s.view.setBigUint64(gdt * 4096 + i * 8, d, true);
  s.view.setUint32(s.cpu + off.gdt_frames, gdt, true);
  s.set32('gdt_limit', GDT.length * 8 - 1);
  s.set64('ldt_base', LDT);
  s.set32('ldt_ents', 2);
  s.set32('ldt_root', s.root);
  s.view.setUint16(s.cpu + off.sel + 2 * SEG.CS, mode ? SEL.CODE32 : SEL.CODE64, true);
  s.setGpr(GPR.RSP, STACK + 0x800n);
}

const sel = (n: number) => s.view.getUint16(s.cpu + off.sel + 2 * n, true);
const segbase = (n: number) => s.view.getBigUint64(s.cpu + off.segbase + 8 * n, true);
const hlt = 0xf4;

/** Run code that ends with hlt: undefined if it got there, else [vector, error]. */
function run(code: number[]): [number, number] | undefined {
  s.poke(CODE, [...code, hlt]);
  const r = s.run(CODE);
  if (r === EXIT.PRIVILEGED) {
    expect(s.get64('rip')).toBe(CODE + BigInt(code.length));
    return undefined;
  }
  expect(r).toBe(EXIT.EXCEPTION);
  expect(s.get64('rip')).toBe(CODE);
  return [s.get32('exit_vector'), s.get32('exit_has_error') ? s.get32('exit_error') : -1];
}
const MOV = { ds: [0x8e, 0xd8], es: [0x8e, 0xc0], ss: [0x8e, 0xd0], fs: [0x8e, 0xe0], gs: [0x8e, 0xe8] };
function mov(to: keyof typeof MOV, selector: number) {
  s.setGpr(GPR.RAX, BigInt(selector));
  return run(MOV[to]);
}

describe('data segments', () => {
  it('load the selector and, for fs and gs, the base', () => {
    expect(mov('fs', SEL.BASED)).toBe(undefined);
    expect([sel(SEG.FS), segbase(SEG.FS)]).toEqual([SEL.BASED, 0x12345678n]);
    expect(mov('ds', SEL.BASED)).toBe(undefined);
    expect([sel(SEG.DS), segbase(SEG.DS)]).toEqual([SEL.BASED, 0n]);
  });
  it('have a base in compatibility mode', () => {
    start(1);
    expect(mov('ds', SEL.BASED)).toBe(undefined);
    expect(segbase(SEG.DS)).toBe(0x12345678n);
  });
  it('set the accessed bit', () => {
    mov('es', SEL.DATA);
    expect(s.u8[gdt * 4096 + (SEL.DATA & ~7) + 5] & 1).toBe(1);
  });
  it('take null selectors and clear the base', () => {
    mov('gs', SEL.BASED);
    expect(mov('gs', 3)).toBe(undefined);
    expect([sel(SEG.GS), segbase(SEG.GS)]).toEqual([3, 0n]);
  });
  it.each([
    ['beyond the table', 'ds', 0x63, [VEC.GP, 0x60]],
    ['execute-only code', 'ds', SEL.EXEC, [VEC.GP, SEL.EXEC & ~3]],
    ['a system descriptor', 'ds', SEL.TSS, [VEC.GP, SEL.TSS & ~3]],
    ['DPL 0', 'es', SEL.KERNEL, [VEC.GP, SEL.KERNEL & ~3]],
    ['not present', 'fs', SEL.ABSENT, [VEC.NP, SEL.ABSENT & ~3]],
    ['ss null', 'ss', 0, [VEC.GP, 0]],
    ['ss with RPL 0', 'ss', SEL.DATA & ~3, [VEC.GP, SEL.DATA & ~3]],
    ['ss of code', 'ss', SEL.CODE32, [VEC.GP, SEL.CODE32 & ~3]],
    ['ss not present', 'ss', SEL.ABSENT, [VEC.SS, SEL.ABSENT & ~3]],
    ['beyond the LDT', 'ds', 0x17, [VEC.GP, 0x14]],
  ] as const)('fault: %s', (_, to, selector, want) => {
    const before = sel(SEG.DS);
    expect(mov(to, selector)).toEqual(want);
    expect(sel(SEG.DS)).toBe(before);
  });
  it('come from the LDT', () => {
    s.poke(LDT + 8n, [...new Uint8Array(BigUint64Array.of(LIMIT | G | D | access(2) | base(0xabcdn)).buffer)]);
    expect(mov('fs', 0x0f)).toBe(undefined);
    expect(segbase(SEG.FS)).toBe(0xabcdn);
  });
  it("come from the LDT of the guest's kernel where the active tables have none", () => {
    const high = 0xffff_c900_0000_0000n;
    s.map(high, PTE.P | PTE.RW); // for the supervisor
    s.poke(high + 8n, [...new Uint8Array(BigUint64Array.of(LIMIT | G | D | access(2) | base(0xabcdn)).buffer)]);
    const kernel = s.allocate() * 4096;
    s.u8.copyWithin(kernel, s.root, s.root + 4096);
    s.view.setBigUint64(s.root + Number((high >> 39n) & 511n) * 8, 0n, true);
    s.call('tlb_flush_page', 1, high);
    s.set64('ldt_base', high);
    s.set32('ldt_root', kernel);
    expect(mov('fs', 0x0f)).toBe(undefined);
    expect(segbase(SEG.FS)).toBe(0xabcdn);
  });
  it('fault on an LDT that is not mapped, as a supervisor read', () => {
    s.set64('ldt_base', 0x700000n);
    expect(mov('fs', 0x0f)).toEqual([VEC.PF, 0]);
    expect(s.get64('cr2')).toBe(0x700008n);
    start(0);
    s.set32('ldt_root', 0);
    expect(mov('fs', 0x0f)).toEqual([VEC.PF, 0]);
  });
  it('fault on an LDT that ends in non-canonical addresses', () => {
    s.set64('ldt_base', 0x8000_0000_0000n - 8n);
    expect(mov('fs', 0x0f)).toEqual([VEC.GP, 0x0c]);
  });
  it('pop from the stack, which moves only if the load succeeds', () => {
    s.poke(STACK + 0x800n, [SEL.BASED]);
    expect(run([0x0f, 0xa1])).toBe(undefined);
    expect([sel(SEG.FS), s.gpr(GPR.RSP)]).toEqual([SEL.BASED, STACK + 0x808n]);
    s.poke(STACK + 0x808n, [SEL.KERNEL]);
    expect(run([0x0f, 0xa1])).toEqual([VEC.GP, SEL.KERNEL & ~3]);
    expect(s.gpr(GPR.RSP)).toBe(STACK + 0x808n);
  });
});

describe('lar lsl verr verw', () => {
  const inspect = (code: number[], selector: number) => {
    s.setGpr(GPR.RAX, BigInt(selector));
    s.setGpr(GPR.RBX, 0xffffffff_00000001n);
    expect(run(code)).toBe(undefined);
    return [((s.call('rflags_get', s.cpu) as bigint) & BigInt(RFLAGS.ZF)) !== 0n, s.gpr(GPR.RBX)] as const;
  };
  it('give rights and limit', () => {
    expect(inspect([0x0f, 0x02, 0xd8], SEL.DATA)).toEqual([true, 0x00cff200n]);
    expect(inspect([0x0f, 0x03, 0xd8], SEL.DATA)).toEqual([true, 0xffffffffn]);
  });
  it('refuse what is not visible', () => {
    for (const op of [0x02, 0x03]) expect(inspect([0x0f, op, 0xd8], SEL.KERNEL)).toEqual([false, 0xffffffff_00000001n]);
    expect(inspect([0x0f, 0x00, 0xe0], SEL.KERNEL)[0]).toBe(false);
  });
  it('tell readable from writable', () => {
    expect(inspect([0x0f, 0x00, 0xe0], SEL.DATA)[0]).toBe(true);
    expect(inspect([0x0f, 0x00, 0xe8], SEL.DATA)[0]).toBe(true);
    expect(inspect([0x0f, 0x00, 0xe0], SEL.EXEC)[0]).toBe(false);
    expect(inspect([0x0f, 0x00, 0xe8], SEL.CODE32)[0]).toBe(false);
  });
});

/** Stack slots of 8 bytes from rsp up. */
function frame(...slots: (number | bigint)[]): void {
  const words = BigUint64Array.from(slots.map(BigInt));
  s.poke(STACK + 0x800n, [...new Uint8Array(words.buffer)]);
}
const TARGET = CODE + 0x100n;
const IRETQ = [0x48, 0xcf];

describe('iret', () => {
  it('returns to 64-bit code, leaving IF and IOPL alone', () => {
    s.poke(TARGET, [hlt]);
    frame(TARGET, SEL.CODE64, 0xffff_ffff, STACK + 0x10n, SEL.DATA);
    s.poke(CODE, IRETQ);
    // With TF among them, so guest code is left to single-step.
    expect(s.run(CODE)).toBe(EXIT.PREEMPT);
    expect(s.get64('rip')).toBe(TARGET);
    expect(s.gpr(GPR.RSP)).toBe(STACK + 0x10n);
    const flags = Number(s.call('rflags_get', s.cpu) as bigint);
    expect(flags & (RFLAGS.IOPL | RFLAGS.VM | RFLAGS.VIF | RFLAGS.VIP)).toBe(0);
    expect(flags & RFLAGS.IF).toBe(RFLAGS.IF);
    expect(flags & RFLAGS.STATUS).toBe(RFLAGS.STATUS);
    expect(flags & RFLAGS.AC).toBe(RFLAGS.AC);
  });
  it('switches to compatibility mode and back', () => {
    s.view.setUint16(s.cpu + off.sel + 2 * SEG.DS, SEL.BASED, true);
    frame(TARGET, SEL.CODE32, 0x202, STACK + 0x10n, SEL.DATA);
    // In compatibility mode: inc eax; jmp far 0x0b:TARGET+0x20
    s.poke(TARGET, [0x40, 0xea, 0x20, 0x01, 0x40, 0x00, SEL.CODE64, 0x00]);
    s.poke(TARGET + 0x20n, [hlt]);
    s.setGpr(GPR.RAX, 0xffffffff_00000001n);
    s.poke(CODE, IRETQ);
    expect(s.run(CODE, 2)).toBe(EXIT.PREEMPT);
    expect([s.get32('mode'), sel(SEG.CS), segbase(SEG.DS)]).toEqual([0, SEL.CODE64, 0n]);
    expect(s.gpr(GPR.RAX)).toBe(2n);
    expect(s.get64('rip')).toBe(TARGET + 0x20n);
  });
  it('gives data segments their bases in compatibility mode', () => {
    s.view.setUint16(s.cpu + off.sel + 2 * SEG.DS, SEL.BASED, true);
    frame(TARGET, SEL.CODE32, 0x202, STACK + 0x10n, SEL.DATA);
    s.poke(TARGET, [hlt]);
    s.poke(CODE, IRETQ);
    s.run(CODE);
    expect([s.get32('mode'), segbase(SEG.DS)]).toEqual([1, 0x12345678n]);
  });
  it.each([
    ['null cs', [TARGET, 3, 0x202, 0, SEL.DATA], [VEC.GP, 0]],
    ['cs of data', [TARGET, SEL.DATA, 0x202, 0, SEL.DATA], [VEC.GP, SEL.DATA & ~3]],
    ['cs with RPL 0', [TARGET, SEL.CODE64 & ~3, 0x202, 0, SEL.DATA], [VEC.GP, SEL.CODE64 & ~3]],
    ['16-bit cs', [TARGET, SEL.CODE16, 0x202, 0, SEL.DATA], [VEC.GP, SEL.CODE16 & ~3]],
    ['null ss', [TARGET, SEL.CODE64, 0x202, 0, 0], [VEC.GP, 0]],
    ['ss not present', [TARGET, SEL.CODE64, 0x202, 0, SEL.ABSENT], [VEC.SS, SEL.ABSENT & ~3]],
    ['rip not canonical', [1n << 47n, SEL.CODE64, 0x202, 0, SEL.DATA], [VEC.GP, 0]],
    ['rip beyond 4 GiB in compatibility mode', [1n << 32n, SEL.CODE32, 0x202, 0, SEL.DATA], [VEC.GP, 0]],
  ] as const)('faults: %s', (_, slots, want) => {
    frame(...slots);
    expect(run(IRETQ)).toEqual(want);
    expect(s.gpr(GPR.RSP)).toBe(STACK + 0x800n);
  });
  it('faults when NT is set', () => {
    s.set64('rflags', 0x4202n);
    frame(TARGET, SEL.CODE64, 0x202, 0, SEL.DATA);
    expect(run(IRETQ)).toEqual([VEC.GP, 0]);
  });
});

describe('far call and ret', () => {
  it('push and pop cs and rip', () => {
    const at = STACK + 0x100n;
    s.poke(at, [...new Uint8Array(BigUint64Array.of(TARGET).buffer), SEL.CODE64, 0]);
    s.setGpr(GPR.RBX, at);
    s.poke(TARGET, [0x48, 0xca, 0x10, 0x00]); // retfq 16
    expect(run([0x48, 0xff, 0x1b])).toBe(undefined); // call far [rbx]
    expect(s.gpr(GPR.RSP)).toBe(STACK + 0x810n);
    expect(s.peek(STACK + 0x7f0n, 16)[8]).toBe(SEL.CODE64);
  });
  it('reach compatibility mode', () => {
    s.poke(TARGET, [0xcb]); // retf
    const at = STACK + 0x100n;
    s.poke(at, [...new Uint8Array(Uint32Array.of(Number(TARGET)).buffer), SEL.CODE32, 0]);
    s.setGpr(GPR.RBX, at);
    expect(run([0xff, 0x1b])).toBe(undefined); // call far m16:32
    expect(s.get32('mode')).toBe(0);
    expect(s.gpr(GPR.RSP)).toBe(STACK + 0x800n);
  });
  it('refuse selectors of another privilege', () => {
    s.poke(STACK + 0x100n, [...new Uint8Array(BigUint64Array.of(TARGET).buffer), SEL.TSS, 0]);
    s.setGpr(GPR.RBX, STACK + 0x100n);
    expect(run([0x48, 0xff, 0x2b])).toEqual([VEC.GP, SEL.TSS & ~3]); // jmp far
  });
});
