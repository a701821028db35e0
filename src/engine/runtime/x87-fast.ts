/**
 * The common case of x87 arithmetic, loads and stores, without the detour over percpu.ts: all exceptions masked, round to
 * nearest, precision 64 or 53 bits, normal operands and result. What computes gives -1 (having changed nothing) if the
 * case is not common after all; then the exact path does the work.
 *
 * A helper that has a common case is that, and a call of its exact counterpart (fp_arith for fp_add, fp_sqrt_exact for
 * fp_sqrt). The counterparts are exported, which keeps them out of the code, and so the stack frame, of the common case.
 */
import { CpuState } from '../../../build/abi/engine';
import { div_digit, mul_hi } from './softfloat/bits';
import { INT, SUB, SUBR } from './softfloat/f80';
import { C1, se_at } from './x87-stack';

// Conditions that depend on the numbers' bits are computed, not branched on: nothing would predict them.

/** The control word allows it. */
// @ts-ignore: decorator
@inline
export function common(cw: u32): bool {
  return (cw & 0xe3f) == 0x23f;
}

/** Physical number of ST(i). */
// @ts-ignore: decorator
@inline
export function physical(cpu: usize, i: u32): u32 {
  return (u32(load<u16>(cpu, CpuState.ftop)) + i) & 7;
}

/** Address of a register by its physical number. */
// @ts-ignore: decorator
@inline
export function register(cpu: usize, n: u32): usize {
  return cpu + CpuState.st + (n << 4);
}

/** Bit 0: the register of that physical number is in use. */
// @ts-ignore: decorator
@inline
export function used(cpu: usize, n: u32): u32 {
  return u32(load<u16>(cpu, CpuState.ftw)) >> n;
}

// Normal numbers of shorter formats.

// @ts-ignore: decorator
@inline
export function normal_f64(v: u64): bool {
  return (u32(v >> 52) & 0x7ff) - 1 < 0x7fe;
}
// @ts-ignore: decorator
@inline
export function se_f64(v: u64): u32 {
  return (u32(v >> 48) & 0x8000) | ((u32(v >> 52) & 0x7ff) + 15360);
}
// @ts-ignore: decorator
@inline
export function sig_f64(v: u64): u64 {
  return INT | (v << 11);
}
// @ts-ignore: decorator
@inline
export function normal_f32(v: u32): bool {
  return ((v >> 23) & 0xff) - 1 < 0xfe;
}
// @ts-ignore: decorator
@inline
export function se_f32(v: u32): u32 {
  return ((v >> 16) & 0x8000) | (((v >> 23) & 0xff) + 16256);
}
// @ts-ignore: decorator
@inline
export function sig_f32(v: u32): u64 {
  return INT | (u64(v) << 40);
}

/** Finite, normalised, neither denormal nor zero: both. */
// @ts-ignore: decorator
@inline
export function both_normal(ase: u32, a: u64, bse: u32, b: u64): bool {
  return (u32((ase & 0x7fff) - 1 < 0x7ffe) & u32((bse & 0x7fff) - 1 < 0x7ffe) & u32((a & b) >> 63)) != 0;
}

/** Round to nearest at the precision of `cw`, store at p; gives PE and C1. `e` is the biased exponent. */
// @ts-ignore: decorator
@inline
function nearest(p: usize, sign: u32, e: i32, sig: u64, ext: u64, cw: u32): i32 {
  let ulp: u64 = 1;
  let odd = sig;
  if ((cw & 0x100) == 0) {
    ext = (sig << 53) | u64(ext != 0);
    sig &= ~0x7ff;
    odd = sig >> 11;
    ulp = 0x800;
  }
  const up = (ext >> 63) & (odd | u64(ext << 1 != 0));
  const r = sig + (ulp & (0 - up));
  const carry = u32(r < sig);
  e += carry;
  if (u32(e) - 1 >= 0x7ffe) return -1;
  // a carry leaves zero
  store<u64>(p, r | (u64(carry) << 63));
  store<u16>(p, u16(sign | u32(e)), 8);
  return (u32(ext != 0) << 5) | (u32(up) << 9);
}

