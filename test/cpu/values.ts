/** Edge values of each type: where instructions go wrong. All are given as bit patterns. */
import type { Rng } from './rng.ts';

const INT_EDGES = [
  0n,
  1n,
  2n,
  3n,
  0xfn,
  0x10n,
  0x3fn,
  0x40n,
  0x7fn,
  0x80n,
  0x81n,
  0xffn,
  0x100n,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x10000n,
  0x7fffffffn,
  0x80000000n,
  0x80000001n,
  0xffffffffn,
  0x100000000n,
  0x7fffffffffffffffn,
  0x8000000000000000n,
  0x8000000000000001n,
  0xfffffffffffffffen,
  0xffffffffffffffffn,
  0xffffffff80000000n,
  0xffffffffffff8000n,
  0xffffffffffffff80n,
  0x5555555555555555n,
  0xaaaaaaaaaaaaaaaan,
  0x0123456789abcdefn,
  0xfedcba9876543210n,
];

/** A 64-bit integer: an edge, a small one, a single bit, or any. */
export function int64(r: Rng): bigint {
  switch (r.below(8)) {
    case 0:
    case 1:
    case 2:
      return r.pick(INT_EDGES);
    case 3:
      return BigInt(r.below(256));
    case 4:
      return 1n << BigInt(r.below(64));
    case 5:
      return BigInt(r.u32());
    default:
      return r.u64();
  }
}

interface FloatFormat {
  readonly exponentBits: number;
  readonly fractionBits: number;
  readonly bias: number;
}
const F32: FloatFormat = { exponentBits: 8, fractionBits: 23, bias: 127 };
const F64: FloatFormat = { exponentBits: 11, fractionBits: 52, bias: 1023 };

/** A float's bits: zeros, denormals, infinities, NaNs of both kinds, integers and halves, near neighbours, any. */
function float(r: Rng, f: FloatFormat): bigint {
  const F = BigInt(f.fractionBits);
  const frac = r.u64() & ((1n << F) - 1n);
  const top = 1n << (F - 1n);
  const maxExp = (1n << BigInt(f.exponentBits)) - 1n;
  const sign = BigInt(r.below(2)) << (F + BigInt(f.exponentBits));
  const make = (exp: bigint, fraction: bigint) => sign | (exp << F) | fraction;
  const bias = BigInt(f.bias);
  switch (r.below(22)) {
    case 0:
    case 1:
      return make(0n, 0n);
    case 2:
      return make(0n, r.pick([1n, 2n, (1n << F) - 1n, top]));
    case 3:
      return make(0n, frac);
    case 4:
      return make(1n, r.pick([0n, 1n, frac]));
    case 5:
      return make(maxExp - 1n, r.pick([(1n << F) - 1n, 0n, frac]));
    case 6:
      return make(maxExp, 0n);
    case 7:
      return make(maxExp, top | r.pick([0n, 1n, frac]));
    case 8:
      return make(maxExp, (frac & (top - 1n)) | 1n);
    case 9:
      return make(bias, r.pick([0n, 1n, (1n << F) - 1n]));
    case 10:
      return make(bias + BigInt(r.range(1, 4)), r.pick([0n, top, top >> 1n]));
    case 11: // near the limits of 32- and 64-bit integers
      return make(bias + BigInt(r.pick([30, 31, 32, 62, 63, 64])), r.pick([0n, 1n, (1n << F) - 1n, frac]));
    case 12: // halves: ties in rounding to integer
      return make(bias + BigInt(r.range(-2, 6)), (frac >> (F - 6n)) << (F - 6n));
    case 13: // tiny, underflows when multiplied
      return make(BigInt(r.range(1, f.fractionBits + 2)), frac);
    case 14: // huge
      return make(maxExp - BigInt(r.range(1, 4)), frac);
    case 15:
      return r.u64() & ((1n << (F + BigInt(f.exponentBits) + 1n)) - 1n);
    default:
      return make(bias + BigInt(r.range(-12, 12)), frac);
  }
}

export const float32 = (r: Rng): bigint => float(r, F32);
export const float64 = (r: Rng): bigint => float(r, F64);

/** An 80-bit float as [significand, sign and exponent], the unnormal and pseudo forms included. */
export function float80(r: Rng): [bigint, number] {
  const sign = r.below(2) << 15;
  const frac = r.u64() >> 1n;
  const J = 1n << 63n;
  const Q = 1n << 62n;
  switch (r.below(26)) {
    case 0:
    case 1:
      return [0n, sign];
    case 2: // denormal
      return [r.pick([1n, frac, J - 1n]), sign];
    case 3: // pseudo-denormal
      return [J | frac, sign];
    case 4:
      return [J | r.pick([0n, 1n, frac]), sign | 1];
    case 5:
      return [J | r.pick([J - 1n, frac]), sign | 0x7ffe];
    case 6:
    case 7:
      return [J, sign | 0x7fff];
    case 8:
      return [J | Q | r.pick([0n, frac & (Q - 1n)]), sign | 0x7fff];
    case 9:
      return [J | (frac & (Q - 1n)) | 1n, sign | 0x7fff];
    case 10: // unnormal, pseudo-infinity, pseudo-NaN
      return [r.pick([0n, 1n, frac]), sign | r.pick([0x7fff, 0x3fff, 1, 0x7ffe])];
    case 11:
      return [J | r.pick([0n, 1n, J - 1n]), sign | 0x3fff];
    case 12:
      return [J | r.pick([0n, 1n << 62n, 3n << 61n]), sign | (0x3fff + r.range(1, 4))];
    case 13:
      return [J | r.pick([0n, 1n, J - 1n, frac]), sign | (0x3fff + r.pick([14, 15, 16, 30, 31, 32, 62, 63, 64]))];
    case 14:
      return [J | ((frac >> 57n) << 57n), sign | (0x3fff + r.range(-2, 6))];
    case 15:
      return [J | frac, sign | r.range(1, 70)];
    case 16:
      return [J | frac, sign | (0x7ffe - r.range(0, 70))];
    case 17: // about the range of f64 and f32
      return [
        J | frac,
        sign | (0x3fff + r.pick([-1, 1]) * r.pick([126, 127, 128, 149, 150, 1022, 1023, 1024, 1074, 1075])),
      ];
    case 18: // exact in f32
      return [J | ((frac >> 40n) << 40n), sign | (0x3fff + r.range(-20, 20))];
    case 19:
      return [J | frac, sign | r.below(0x7fff)];
    default:
      return [J | frac, sign | (0x3fff + r.range(-14, 14))];
  }
}
