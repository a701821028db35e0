/**
 * rcpss, rsqrtss and their packed forms, one element (SDM vol. 2). The manual promises a relative error of at most 1.5 * 2^-12
 * and processors differ within it; here the operand is cut to 12 fraction bits, and the answer for the middle of
 * that interval rounded to as many. Nothing is raised, MXCSR is not looked at: denormals count as zeros and tiny results become zeros.
 */

const SIGN: u32 = 0x80000000;
const INF: u32 = 0x7f800000;
const QUIET: u32 = 0x00400000;

// @ts-ignore: decorator
@inline
function middle(a: u32): u32 {
  return (a & 0x7ffff800) | 0x400;
}
/** Rounded to 12 fraction bits. */
// @ts-ignore: decorator
@inline
function brief(r: f64): u32 {
  return (reinterpret<u32>(f32(r)) + 0x400) & 0xfffff800;
}

export function f32_rcp(cpu: usize, a: u32): u32 {
  const sign = a & SIGN;
  const m = a & ~SIGN;
  if (m > INF) return a | QUIET;
  if (m == INF) return sign;
  if (m < 0x00800000) return sign | INF;
  const r = brief(1.0 / f64(reinterpret<f32>(middle(a))));
  return sign | (r < 0x00800000 ? 0 : r);
}

export function f32_rsqrt(cpu: usize, a: u32): u32 {
  const m = a & ~SIGN;
  if (m > INF) return a | QUIET;
  if (m < 0x00800000) return (a & SIGN) | INF;
  if (a & SIGN) return 0xffc00000;
  if (m == INF) return 0;
  return brief(1.0 / sqrt<f64>(f64(reinterpret<f32>(middle(a)))));
}
