/** Random floating-point numbers for streams: usual ones mostly, and what is at the ends of their range; and where in memory they lie. */
import type { Poke } from './case.ts';
import type { Rng } from './rng.ts';
import { WINDOW_SIZE } from './state.ts';

/** Sign, a biased exponent around that of 1 (now and then any; `small`: the least), and bits of which few may be set, as in what was short before. */
export function number(
  r: Rng,
  bits: number,
  bias: number,
  small = false,
): { sign: bigint; exponent: bigint; fraction: bigint } {
  const sign = BigInt(r.below(2));
  const all = (1n << BigInt(bits)) - 1n;
  let fraction = r.u64() & all;
  if (r.oneIn(3)) fraction &= all << BigInt(r.below(bits));
  if (r.oneIn(8)) fraction = r.pick([0n, 1n, all, all - 1n, 1n << BigInt(bits - 1)]);
  let exponent = BigInt(bias + r.range(-3, 3));
  if (r.oneIn(4)) exponent = BigInt(bias + r.range(-70, 70));
  if (small) exponent = BigInt(r.range(1, 4));
  if (r.oneIn(24)) exponent = BigInt(r.pick([0, 1, 2, 2 * bias - 1, 2 * bias, 2 * bias + 1]));
  if (r.oneIn(24)) [exponent, fraction] = [0n, 0n];
  return { sign, exponent, fraction };
}

/** The lowest n bytes. */
export function littleEndian(v: bigint, n: number): Uint8Array {
  return Uint8Array.from({ length: n }, (_, i) => Number((v >> BigInt(i * 8)) & 0xffn));
}

/** Of binary64. */
export function double(r: Rng, small = false): bigint {
  const { sign, exponent, fraction } = number(r, 52, 1023, small);
  return (sign << 63n) | (exponent << 52n) | fraction;
}

/** Of binary32. */
export function single(r: Rng, small = false): bigint {
  const { sign, exponent, fraction } = number(r, 23, 127, small);
  return (sign << 31n) | (exponent << 23n) | fraction;
}

/** Offset in the window at which memory operands begin: now and then not aligned, over the end of a page, or of the window. */
export function operandsAt(r: Rng): number {
  return r.oneIn(4) ? r.pick([0x804, 0x1000 - 0x44, WINDOW_SIZE - 0x40]) : 0x800;
}

/** `count` of them, of `size` bytes each, as far as there is memory. */
export function operands(at: number, size: number, count: number, bytes: (n: number) => Uint8Array): Poke[] {
  return Array.from({ length: count }, (_, n) => ({ offset: at + n * size, bytes: bytes(n) })).filter(
    (p) => p.offset + size <= WINDOW_SIZE,
  );
}
