/**
 * Far control transfer (SDM vol. 2): jmp call ret iret with a code segment. The runtime (runtime/transfer.ts) checks the
 * descriptors, switches between 64-bit and compatibility mode and sets rip.
 */
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';

interface Pointer {
  readonly sel: Val;
  readonly offset: Val;
}

/** Far pointer in memory: offset of operand size, then selector. */
export function pointer(b: Builder, i: number): Pointer {
  const at = b.ea(i);
  const after = b.add(at, b.i64(b.size));
  const offset = b.to('i64', b.load(at, b.size));
  return { offset, sel: b.load(b.long ? after : b.zx(after, 4), 2) };
}

/** Immediate far pointer (operands Iz,Iw). */
const immediate = (b: Builder): Pointer => ({ offset: b.zx64(b.read(0), b.size), sel: b.zx(b.read(1), 2) });

function jump(b: Builder, p: Pointer): void {
  b.callFaulting('far_jmp', [p.sel, p.offset]);
  b.resync();
}

function call(b: Builder, p: Pointer): void {
  b.callFaulting('far_call', [p.sel, p.offset, b.i32(b.size), b.nextRip()]);
  b.resync();
}

function ret(b: Builder, extra: Val): void {
  b.callFaulting('far_ret', [b.i32(b.size), extra]);
  b.resync();
}

export const far: Insn[] = [
  insn('jmpf', 'EA Iz,Iw ; i64', (b) => jump(b, immediate(b))),
  insn('jmpf', 'FF /5 M ; v', (b) => jump(b, pointer(b, 0))),
  insn('callf', '9A Iz,Iw ; i64', (b) => call(b, immediate(b))),
  insn('callf', 'FF /3 M ; v', (b) => call(b, pointer(b, 0))),
  insn('retf', 'CB ; v', (b) => ret(b, b.i64(0))),
  insn('retf', 'CA Iw ; v', (b) => ret(b, b.zx64(b.read(0), 2))),
  insn('iret', 'CF ; v', (b) => {
    b.callFaulting('iret', [b.i32(b.size)]);
    b.resync();
  }),
];
