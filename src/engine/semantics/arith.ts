/** Arithmetic with carry in, and with one operand: adc sbb inc dec neg not (SDM vol. 2). */
import { group } from './alu.ts';
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';

/** CF as a value of type t: as condition B, which is one comparison where it is known what set the flags. */
const carry = (b: Builder, t: 'i32' | 'i64') => b.to(t, b.cond(2));

/** Smallest signed number of `bytes`. */
const MIN = (bytes: number) => -(1n << BigInt(bytes * 8 - 1));

/**
 * adc and sbb. Locked, the carry goes into the operand: d + (s + CF) is one atomic addition, and the flags of
 * d + s + CF follow from d, s and the result alone.
 */
function withCarry(b: Builder, op: 'add' | 'sub'): void {
  const bytes = b.bytes(0);
  const t = b.ty(bytes);
  let d: Val;
  let s: Val;
  let r: Val;
  if (b.form.lock) {
    s = b.read(1);
    const sum = b.add(s, carry(b, t));
    d = b.atomic(op, 0, sum);
    r = b[op](d, sum);
  } else {
    d = b.rmw(0);
    s = b.read(1);
    r = b[op](d, b.add(s, carry(b, t)));
    b.write(0, r);
  }
  if (op === 'add') b.flagsAdd(d, s, r, bytes, true);
  else b.flagsSub(d, s, r, bytes, true);
}

/** inc and dec: CF is kept; the result overflowed if it is the smallest (inc) or greatest (dec) number. */
function step(b: Builder, op: 'add' | 'sub'): void {
  const bytes = b.bytes(0);
  const one = b.c(b.ty(bytes), 1);
  const d = b.form.lock ? b.atomic(op, 0, one) : b.rmw(0);
  const r = b[op](d, one);
  if (!b.form.lock) b.write(0, r);
  const s = b.sx64(r, bytes);
  const overflow = b.cmp('eq', s, b.i64(op === 'add' ? MIN(bytes) : ~MIN(bytes)));
  // Bits 63 and 62 of the word are CF and CF xor OF.
  const c = b.xor(b.shrS(b.flagWord('c'), 63), b.shl(b.to('i64', overflow), 62));
  // AF = bit 4 of d xor 1 xor r.
  b.flags({ z: s, s, c, x: b.to('i64', d) }, { op: op === 'add' ? 'inc' : 'dec', bytes, r });
}

/** 0 - d. */
function neg(b: Builder): void {
  const bytes = b.bytes(0);
  const d = b.rmw(0);
  const r = b.neg(d);
  if (b.form.lock) {
    const old = b.cmpxchg(0, d, r);
    b.if(b.cmp('ne', old, d), () => b.again());
  } else {
    b.write(0, r);
  }
  b.flagsSub(b.c(d.t as 'i32' | 'i64', 0), d, r, bytes);
}

function not(b: Builder): void {
  const ones = b.c(b.ty(b.bytes(0)), -1);
  if (b.form.lock) b.atomic('xor', 0, ones);
  else b.write(0, b.xor(b.rmw(0), ones));
}

export const arith: Insn[] = [
  insn('adc', group(2), (b) => withCarry(b, 'add')),
  insn('sbb', group(3), (b) => withCarry(b, 'sub')),
  insn('inc', ['40+ Zv ; i64', 'FE /0 Eb ; lock', 'FF /0 Ev ; lock'], (b) => step(b, 'add')),
  insn('dec', ['48+ Zv ; i64', 'FE /1 Eb ; lock', 'FF /1 Ev ; lock'], (b) => step(b, 'sub')),
  insn('not', ['F6 /2 Eb ; lock', 'F7 /2 Ev ; lock'], not),
  insn('neg', ['F6 /3 Eb ; lock', 'F7 /3 Ev ; lock'], neg),
];
