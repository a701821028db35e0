/**
 * Shifts and rotates: shl shr sar rol ror rcl rcr shld shrd (SDM vol. 2).
 *
 * Counts are taken modulo 32, or 64 for 8-byte operands. A count of 0 leaves the flags alone but still writes the
 * destination (a 4-byte register's upper half is cleared). The flag words are cut out of the shifted operand: with t =
 * what is there one step before the last, CF is one end of t and OF the change of sign in the last step. For counts
 * above 1, where OF is undefined, that is also what AMD's processors give. AF, undefined, becomes 0.
 */
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';

const BIT62 = 1n << 62n;
const BIT63 = 1n << 63n;

/** How a shift is done: new value, and the word of CF and OF, both from the old value and a count of at least 1. */
interface Shift {
  /** r from d, count n (0 allowed); values in the operand's wasm type, d zero-extended. */
  readonly result: (b: Builder, d: Val, n: Val, bytes: number) => Val;
  /** Word c: bit 63 = CF, bit 62 = CF xor OF. */
  readonly carry: (b: Builder, d: Val, n: Val, r: Val, bytes: number) => Val;
  /** Rotates leave ZF SF PF AF alone. */
  readonly rotate: boolean;
  /** The recipe for its flags. */
  readonly op?: 'shl' | 'shr' | 'sar';
}

const pred = (b: Builder, n: Val) => b.sub(n, b.c(n.t, 1));

/** v * 2^(count-1), aligned to bit 63: CF in bit 63 and the result's sign, which is CF xor OF, in bit 62. */
function shiftedOut(b: Builder, d: Val, n: Val, bytes: number): Val {
  const n64 = b.to('i64', n);
  const d64 = b.to('i64', d);
  if (bytes === 8) return b.shl(d64, pred(b, n64));
  if (bytes === 4) return b.shl(d64, b.add(n64, b.i64(31)));
  return b.shl(b.shl(d64, pred(b, n64)), 64 - bytes * 8);
}

/** Bit 0 of t in bits 63 and 62: CF with OF = 0. */
const bothBits = (b: Builder, t: Val) => b.shrS(b.shl(b.to('i64', t), 63), 1);

/** In bit 62, whether the two upper bits of v (aligned to bit 63) differ. */
const signChange = (b: Builder, v: Val) => b.and(b.shrU(b.xor(v, b.shl(v, 1)), 1), b.i64(BIT62));

const shl: Shift = {
  op: 'shl',
  rotate: false,
  result: (b, d, n) => b.shl(d, n),
  carry: (b, d, n, _r, bytes) => shiftedOut(b, d, n, bytes),
};

const shr: Shift = {
  op: 'shr',
  rotate: false,
  result: (b, d, n) => b.shrU(d, n),
  carry: (b, d, n, _r, bytes) => {
    const t = b.to('i64', b.shrU(d, pred(b, n)));
    return b.xor(bothBits(b, t), b.shl(b.shrU(t, bytes * 8 - 1), 62));
  },
};

const sar: Shift = {
  op: 'sar',
  rotate: false,
  result: (b, d, n, bytes) => b.shrS(b.sx(d, bytes), n),
  carry: (b, d, n, _r, bytes) => bothBits(b, b.shrS(b.sx(d, bytes), pred(b, n))),
};

function rotate(b: Builder, left: boolean, d: Val, n: Val, bytes: number): Val {
  if (bytes >= 4) return b.op(`${d.t}.${left ? 'rotl' : 'rotr'}`, d.t, [d, n]);
  const bits = bytes * 8;
  const m = b.and(n, b.i32(bits - 1));
  const back = b.sub(b.i32(bits), m);
  return left ? b.or(b.shl(d, m), b.shrU(d, back)) : b.or(b.shrU(d, m), b.shl(d, back));
}

const rol: Shift = {
  rotate: true,
  result: (b, d, n, bytes) => rotate(b, true, d, n, bytes),
  carry: (b, _d, _n, r, bytes) => {
    const r64 = b.zx64(r, bytes);
    const sign = bytes === 8 ? b.shrU(r64, 1) : b.shl(r64, 63 - bytes * 8);
    return b.or(b.shl(r64, 63), b.and(sign, b.i64(BIT62)));
  },
};

const ror: Shift = {
  rotate: true,
  result: (b, d, n, bytes) => rotate(b, false, d, n, bytes),
  carry: (b, _d, _n, r, bytes) => b.shl(b.to('i64', r), 64 - bytes * 8),
};

/** Apply s to operand 0 by count n, an i32 already masked. */
function shift(b: Builder, s: Shift, n: Val): void {
  const bytes = b.bytes(0);
  const d = b.rmw(0);
  const count = b.to(d.t as 'i32' | 'i64', n);
  const r = s.result(b, d, count, bytes);
  b.write(0, r);
  b.if(n, () => shiftFlags(b, s, d, count, r, bytes));
}

function shiftFlags(b: Builder, s: Shift, d: Val, count: Val, r: Val, bytes: number): void {
  const c = s.carry(b, d, count, r, bytes);
  if (s.rotate) b.flags({ c });
  else b.flagsResult(r, c, bytes, s.op && { op: s.op, a: d, b: count });
}

function shiftByOne(b: Builder, s: Shift): void {
  const bytes = b.bytes(0);
  const d = b.rmw(0);
  const one = b.c(d.t, 1);
  const r = s.result(b, d, one, bytes);
  b.write(0, r);
  shiftFlags(b, s, d, one, r, bytes);
}

