/** Binary32 operations of SSE/SSE4.1 on raw bits (see sse.ts). */
import { fl, rc } from './percpu';
import { DE, IE, PE } from './flags';
import { begin, end, plain } from './mxcsr';
import { ADD, DIV, MUL, slow, SQRT, SUB, widen } from './slow';
import { integral } from './f64';

const SIGN: u32 = 0x80000000;
const INF: u32 = 0x7f800000;
const QUIET: u32 = 0x00400000;

/** Normal number or zero. */
// @ts-ignore: decorator
@inline
function easy(x: u32): bool {
  return (((x >> 23) + 1) & 0xfe) != 0 || x << 1 == 0;
}

/** Normal, and not so small that rounding could have lifted it from below the least normal number. */
// @ts-ignore: decorator
@inline
function safe(x: u32): bool {
  return ((x >> 23) & 0xff) - 2 < 0xfd;
}

// @ts-ignore: decorator
@inline
function F(x: u32): f32 {
  return reinterpret<f32>(x);
}

// @ts-ignore: decorator
@inline
function is_nan(x: u32): bool {
  return x << 1 > INF << 1;
}

// @ts-ignore: decorator
@inline
function is_snan(x: u32): bool {
  return x << 1 > INF << 1 && (x & QUIET) == 0;
}

// @ts-ignore: decorator
@inline
function is_denormal(x: u32): bool {
  return (x << 1) - 1 < 0xffffff;
}

export function f32_add(cpu: usize, a: u32, b: u32): u32 {
  if (plain(cpu) && easy(a) && easy(b)) {
    const r = reinterpret<u32>(F(a) + F(b));
    if (safe(r)) return r;
  }
  return u32(slow(cpu, ADD, widen(a), widen(b), true));
}

export function f32_sub(cpu: usize, a: u32, b: u32): u32 {
  if (plain(cpu) && easy(a) && easy(b)) {
    const r = reinterpret<u32>(F(a) - F(b));
    if (safe(r)) return r;
  }
  return u32(slow(cpu, SUB, widen(a), widen(b), true));
}

export function f32_mul(cpu: usize, a: u32, b: u32): u32 {
  if (plain(cpu) && easy(a) && easy(b)) {
    const r = reinterpret<u32>(F(a) * F(b));
    if (safe(r)) return r;
  }
  return u32(slow(cpu, MUL, widen(a), widen(b), true));
}

export function f32_div(cpu: usize, a: u32, b: u32): u32 {
  if (plain(cpu) && easy(a) && easy(b)) {
    const r = reinterpret<u32>(F(a) / F(b));
    if (safe(r)) return r;
  }
  return u32(slow(cpu, DIV, widen(a), widen(b), true));
}

export function f32_sqrt(cpu: usize, a: u32): u32 {
  if (plain(cpu) && easy(a) && i32(a) > 0) return reinterpret<u32>(sqrt<f32>(F(a)));
  return u32(slow(cpu, SQRT, widen(a), 0, true));
}

/** Comparison for min and max: -1 less, 1 greater, 0 equal or unordered. Sets `fl`. */
function order(a: u32, b: u32): i32 {
  if (is_nan(a) || is_nan(b)) {
    fl |= IE;
    return 0;
  }
  if (is_denormal(a) || is_denormal(b)) fl |= DE;
  return i32(F(a) > F(b)) - i32(F(a) < F(b));
}

export function f32_min(cpu: usize, a: u32, b: u32): u32 {
  if (begin(cpu)) {
    if (is_denormal(a)) a &= SIGN;
    if (is_denormal(b)) b &= SIGN;
  }
  const r = order(a, b) < 0 ? a : b;
  end(cpu);
  return r;
}

export function f32_max(cpu: usize, a: u32, b: u32): u32 {
  if (begin(cpu)) {
    if (is_denormal(a)) a &= SIGN;
    if (is_denormal(b)) b &= SIGN;
  }
  const r = order(a, b) > 0 ? a : b;
  end(cpu);
  return r;
}

export function f32_compare(cpu: usize, a: u32, b: u32, quiet: u32): u32 {
  if (easy(a) && easy(b)) return F(a) == F(b) ? 0 : F(a) < F(b) ? 1 : 2;
  if (begin(cpu)) {
    if (is_denormal(a)) a &= SIGN;
    if (is_denormal(b)) b &= SIGN;
  }
  let r: u32;
  if (is_nan(a) || is_nan(b)) {
    if (quiet == 0 || is_snan(a) || is_snan(b)) fl |= IE;
    r = 3;
  } else {
    if (is_denormal(a) || is_denormal(b)) fl |= DE;
    r = F(a) == F(b) ? 0 : F(a) < F(b) ? 1 : 2;
  }
  end(cpu);
  return r;
}

export function f32_round(cpu: usize, a: u32, imm: u32): u32 {
  const daz = begin(cpu);
  let r: u32;
  if (is_nan(a)) {
    if (is_snan(a)) fl |= IE;
    r = a | QUIET;
  } else {
    if (daz && is_denormal(a)) a &= SIGN;
    // Exact in binary64 too, as the value is integral.
    r = reinterpret<u32>(f32(integral(f64(F(a)), imm & 4 ? rc : imm & 3)));
    if (r != a && (imm & 8) == 0) fl |= PE;
  }
  end(cpu);
  return r;
}
