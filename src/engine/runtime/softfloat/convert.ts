/** Conversions between binary32, binary64 and integers of SSE/SSE2 on raw bits (see sse.ts). */
import { fl, rc } from './percpu';
import { DE, IE, PE } from './flags';
import { begin, end, plain } from './mxcsr';
import { exponent, is_denormal, is_nan, is_snan, narrow_special, significand, widen } from './slow';
import { pack_f32, pack_f64 } from './pack';
import { integral } from './f64';

const SIGN: u64 = 0x8000000000000000;
const INF: u64 = 0x7ff0000000000000;
const QUIET: u64 = 0x0008000000000000;

export function f32_to_f64(cpu: usize, a: u32): u64 {
  if ((((a >> 23) + 1) & 0xfe) != 0 || a << 1 == 0) return reinterpret<u64>(f64(reinterpret<f32>(a)));
  let r = widen(a);
  const daz = begin(cpu);
  if (is_nan(r)) {
    if (is_snan(r)) fl |= IE;
    r |= QUIET;
  } else if (is_denormal(r, true)) {
    if (daz) r &= SIGN;
    else fl |= DE;
  }
  end(cpu);
  return r;
}

export function f64_to_f32(cpu: usize, a: u64): u32 {
  if (plain(cpu) && (((a >> 52) + 1) & 0x7fe) != 0) {
    const r = reinterpret<u32>(f32(reinterpret<f64>(a)));
    if (((r >> 23) & 0xff) - 2 < 0xfd) return r;
  }
  const daz = begin(cpu);
  let r: u32;
  if (is_nan(a)) {
    if (is_snan(a)) fl |= IE;
    r = narrow_special(a | QUIET);
  } else {
    if (is_denormal(a, false)) {
      if (daz) a &= SIGN;
      else fl |= DE;
    }
    if (a << 1 == 0 || (a & INF) == INF) r = narrow_special(a);
    else r = pack_f32(u32(a >> 63), exponent(a), significand(a));
  }
  end(cpu);
  return r;
}

export function i32_to_f64(cpu: usize, a: i32): u64 {
  return reinterpret<u64>(f64(a));
}

export function i64_to_f64(cpu: usize, a: i64): u64 {
  const s = u32(a < 0);
  const m: u64 = s ? 0 - u64(a) : u64(a);
  if (m >> 53 == 0) return reinterpret<u64>(f64(a));
  begin(cpu);
  const n = i32(clz(m));
  const r = pack_f64(s, 63 - n, m << n);
  end(cpu);
  return r;
}

export function i64_to_f32(cpu: usize, a: i64): u32 {
  const s = u32(a < 0);
  const m: u64 = s ? 0 - u64(a) : u64(a);
  if (m >> 24 == 0) return reinterpret<u32>(f32(a));
  begin(cpu);
  const n = i32(clz(m));
  const r = pack_f32(s, 63 - n, m << n);
  end(cpu);
  return r;
}

export function i32_to_f32(cpu: usize, a: i32): u32 {
  return i64_to_f32(cpu, a);
}

/** The value rounded to an integer, as binary64 (NaN stays NaN); PE set in `fl` if that changed it. */
// @ts-ignore: decorator
@inline
function integer(cpu: usize, x: u64, truncate: u32, single: bool): f64 {
  if (begin(cpu) && is_denormal(x, single)) x &= SIGN;
  const v = reinterpret<f64>(x);
  const r = integral(v, truncate ? 3 : rc);
  if (r != v) fl = PE;
  return r;
}

function to_i32(cpu: usize, x: u64, truncate: u32, single: bool): i32 {
  const r = integer(cpu, x, truncate, single);
  let v: i32 = i32.MIN_VALUE;
  if (r >= -2147483648.0 && r <= 2147483647.0) v = i32(r);
  else fl = IE;
  if (fl != 0) end(cpu);
  return v;
}

function to_i64(cpu: usize, x: u64, truncate: u32, single: bool): i64 {
  const r = integer(cpu, x, truncate, single);
  let v: i64 = i64.MIN_VALUE;
  if (r >= -9223372036854775808.0 && r < 9223372036854775808.0) v = i64(r);
  else fl = IE;
  if (fl != 0) end(cpu);
  return v;
}

export function f32_to_i32(cpu: usize, a: u32, truncate: u32): i32 {
  return to_i32(cpu, widen(a), truncate, true);
}

export function f32_to_i64(cpu: usize, a: u32, truncate: u32): i64 {
  return to_i64(cpu, widen(a), truncate, true);
}

export function f64_to_i32(cpu: usize, a: u64, truncate: u32): i32 {
  return to_i32(cpu, a, truncate, false);
}

export function f64_to_i64(cpu: usize, a: u64, truncate: u32): i64 {
  return to_i64(cpu, a, truncate, false);
}