/** Count operand i, masked, as i32. */
const countOf = (b: Builder, i: number) => b.and(b.read(i), b.i32(b.bytes(0) === 8 ? 63 : 31));

/** Rotate through carry of operands up to 4 bytes: CF:d is a number of bits+1 bits. */
function throughCarry(b: Builder, left: boolean, n: Val): void {
  const bytes = b.bytes(0);
  const bits = bytes * 8;
  const d = b.rmw(0);
  const m = b.to('i64', bytes === 4 ? n : b.op('i32.rem_u', 'i32', [n, b.i32(bits + 1)]));
  const back = b.sub(b.i64(bits + 1), m);
  const x = b.or(b.to('i64', d), b.shl(b.to('i64', b.flag('c')), bits));
  const r = left ? b.or(b.shl(x, m), b.shrU(x, back)) : b.or(b.shrU(x, m), b.shl(x, back));
  b.write(0, b.to('i32', r));
  b.if(n, () => {
    // Bit 63 = CF, bit 62 = the result's sign, bit 61 = the bit below it.
    const y = b.shl(r, 63 - bits);
    b.flags({ c: left ? y : b.xor(b.shrS(y, 1), signChange(b, b.shl(y, 1))) });
  });
}

/** The same for 8 bytes. */
function throughCarry64(b: Builder, left: boolean, n: Val): void {
  const d = b.rmw(0);
  b.if(n, () => {
    const m = b.to('i64', n);
    const cf = b.to('i64', b.flag('c'));
    const back = b.sub(b.i64(64), m);
    const n1 = pred(b, m);
    const r = left
      ? b.or(b.or(b.shl(d, m), b.shl(cf, n1)), b.shrU(b.shrU(d, 1), back))
      : b.or(b.or(b.shrU(d, m), b.shl(cf, back)), b.shl(b.shl(d, 1), back));
    const c = left
      ? b.or(b.and(b.shl(d, n1), b.i64(BIT63)), b.shrU(r, 1))
      : b.xor(bothBits(b, b.shrU(d, n1)), signChange(b, r));
    b.write(0, r);
    b.flags({ c });
  });
}

function rotateCarry(b: Builder, left: boolean, n: Val): void {
  if (b.bytes(0) === 8) throughCarry64(b, left, n);
  else throughCarry(b, left, n);
}

/**
 * shld and shrd: bits of operand 1 come in. 2-byte operands with counts above 16 are undefined; AMD's processors go on
 * with a second copy of operand 1.
 */
function double(b: Builder, left: boolean): void {
  const bytes = b.bytes(0);
  const bits = bytes * 8;
  const d = b.rmw(0);
  const s = b.read(1);
  const n = countOf(b, 2);
  const n64 = b.to('i64', n);
  const flags = (r: Val) => {
    if (left) b.flagsResult(r, shiftedOut(b, d, n64, bytes), bytes);
    else {
      const t = b.shrU(b.to('i64', d), pred(b, n64));
      b.flagsResult(r, b.xor(bothBits(b, t), signChange(b, b.shl(b.to('i64', r), 64 - bits))), bytes);
    }
  };
  if (bytes === 8) {
    b.if(n, () => {
      const back = b.sub(b.i64(64), n64);
      const r = left ? b.or(b.shl(d, n64), b.shrU(s, back)) : b.or(b.shrU(d, n64), b.shl(s, back));
      b.write(0, r);
      flags(r);
    });
    return;
  }
  const d64 = b.to('i64', d);
  let s64 = b.to('i64', s);
  if (bytes === 2) s64 = b.or(s64, b.shl(s64, 16));
  const x = left ? b.or(b.shl(d64, 32), s64) : b.or(b.shl(s64, bits), d64);
  const r = b.to('i32', left ? b.shrU(b.shl(x, n64), 32) : b.shrU(x, n64));
  b.write(0, r);
  b.if(n, () => flags(r));
}

const byOne = (g: number) => [`D0 /${g} Eb,1`, `D1 /${g} Ev,1`];
const byCount = (g: number) => [`C0 /${g} Eb,Ib`, `C1 /${g} Ev,Ib`, `D2 /${g} Eb,CL`, `D3 /${g} Ev,CL`];

const shiftPair = (name: string, s: Shift, ...groups: number[]): Insn[] => [
  insn(name, groups.flatMap(byOne), (b) => shiftByOne(b, s)),
  insn(name, groups.flatMap(byCount), (b) => shift(b, s, countOf(b, 1))),
];
const carryPair = (name: string, left: boolean, g: number): Insn =>
  insn(name, [...byOne(g), ...byCount(g)], (b) => rotateCarry(b, left, countOf(b, 1)));

export const shifts: Insn[] = [
  ...shiftPair('rol', rol, 0),
  ...shiftPair('ror', ror, 1),
  carryPair('rcl', true, 2),
  carryPair('rcr', false, 3),
  // /6 is the undocumented alias that every processor has.
  ...shiftPair('shl', shl, 4, 6),
  ...shiftPair('shr', shr, 5),
  ...shiftPair('sar', sar, 7),
  insn('shld', ['0F A4 Ev,Gv,Ib', '0F A5 Ev,Gv,CL'], (b) => double(b, true)),
  insn('shrd', ['0F AC Ev,Gv,Ib', '0F AD Ev,Gv,CL'], (b) => double(b, false)),
];
