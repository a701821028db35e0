/**
 * Proofs that a floating-point result is exact. They matter while MXCSR's PE is clear: an exact result raises nothing, so it
 * needs no help of the runtime. (Once a program has rounded anything, PE stays set, and nobody asks.)
 */
import type { Builder, Val } from './builder.ts';
import type { Fp } from './fp.ts';

/** a + c, or a - c, is r without rounding: the error of the sum is zero (Knuth's TwoSum). r is finite. */
export function exactSum(f: Fp, op: 'add' | 'sub', a: Val, c: Val, r: Val): Val {
  const z = f.op('sub', r, a);
  const lost = f.op('sub', a, f.op('sub', r, z));
  const error = op === 'add' ? f.op('add', lost, f.op('sub', c, z)) : f.op('sub', lost, f.op('add', c, z));
  return f.all(f.isZero(error));
}

/**
 * a · c is r without rounding. Doubles: the factors' significant bits, together at most 53, say so (or r is zero); floats: as
 * doubles. Factors are zero or normal.
 */
export function exactProduct(f: Fp, a: Val, c: Val, r: Val): Val {
  const { b } = f;
  switch (f.fmt) {
    case 'sd':
      return exactBits(b, ...([a, c, r].map((v) => b.op('i64.reinterpret_f64', 'i64', [v])) as [Val, Val, Val]));
    case 'pd': {
      const lane = (i: number) =>
        exactBits(b, ...([a, c, r].map((v) => b.op('i64x2.extract_lane', 'i64', [v], [i])) as [Val, Val, Val]));
      return b.and(lane(0), lane(1));
    }
    case 'ss': {
      const wide = (v: Val) => b.op('f64.promote_f32', 'f64', [v]);
      return b.op('f64.eq', 'i32', [b.op('f64.mul', 'f64', [wide(a), wide(c)]), wide(r)]);
    }
    case 'ps': {
      const half = (high: boolean) => {
        const wide = (v: Val) => {
          const low = high ? b.op('i8x16.shuffle', 'v128', [v, v], HIGH) : v;
          return b.op('f64x2.promote_low_f32x4', 'v128', [low]);
        };
        const equal = b.op('f64x2.eq', 'v128', [b.op('f64x2.mul', 'v128', [wide(a), wide(c)]), wide(r)]);
        return b.op('i64x2.all_true', 'i32', [equal]);
      };
      return b.and(half(false), half(true));
    }
  }
}

/** Bytes 8..15 to the low half. */
const HIGH = [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15];

function exactBits(b: Builder, a: Val, c: Val, r: Val): Val {
  // 52 minus the fraction's significant bits. A power of two, which has none, is exact with anything.
  const spare = (v: Val) => b.op('i64.ctz', 'i64', [b.or(v, b.i64(1n << 52n))]);
  const [sa, sc] = [spare(a), spare(c)];
  const few = b.cmp('ge_u', b.add(sa, sc), b.i64(53));
  const power = b.or(b.cmp('eq', sa, b.i64(52)), b.cmp('eq', sc, b.i64(52)));
  return b.or(b.eqz(b.shl(r, 1)), b.or(few, power));
}
