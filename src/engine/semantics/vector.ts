/**
 * Vocabulary of the MMX and SSE descriptions: vector constants, shuffles by immediate, and the rules that bind MMX to
 * the x87 registers (Intel SDM vol. 1 chapter 9, vol. 3 chapter 12).
 *
 * An instruction that has an MMX and an SSE encoding is described once, on v128: `vec` puts an 8-byte operand into both
 * halves, `put` takes the low half back.
 */
import { CpuState, VEC } from '../state.ts';
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';

export const FPU = { fpu: true } as const;

// ── constants ────────────────────────────────────────────────────────────────────────────────────────────────────
export const iota = (n: number, first = 0): number[] => Array.from({ length: n }, (_, i) => first + i);
export const zero = (b: Builder): Val => b.v128(new Array(16).fill(0));
/** The same byte, word (16 bits), doubleword or quadword in every lane. */
export const bytes = (b: Builder, v: number): Val => b.v128(new Array(16).fill(v & 0xff));
export const words = (b: Builder, v: number | readonly number[]): Val =>
  b.v128([...new Uint8Array(Uint16Array.from(typeof v === 'number' ? new Array(8).fill(v) : v).buffer)]);
export const dwords = (b: Builder, v: number | readonly number[]): Val =>
  b.v128([...new Uint8Array(Uint32Array.from(typeof v === 'number' ? new Array(4).fill(v) : v).buffer)]);
export const qwords = (b: Builder, v: bigint | readonly bigint[]): Val =>
  b.v128([...new Uint8Array(BigUint64Array.from(typeof v === 'bigint' ? [v, v] : v).buffer)]);

// ── lanes ────────────────────────────────────────────────────────────────────────────────────────────────────────
/** A v128 operation on v128 operands (shift counts and splatted scalars are passed as they are). */
export const vop = (b: Builder, op: string, ...args: Val[]): Val => b.op(op, 'v128', args);
export const low = (b: Builder, v: Val): Val => b.op('i64x2.extract_lane', 'i64', [v], [0]);
export const high = (b: Builder, v: Val): Val => b.op('i64x2.extract_lane', 'i64', [v], [1]);
export const splat64 = (b: Builder, v: Val): Val => b.op('i64x2.splat', 'v128', [v]);
/** A vector of two i64. */
export const pair = (b: Builder, lo: Val, hi: Val): Val =>
  b.op('i64x2.replace_lane', 'v128', [splat64(b, lo), hi], [1]);
/** i64 or i32 (or float) in the low bytes, the rest zero. */
export function widen(b: Builder, v: Val): Val {
  const shape = { i32: 'i32x4', i64: 'i64x2', f32: 'f32x4', f64: 'f64x2' }[v.t as 'i32'];
  return b.op(`${shape}.replace_lane`, 'v128', [zero(b), v], [0]);
}
/** Byte i of the result is byte idx[i] of `a` (0..15) followed by `c` (16..31). */
export const shuffle = (b: Builder, a: Val, c: Val, idx: readonly number[]): Val =>
  b.op('i8x16.shuffle', 'v128', [a, c], [...idx]);
/** The same with lanes of `w` bytes: idx counts lanes over both operands. */
export const lanes = (b: Builder, a: Val, c: Val, w: number, idx: readonly number[]): Val =>
  shuffle(
    b,
    a,
    c,
    idx.flatMap((i) => iota(w, i * w)),
  );
export const imm8 = (b: Builder, i: number): Val => b.and(b.read(i), b.i32(0xff));
/** i32 as shift count, lane value …: the same in each byte, word, doubleword. */
export const splat8 = (b: Builder, v: Val): Val => b.op('i8x16.splat', 'v128', [v]);
export const splat16 = (b: Builder, v: Val): Val => b.op('i16x8.splat', 'v128', [v]);
export const splat32 = (b: Builder, v: Val): Val => b.op('i32x4.splat', 'v128', [v]);

/**
 * Swizzle indices that pick words by the four 2-bit fields of an imm8 (pshuflw, pshufhw, pshufw): for the four words
 * starting at byte `at` (0 or 8); the other half stays.
 */
export function wordPicks(b: Builder, imm: Val, at: 0 | 8): Val {
  // Field k of the immediate moves to bits 7..6 of word k's low byte, then to bits 2..1 of both its bytes.
  const scale = [64, 16, 4, 1];
  const fields = vop(b, 'i16x8.mul', splat16(b, imm), words(b, at ? [0, 0, 0, 0, ...scale] : [...scale, 0, 0, 0, 0]));
  const spread = shuffle(b, fields, fields, [0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14]);
  const mask = b.v128(iota(16).map((i) => (i >> 3 === at >> 3 ? 6 : 0)));
  const twice = vop(b, 'v128.and', vop(b, 'i16x8.shr_u', spread, b.i32(5)), mask);
  return vop(b, 'v128.or', twice, b.v128(iota(16).map((i) => (i >> 3 === at >> 3 ? at + (i & 1) : i))));
}

