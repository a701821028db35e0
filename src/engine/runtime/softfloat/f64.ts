/** Binary64 operations of SSE2/SSE4.1 on raw bits (see sse.ts). */
import { fl, rc } from './percpu';
import { DE, IE, PE } from './flags';
import { begin, end, plain } from './mxcsr';
import { ADD, DIV, is_denormal, is_nan, is_snan, MUL, slow, SQRT, SUB } from './slow';

const SIGN: u64 = 0x8000000000000000;
const QUIET: u64 = 0x0008000000000000;

/** Normal number or zero. */
// @ts-ignore: decorator
@inline
function easy(x: u64): bool {
  return (((x >> 52) + 1) & 0x7fe) != 0 || x << 1 == 0;
}

/** Normal, and not so small that rounding could have lifted it from below the least normal number. */
// @ts-ignore: decorator
@inline
function safe(x: u64): bool {
  return (u32(x >> 52) & 0x7ff) - 2 < 0x7fd;
}

// @ts-ignore: decorator
@inline
function F(x: u64): f64 {
  return reinterpret<f64>(x);
}

export function f64_add(cpu: usize, a: u64, b: u64): u64 {
  if (plain(cpu) && easy(a) && easy(b)) {
    const r = reinterpret<u64>(F(a) + F(b));
    if (safe(r)) return r;
  }
  return slow(cpu, ADD, a, b, false);
}

export function f64_sub(cpu: usize, a: u64, b: u64): u64 {
  if (plain(cpu) && easy(a) && easy(b)) {
    const r = reinterpret<u64>(F(a) - F(b));
    if (safe(r)) return r;
  }
  return slow(cpu, SUB, a, b, false);
}

export function f64_mul(cpu: usize, a: u64, b: u64): u64 {
  if (plain(cpu) && easy(a) && easy(b)) {
    const r = reinterpret<u64>(F(a) * F(b));
    if (safe(r)) return r;
  }
  return slow(cpu, MUL, a, b, false);
}

export function f64_div(cpu: usize, a: u64, b: u64): u64 {
  if (plain(cpu) && easy(a) && easy(b)) {
    const r = reinterpret<u64>(F(a) / F(b));
    if (safe(r)) return r;
  }
  return slow(cpu, DIV, a, b, false);
}

export function f64_sqrt(cpu: usize, a: u64): u64 {
  if (plain(cpu) && easy(a) && i64(a) > 0) return reinterpret<u64>(sqrt<f64>(F(a)));
  return slow(cpu, SQRT, a, a, false);
}

/** Comparison for min and max: -1 less, 1 greater, 0 equal or unordered. Sets `fl`. */
function order(a: u64, b: u64): i32 {
  if (is_nan(a) || is_nan(b)) {
    fl |= IE;
    return 0;
  }
  if (is_denormal(a, false) || is_denormal(b, false)) fl |= DE;
  return i32(F(a) > F(b)) - i32(F(a) < F(b));
}

export function f64_min(cpu: usize, a: u64, b: u64): u64 {
  if (begin(cpu)) {
    if (is_denormal(a, false)) a &= SIGN;
    if (is_denormal(b, false)) b &= SIGN;
  }
  const r = order(a, b) < 0 ? a : b;
  end(cpu);
  return r;
}

export function f64_max(cpu: usize, a: u64, b: u64): u64 {
  if (begin(cpu)) {
    if (is_denormal(a, false)) a &= SIGN;
    if (is_denormal(b, false)) b &= SIGN;
  }
  const r = order(a, b) > 0 ? a : b;
  end(cpu);
  return r;
}

export function f64_compare(cpu: usize, a: u64, b: u64, quiet: u32): u32 {
  if (easy(a) && easy(b)) return F(a) == F(b) ? 0 : F(a) < F(b) ? 1 : 2;
  if (begin(cpu)) {
    if (is_denormal(a, false)) a &= SIGN;
    if (is_denormal(b, false)) b &= SIGN;
  }
  let r: u32;
  if (is_nan(a) || is_nan(b)) {
    if (quiet == 0 || is_snan(a) || is_snan(b)) fl |= IE;
    r = 3;
  } else {
    if (is_denormal(a, false) || is_denormal(b, false)) fl |= DE;
    r = F(a) == F(b) ? 0 : F(a) < F(b) ? 1 : 2;
  }
  end(cpu);
  return r;
}

/** x rounded to an integral value by mode `rc`. */
// @ts-ignore: decorator
@inline
export function integral(x: f64, mode: u32): f64 {
  switch (mode) {
    case 0:
      return nearest<f64>(x);
    case 1:
      return floor<f64>(x);
    case 2:
      return ceil<f64>(x);
    default:
      return trunc<f64>(x);
  }
}

export function f64_round(cpu: usize, a: u64, imm: u32): u64 {
  const daz = begin(cpu);
  let r: u64;
  if (is_nan(a)) {
    if (is_snan(a)) fl |= IE;
    r = a | QUIET;
  } else {
    if (daz && is_denormal(a, false)) a &= SIGN;
    r = reinterpret<u64>(integral(F(a), imm & 4 ? rc : imm & 3));
    if (r != a && (imm & 8) == 0) fl |= PE;
  }
  end(cpu);
  return r;
}
