/**
 * The exact path of binary32 and binary64 arithmetic: special operands, every rounding mode, exception flags. Operands
 * come as binary64 bits (a binary32 one widened, which is exact), with `single` telling the format of the result.
 */
import { fl, rc, special, ze, zext, zs, zsig } from './percpu';
import { DE, IE, RC_DOWN, ZE } from './flags';
import { begin, end } from './mxcsr';
import { add_core, div_core, mul_core, sqrt_core } from './core';
import { pack_f32, pack_f64 } from './pack';

export const ADD: u32 = 0;
export const SUB: u32 = 1;
export const MUL: u32 = 2;
export const DIV: u32 = 3;
export const SQRT: u32 = 4;

const SIGN: u64 = 0x8000000000000000;
const INF: u64 = 0x7ff0000000000000;
const QUIET: u64 = 0x0008000000000000;
const DEFAULT_NAN: u64 = 0xfff8000000000000;

// @ts-ignore: decorator
@inline
export function is_nan(x: u64): bool {
  return x << 1 > INF << 1;
}

// @ts-ignore: decorator
@inline
export function is_snan(x: u64): bool {
  return x << 1 > INF << 1 && (x & QUIET) == 0;
}

/** Denormal in its own format. `x` is binary64 bits; a widened binary32 denormal lies below 2^-126. */
// @ts-ignore: decorator
@inline
export function is_denormal(x: u64, single: bool): bool {
  return (x << 1) - 1 < (single ? 0x701fffffffffffff : 0x001fffffffffffff);
}

/** Unbiased exponent of a number that is not zero, Inf or NaN, and its significand with bit 63 set. */
// @ts-ignore: decorator
@inline
export function exponent(x: u64): i32 {
  const e = i32(x >> 52) & 0x7ff;
  return e != 0 ? e - 1023 : -1011 - i32(clz(x & 0x000fffffffffffff));
}

// @ts-ignore: decorator
@inline
export function significand(x: u64): u64 {
  const m = x << 11;
  return (x & INF) != 0 ? m | SIGN : m << clz(m);
}

/** Binary32 bits to binary64 bits, exactly; signalling NaNs stay signalling. */
export function widen(a: u32): u64 {
  const s = u64(a >> 31) << 63;
  const e = (a >> 23) & 0xff;
  const m = a & 0x7fffff;
  if (e == 0) {
    if (m == 0) return s;
    const n = clz(m) - 8;
    return s | (u64(897 - n) << 52) | ((u64(m) << (29 + n)) & 0x000fffffffffffff);
  }
  return s | (u64(e == 0xff ? 0x7ff : e + 896) << 52) | (u64(m) << 29);
}

/** A binary64 NaN, infinity or zero as binary32 bits. */
// @ts-ignore: decorator
@inline
export function narrow_special(x: u64): u32 {
  return (u32(x >> 32) & 0x80000000) | ((x & INF) != 0 ? 0x7f800000 : 0) | (u32(x >> 29) & 0x7fffff);
}

/** Which NaN an operation on at least one NaN gives: the first operand if it is one, made quiet. */
export function propagate(a: u64, b: u64): u64 {
  if (is_snan(a) || is_snan(b)) fl |= IE;
  return (is_nan(a) ? a : b) | QUIET;
}

function invalid(): u64 {
  fl |= IE;
  return DEFAULT_NAN;
}

/** Does the work: true if the result is `special`, false if it is in z and must be rounded. */


function finite_or_special(op: u32, a: u64, b: u64, single: bool): bool {
  if (is_nan(a) || is_nan(b)) {
    special = propagate(a, b);
    return true;
  }
  const sa = u32(a >> 63);
  const sb = u32(b >> 63);
  const ma = a & ~SIGN;
  const mb = b & ~SIGN;
  const sx = u64(sa ^ sb) << 63;
  if (op == SQRT) {
    if (ma == 0) special = a;
    else if (sa) special = invalid();
    else {
      if (is_denormal(a, single)) fl |= DE;
      if (ma != INF) {
        sqrt_core(exponent(a), significand(a));
        return false;
      }
      special = a;
    }
    return true;
  }
  if (is_denormal(a, single) || is_denormal(b, single)) fl |= DE;
  if (op == ADD) {
    if (ma == INF || mb == INF) {
      special = ma != INF ? b : mb == INF && sa != sb ? invalid() : a;
      return true;
    }
    if (ma == 0 || mb == 0) {
      if (ma == 0 && mb == 0) {
        special = sa == sb ? a : u64(rc == RC_DOWN) << 63;
        return true;
      }
      // The sum is the other operand; as a denormal it can still underflow (unmasked, or flushed to zero).
      const x = ma == 0 ? b : a;
      zs = u32(x >> 63);
      ze = exponent(x);
      zsig = significand(x);
      zext = 0;
      return false;
    }
    if (add_core(sa, exponent(a), significand(a), sb, exponent(b), significand(b))) return false;
    special = u64(rc == RC_DOWN) << 63;
    return true;
  }
  if (op == MUL) {
    if (ma == INF || mb == INF) {
      special = ma == 0 || mb == 0 ? invalid() : sx | INF;
      return true;
    }
    if (ma == 0 || mb == 0) {
      special = sx;
      return true;
    }
    mul_core(sa ^ sb, exponent(a), significand(a), exponent(b), significand(b));
    return false;
  }
  // DIV
  if (ma == INF) {
    special = mb == INF ? invalid() : sx | INF;
    return true;
  }
  if (mb == INF) {
    special = sx;
    return true;
  }
  if (mb == 0) {
    if (ma == 0) special = invalid();
    else {
      fl = ZE; // and not DE
      special = sx | INF;
    }
    return true;
  }
  if (ma == 0) {
    special = sx;
    return true;
  }
  div_core(sa ^ sb, exponent(a), significand(a), exponent(b), significand(b));
  return false;
}

/** a op b (SQRT: of a) on binary64 bits; gives bits of the result's format. */
export function slow(cpu: usize, op: u32, a: u64, b: u64, single: bool): u64 {
  if (begin(cpu)) {
    if (is_denormal(a, single)) a &= SIGN;
    if (is_denormal(b, single)) b &= SIGN;
  }
  if (op == SUB) {
    op = ADD;
    if (!is_nan(b)) b ^= SIGN;
  }
  let r: u64;
  if (finite_or_special(op, a, b, single)) r = single ? u64(narrow_special(special)) : special;
  else {
    const sig = zsig | u64(zext != 0);
    r = single ? u64(pack_f32(zs, ze, sig)) : pack_f64(zs, ze, sig);
  }
  end(cpu);
  return r;
}