/** Swizzle indices that pick doublewords by the four 2-bit fields of an imm8 (pshufd, shufps). */
export function dwordPicks(b: Builder, imm: Val): Val {
  const fields = vop(b, 'i16x8.mul', splat32(b, imm), words(b, [64, 0, 16, 0, 4, 0, 1, 0]));
  const spread = shuffle(b, fields, fields, [0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12]);
  const four = vop(b, 'v128.and', vop(b, 'i16x8.shr_u', spread, b.i32(4)), bytes(b, 12));
  return vop(b, 'v128.or', four, b.v128(iota(16).map((i) => i & 3)));
}
export const swizzle = (b: Builder, v: Val, idx: Val): Val => vop(b, 'i8x16.swizzle', v, idx);

/** All-ones in each lane of `w` bytes whose bit in `bits` (i32) is set. */
export function laneMask(b: Builder, bits: Val, w: 1 | 2 | 4 | 8): Val {
  const one = (i: number) => 1 << i;
  switch (w) {
    case 1: {
      // Bytes 0..7 test the low byte of `bits`, 8..15 the next.
      const v = swizzle(b, splat16(b, bits), b.v128([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]));
      const m = b.v128(iota(16).map((i) => one(i & 7)));
      return vop(b, 'i8x16.eq', vop(b, 'v128.and', v, m), m);
    }
    case 2: {
      const m = words(b, iota(8).map(one));
      return vop(b, 'i16x8.eq', vop(b, 'v128.and', splat16(b, bits), m), m);
    }
    case 4: {
      const m = dwords(b, iota(4).map(one));
      return vop(b, 'i32x4.eq', vop(b, 'v128.and', splat32(b, bits), m), m);
    }
    default: {
      const m = qwords(b, [1n, 2n]);
      return vop(b, 'i64x2.eq', vop(b, 'v128.and', splat64(b, b.to('i64', bits)), m), m);
    }
  }
}
/** Lanes of a where the mask is set, else of c. */
export const blend = (b: Builder, mask: Val, a: Val, c: Val): Val => vop(b, 'v128.bitselect', a, c, mask);

// ── MMX ──────────────────────────────────────────────────────────────────────────────────────────────────────────
export const isMmx = (b: Builder): boolean => b.form.operands.some((o) => o.kind === 'mmx');

/** Every MMX instruction first reports a pending x87 exception … */
export function mmxEnter(b: Builder): void {
  b.raiseIf(b.and(b.get(CpuState.off.fsw, 2), b.i32(0x80)), VEC.MF);
}
/** … and leaves TOP = 0 and all registers valid (vol. 3, table 12-1). */
export function mmxLeave(b: Builder): void {
  b.set(CpuState.off.ftop, 2, b.i32(0));
  b.set(CpuState.off.ftw, 2, b.i32(0xff));
}
/** Write an MMX register: its sign and exponent bits become ones. */
export function mmxWrite(b: Builder, i: number, v: Val): void {
  b.write(i, v);
  b.writeAt(i, 8, 2, b.i32(0xffff));
}

/** Describe an instruction that may have MMX operands. */
export function simd(b: Builder, body: () => void): void {
  const mmx = isMmx(b);
  if (mmx) mmxEnter(b);
  body();
  if (mmx) mmxLeave(b);
}
/** Operand i as a vector; 8- and 4-byte operands fill every lane of their size. */
export function vec(b: Builder, i: number): Val {
  const v = b.read(i);
  return v.t === 'v128' ? v : v.t === 'i64' ? splat64(b, v) : splat32(b, v);
}
/** Write the vector to operand i, or its low half to an MMX register. */
export function put(b: Builder, i: number, v: Val): void {
  if (b.form.operands[i].kind === 'mmx') mmxWrite(b, i, low(b, v));
  else b.write(i, v);
}

/** `name dst, src`: dst = f(dst, src), for encodings with 16-byte or MMX operands. */
export function packed(
  name: string,
  encodings: readonly string[],
  f: (b: Builder, d: Val, s: Val, mmx: boolean) => Val,
): Insn {
  return insn(
    name,
    encodings,
    (b) =>
      simd(b, () => {
        const s = vec(b, 1);
        const d = vec(b, 0);
        put(b, 0, f(b, d, s, isMmx(b)));
      }),
    FPU,
  );
}
/** The MMX and SSE2 encodings that share an opcode. */
export const both = (opcode: string, mmxSource = 'Qq'): string[] => [
  `NP 0F ${opcode} Pq,${mmxSource}`,
  `66 0F ${opcode} Vx,Wx`,
];