/** p = a + b, with the signs as `op` (ADD, SUB, SUBR) would have them. */
// @ts-ignore: decorator
@inline
export function fast_add(op: u32, p: usize, ase: u32, a: u64, bse: u32, b: u64, cw: u32): i32 {
  ase ^= u32(op == SUBR) << 15;
  bse ^= u32(op == SUB) << 15;
  const ea = i32(ase & 0x7fff);
  const eb = i32(bse & 0x7fff);
  const less = (u32(ea < eb) | (u32(ea == eb) & u32(a < b))) != 0;
  const x = select<u64>(b, a, less);
  const y = select<u64>(a, b, less);
  const e = select<i32>(eb, ea, less);
  const d = select<i32>(eb - ea, ea - eb, less);
  const sign = select<u32>(bse, ase, less) & 0x8000;
  if (d > 63) return -1;
  // y shifted to x's exponent, yh:yl, and negated if the signs differ
  const minus = 0 - u64(((ase ^ bse) >> 15) & 1);
  const yl = ((y << 1) << (63 - d)) & (0 - u64(d != 0));
  const l = (yl ^ minus) - minus;
  const h = x + ((y >> d) ^ minus) + (u64(yl == 0) & minus);
  const carry = u64(h < x) & ~minus;
  // one to the right after a carry, else to the left until bit 63 is set
  const n = u64(clz(h)) & (carry - 1);
  const sig = select<u64>((h >> 1) | INT, (h << n) | ((l >> 1) >> (63 - n)), carry != 0);
  const ext = select<u64>((h << 63) | (l >> 1) | (l & 1), l << n, carry != 0);
  if ((h | carry) == 0) return -1;
  return nearest(p, sign, e + i32(carry) - i32(n), sig, ext, cw);
}

// @ts-ignore: decorator
@inline
export function fast_mul(p: usize, ase: u32, a: u64, bse: u32, b: u64, cw: u32): i32 {
  const h = mul_hi(a, b);
  const l = a * b;
  const n = u64(i64(h) >= 0);
  const e = i32(ase & 0x7fff) + i32(bse & 0x7fff) - 16382 - i32(n);
  return nearest(p, (ase ^ bse) & 0x8000, e, (h << n) | ((l >> 63) & n), l << n, cw);
}

// @ts-ignore: decorator
@inline
export function fast_div(p: usize, ase: u32, a: u64, bse: u32, b: u64, cw: u32): i32 {
  const less = u64(a < b);
  const u1 = a >> (1 - less);
  const u0 = (a << 63) & (less - 1);
  const q1 = div_digit(u1, u0 >> 32, b);
  const m = ((u1 << 32) | (u0 >> 32)) - q1 * b;
  const q0 = div_digit(m, u0 & 0xffffffff, b);
  const r = ((m << 32) | (u0 & 0xffffffff)) - q0 * b;
  const c = b - r;
  // the fraction r / b: zero, below, at, above one half
  const ext = (u64(r >= c) << 63) | (u64(r != 0 && r != c) << 62);
  const e = i32(ase & 0x7fff) - i32(bse & 0x7fff) + 16383 - i32(less);
  return nearest(p, (ase ^ bse) & 0x8000, e, (q1 << 32) | q0, ext, cw);
}

/** Of a positive number. */
// @ts-ignore: decorator
@inline
export function fast_sqrt(p: usize, se: u32, a: u64, cw: u32): i32 {
  const e = i32(se) - 16383;
  // nh:nl is a * 2^63 (even exponent) or a * 2^64, so that the root r has 64 bits
  const odd = u64(e & 1);
  const nh = a >> (1 - odd);
  const nl = (a << 63) & (odd - 1);
  const est = sqrt<f64>(f64(i64(nh >> 1)) * 2.0);
  let r = u64(i64(est * 2147483648.0)) << 1;
  // One Newton step; the remainder n - r*r is below 2^78 in magnitude.
  let h = nh - mul_hi(r, r) - u64(nl < r * r);
  let l = nl - r * r;
  const rest = f64(i64(h)) * 18446744073709551616.0 + f64(i64(l >> 1)) * 2.0;
  const delta = i64(floor<f64>(rest * (1.1641532182693481e-10 / est))); // rest / 2r, with r as est * 2^32
  if (delta > 0 && r > u64.MAX_VALUE - u64(delta)) return -1;
  r += delta;
  h = nh - mul_hi(r, r) - u64(nl < r * r);
  l = nl - r * r;
  if (i64(h) < 0) {
    // too large: (r-1)^2 = r^2 - 2(r-1) - 1
    r--;
    const t = (r << 1) | 1;
    l += t;
    h += (r >> 63) + u64(l < t);
  } else if (h > 1 || (h == 1 && l > r << 1)) {
    const t = (r << 1) | 1;
    h -= 1 + u64(l < t);
    l -= t;
    r++;
  }
  // not one off, but more
  if (h > 1 || (h == 1 && l > r << 1)) return -1;
  const ext = (h | l) == 0 ? 0 : u64(h != 0 || l > r) << 63 | 0x4000000000000000;
  return nearest(p, 0, (e >> 1) + 16383, r, ext, cw);
}

