/** Flag instructions (SDM vol. 2): clc stc cmc cld std cli sti lahf sahf, and salc. */
import { RFLAGS } from '../flags.ts';
import { CpuState, EXIT, VEC } from '../state.ts';
import type { Builder, Val } from './builder.ts';
import { iopl, lookForInterrupts } from './stack.ts';
import { type Insn, insn } from './table.ts';

/** Word c for CF = 0 and OF kept: bit 63 clear, bit 62 = OF. */
function carryCleared(b: Builder): Val {
  const c = b.flagWord('c');
  return b.shrU(b.xor(c, b.shl(c, 1)), 1);
}

function setControl(b: Builder, flag: number, on: boolean): void {
  const { rflags } = CpuState.off;
  const old = b.get(rflags, 4);
  b.set(rflags, 4, on ? b.or(old, b.i32(flag)) : b.and(old, b.i32(~flag)));
}

/** cli and sti: when IOPL does not allow them #GP(0), in PV after the hypervisor has looked at it. */
function interrupts(b: Builder, on: boolean): void {
  b.if(b.eqz(iopl(b)), () => {
    b.if(b.eqz(b.get(CpuState.off.hvm, 4)), () => b.exit(EXIT.PRIVILEGED));
    b.raise(VEC.GP, 0);
  });
  setControl(b, RFLAGS.IF, on);
  if (on) lookForInterrupts(b);
}

const AH = CpuState.off.gpr + 1;

function lahf(b: Builder): void {
  const at = (v: Val, n: number) => (n ? b.shl(v, n) : v);
  let ah = b.i32(2);
  for (const [f, n] of [
    ['c', 0],
    ['p', 2],
    ['a', 4],
    ['z', 6],
    ['s', 7],
  ] as const) {
    ah = b.or(ah, at(b.flag(f), n));
  }
  b.set(AH, 1, ah);
}

function sahf(b: Builder): void {
  const ah = b.get(AH, 1);
  const bit = (n: number) => b.and(b.shrU(ah, n), b.i32(1));
  b.setFlags({ c: bit(0), p: bit(2), a: bit(4), z: bit(6), s: bit(7), o: b.flag('o') });
}

export const flagops: Insn[] = [
  insn('clc', 'F8', (b) => b.flags({ c: carryCleared(b) })),
  insn('stc', 'F9', (b) => b.flags({ c: b.not(carryCleared(b)) })),
  // CF and CF xor OF both change.
  insn('cmc', 'F5', (b) => b.flags({ c: b.not(b.flagWord('c')) })),
  insn('cld', 'FC', (b) => setControl(b, RFLAGS.DF, false)),
  insn('std', 'FD', (b) => setControl(b, RFLAGS.DF, true)),
  insn('cli', 'FA', (b) => interrupts(b, false)),
  insn('sti', 'FB', (b) => interrupts(b, true)),
  insn('lahf', '9F', lahf),
  insn('sahf', '9E', sahf),
  insn('salc', 'D6 ; i64', (b) => b.set(CpuState.off.gpr, 1, b.neg(b.flag('c')))),
];
