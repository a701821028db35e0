/** 128-by-64-bit division (div and idiv with 8-byte operands). Quotient to CpuState.ret0, remainder to ret1. */
import { CpuState } from '../../../build/abi/engine';

/**
 * hi:lo / d, unsigned; 0 if d is 0 or the quotient does not fit 64 bits (#DE), else 1. Two steps of schoolbook division
 * with 32-bit digits (Knuth, TAOCP vol. 2, 4.3.1, algorithm D).
 */
export function div128(cpu: usize, hi: u64, lo: u64, d: u64): u32 {
  if (hi >= d) return 0;
  if (hi == 0) {
    store<u64>(cpu, lo / d, CpuState.ret0);
    store<u64>(cpu, lo % d, CpuState.ret1);
    return 1;
  }
  // Normalised: the divisor's top bit set. hi < d, so nothing is shifted out.
  const s = clz<u64>(d);
  const dn = d << s;
  const d1 = dn >> 32;
  const d0 = dn & 0xffffffff;
  const nh = s ? (hi << s) | (lo >> (64 - s)) : hi;
  const nl = lo << s;
  let q1 = nh / d1;
  let r1 = nh % d1;
  while (q1 >> 32 != 0 || q1 * d0 > ((r1 << 32) | (nl >> 32))) {
    q1--;
    r1 += d1;
    if (r1 >> 32 != 0) break;
  }
  const mid = ((nh << 32) | (nl >> 32)) - q1 * dn;
  let q0 = mid / d1;
  let r0 = mid % d1;
  while (q0 >> 32 != 0 || q0 * d0 > ((r0 << 32) | (nl & 0xffffffff))) {
    q0--;
    r0 += d1;
    if (r0 >> 32 != 0) break;
  }
  store<u64>(cpu, (q1 << 32) + q0, CpuState.ret0);
  store<u64>(cpu, (((mid << 32) | (nl & 0xffffffff)) - q0 * dn) >> s, CpuState.ret1);
  return 1;
}

/** hi:lo / d, signed, truncated towards 0; the remainder has the dividend's sign. */
export function idiv128(cpu: usize, hi: u64, lo: u64, d: u64): u32 {
  const negative = <i64>hi < 0;
  const different = <i64>(hi ^ d) < 0;
  let h = hi;
  let l = lo;
  if (negative) {
    l = 0 - lo;
    h = ~hi + <u64>(lo == 0);
  }
  if (!div128(cpu, h, l, <i64>d < 0 ? 0 - d : d)) return 0;
  const q = load<u64>(cpu, CpuState.ret0);
  // |q| may be 2^63 only when q is negative.
  if (q > 0x7fffffffffffffff + <u64>different) return 0;
  if (different) store<u64>(cpu, 0 - q, CpuState.ret0);
  if (negative) store<u64>(cpu, 0 - load<u64>(cpu, CpuState.ret1), CpuState.ret1);
  return 1;
}