/** 0 equal, 1 less, 2 greater: of normal numbers. */
// @ts-ignore: decorator
@inline
export function fast_order(ase: u32, a: u64, bse: u32, b: u64): u32 {
  const ea = ase & 0x7fff;
  const eb = bse & 0x7fff;
  const same = ase == bse && a == b;
  const smaller = u32(ea < eb) | (u32(ea == eb) & u32(a < b));
  // of numbers with one sign, the smaller is less if they are positive
  const less = ((ase ^ bse) & 0x8000) != 0 ? ase >> 15 : smaller ^ (ase >> 15);
  return same ? 0 : 2 - less;
}

/** ST(0), of physical number `top`, is popped. */
// @ts-ignore: decorator
@inline
export function fast_pop(cpu: usize, top: u32): void {
  store<u16>(cpu, u16(load<u16>(cpu, CpuState.ftw) & ~(u32(1) << top)), CpuState.ftw);
  store<u16>(cpu, u16((top + 1) & 7), CpuState.ftop);
}

/** The end of what computes: its flags, PE and C1, to the status word. */
// @ts-ignore: decorator
@inline
export function fast_flags(cpu: usize, flags: u32): void {
  store<u16>(cpu, u16((load<u16>(cpu, CpuState.fsw) & ~C1) | flags), CpuState.fsw);
}

/** Push a number that needs no look; false if there is no room. */
// @ts-ignore: decorator
@inline
export function fast_push(cpu: usize, se: u32, sig: u64): bool {
  const tags: u32 = load<u16>(cpu, CpuState.ftw);
  const top = physical(cpu, 7);
  if ((tags >> top) & 1) return false;
  store<u16>(cpu, u16(tags | (u32(1) << top)), CpuState.ftw);
  store<u16>(cpu, u16(top), CpuState.ftop);
  fast_flags(cpu, 0);
  const p = register(cpu, top);
  store<u64>(p, sig);
  store<u16>(p, u16(se), 8);
  return true;
}

/**
 * ST(0) as a binary32 or binary64 (P: 24 or 53 bits) to ret0, and perhaps a pop. False: unless it is normal there, or
 * may be rounded to what is not.
 */
// @ts-ignore: decorator
@inline
export function fast_get(cpu: usize, P: i32, pops: u32): bool {
  const cw: u32 = load<u16>(cpu, CpuState.fcw);
  const top: u32 = load<u16>(cpu, CpuState.ftop);
  const p = register(cpu, top);
  const se = se_at(p);
  const sig = load<u64>(p);
  const bias = P == 53 ? 1023 : 127;
  const shift = u64(64 - P);
  // from the second smallest exponent to the last but one: no underflow, and rounding up does not overflow
  const e = (se & 0x7fff) - (16383 - bias + 2);
  const fits = u32((cw & 0xc3f) == 0x3f) & used(cpu, top) & u32(e < u32(2 * bias - 2)) & u32(sig >> 63);
  if (!fits) return false;
  const lost = sig << u64(P);
  const up = (lost >> 63) & ((sig >> shift) | u64(lost << 1 != 0)) & 1;
  const r = (u64(se >> 15) << (P == 53 ? 63 : 31)) | ((u64(e + 1) << u64(P - 1)) + (sig >> shift) + up);
  store<u64>(cpu, r, CpuState.ret0);
  fast_flags(cpu, (u32(lost != 0) << 5) | (u32(up) << 9));
  if (pops) fast_pop(cpu, top);
  return true;
}
