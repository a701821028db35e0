/** Rounding an unpacked number to binary32 or binary64 (SDM vol. 1 4.8.4, 4.9). */
import { fl, ftz, rc, rup, unmasked } from './percpu';
import { OE, PE, RC_DOWN, RC_NEAR, RC_ZERO, UE } from './flags';
import { shr_jam } from './bits';

/**
 * (-1)^s * sig * 2^(e - 63), bit 63 of sig set, lowest bit sticky, to the nearest number of the format by `rc`. Sets
 * OE UE PE in `fl`, and `rup`; the result has no meaning if one of OE and UE is unmasked. P: significand bits (24 or 53), BIAS: 127 or 1023. Gives the raw bits.
 */
// @ts-ignore: decorator
@inline
function pack(P: i32, BIAS: i32, s: u32, e: i32, sig: u64): u64 {
  const SH = 64 - P;
  const MASK: u64 = (u64(1) << SH) - 1;
  const HALF: u64 = u64(1) << (SH - 1);
  const INF = 2 * BIAS + 1;
  const sign = u64(s) << (P == 53 ? 63 : 31);
  const inc: u64 = rc == RC_NEAR ? HALF : rc == RC_ZERO || (rc == RC_DOWN) != (s != 0) ? 0 : MASK;
  let be = e + BIAS;
  let tiny = false;
  if (be <= 0) {
    // Tiny unless rounding as if the exponent had no bound would reach the least normal number.
    tiny = be < 0 || sig + inc >= sig;
    if (tiny && (unmasked & UE) != 0) {
      // The trap handler's result has an unbounded exponent; it may be exact.
      fl |= (sig & MASK) != 0 ? UE | PE : UE;
      return sign;
    }
    sig = shr_jam(sig, 1 - be);
    be = 0;
  }
  const lost = sig & MASK;
  let m = sig >> SH;
  rup = 0;
  if (lost != 0) {
    const up = rc == RC_NEAR ? lost > HALF || (lost == HALF && (m & 1) != 0) : inc != 0;
    if (up) {
      m++;
      rup = 1;
    }
    fl |= PE;
  }
  if (tiny) {
    if (ftz) {
      fl |= UE | PE;
      rup = 0;
      return sign;
    }
    if (lost != 0) fl |= UE;
  }
  // The leading bit of m carries into the exponent field.
  const r = be == 0 ? m : (u64(be - 1) << (P - 1)) + m;
  if (i32(r >> (P - 1)) >= INF || be >= INF) {
    fl |= unmasked & OE ? OE : OE | PE;
    rup = u32(inc != 0);
    return sign | ((u64(INF) << (P - 1)) - u64(inc == 0));
  }
  return sign | r;
}

export function pack_f64(s: u32, e: i32, sig: u64): u64 {
  return pack(53, 1023, s, e, sig);
}

export function pack_f32(s: u32, e: i32, sig: u64): u32 {
  return u32(pack(24, 127, s, e, sig));
}
