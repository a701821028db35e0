/**
 * fsin, fcos, fsincos, fptan (SDM vol. 1 8.3.7, 8.3.8). Arguments are reduced with a pi of 66 bits, as the real
 * FPU does, by exact integer remainder; then a series in 128-bit fractions. Precision control does not apply.
 */
import { CpuState } from '../../../build/abi/engine';
import { fl, pc, rup, top, unmasked, we, wh, wl, xe, xh, xl, xs, ze, zext, zs, zsig } from './softfloat/percpu';
import { DE, IE, SF } from './softfloat/flags';
import {
  denormal80, exp80, inf80, INT, invalid80, nan80, propagate80, round80, set80, sig80, unsupported80, zero80,
} from './softfloat/f80';
import { alternating, wide_fraction, wide_mul, wide_norm, wide_quotient, wide_store } from './softfloat/wide';
import { cos_series, sin_series } from './softfloat/series';
import { C0, C2, C3, empty, fill, fp_begin, fp_end_cc, push, se_at, set_top, st, underflow } from './x87-stack';

/** pi * 2^64 of 66 bits. */
const PI_HIGH: u64 = 0x3;
const PI_LOW: u64 = 0x243f6a8885a308d3;

/** x = argument less q * pi/2, |x| <= pi/4; gives q. The argument is finite, not zero, below 2^63. */
function reduce(se: u32, sig: u64): u32 {
  const e = exp80(se, sig);
  sig = sig80(sig);
  xs = se >> 15;
  if (e < -1) {
    // below 1/2
    xh = sig;
    xl = 0;
    xe = e;
    return 0;
  }
  // In units of 2^-65, where pi/2 is PI: sig * 2^(e + 2) mod PI, one doubling at a time.
  let h: u64 = 0;
  let l = sig;
  let q: u32 = 0;
  for (let i = e + 2; i > 0; i--) {
    h = (h << 1) | (l >> 63);
    l <<= 1;
    q <<= 1;
    if (h > PI_HIGH || (h == PI_HIGH && l >= PI_LOW)) {
      h -= PI_HIGH + u64(l < PI_LOW);
      l -= PI_LOW;
      q |= 1;
    }
  }
  // Above pi/4: count from the next quarter.
  const rl = PI_LOW - l;
  const rh = PI_HIGH - h - u64(PI_LOW < l);
  if (h > rh || (h == rh && l > rl)) {
    h = rh;
    l = rl;
    q++;
    xs ^= 1;
  }
  // The remainder is not zero: PI is odd, and does not divide a shorter number's multiple by a power of two.
  wh = h;
  wl = l;
  wide_norm(62);
  xh = wh;
  xl = wl;
  xe = we;
  // The sign of the argument: f(-x) is found from q of |x|, with xs relative to it.
  return q;
}

/** w = x^2 as a fraction. */
function square(): void {
  wh = xh;
  wl = xl;
  wide_fraction(xe);
  wide_mul(wh, wl, wh, wl);
}

/** w = sin |x|. */
function sine(): void {
  square();
  alternating(sin_series(), 13, wh, wl);
  wide_mul(xh, xl, wh, wl);
  wide_norm(xe + 1);
}

/** w = cos x. */
function cosine(): void {
  square();
  alternating(cos_series(), 14, wh, wl);
  wide_norm(0);
}

/** The argument at p is ordinary: finite, not zero, small enough. Else C2 or a special result is handled by the caller. */
// @ts-ignore: decorator
@inline
function too_large(se: u32): bool {
  return (se & 0x7fff) >= 16383 + 63;
}

/** sin (1: cos) of the argument to dst. */
function sine_to(dst: usize, se: u32, sig: u64, quarter: u32): void {
  const neg = se >> 15;
  const q = reduce(se & 0x7fff, sig) + quarter;
  // xs: sign of the remainder for the positive argument
  let s = xs;
  if (q & 1) {
    cosine();
    s = 0;
  } else sine();
  if (q & 2) s ^= 1;
  if (quarter == 0) s ^= neg;
  wide_store(dst, s);
}

/** NaNs and infinities: stores the result; true if done. */
function special(dst: usize, se: u32, sig: u64): bool {
  if (unsupported80(se, sig) || inf80(se, sig)) {
    invalid80(dst);
    return true;
  }
  if (nan80(se, sig)) {
    propagate80(dst, se, sig, se, sig);
    return true;
  }
  return false;
}

/** C2 = 0 or 1, C0 and C3 stay. */
function finish(cpu: usize, c2: u32): u32 {
  return fp_end_cc(cpu, (load<u16>(cpu, CpuState.fsw) & (C0 | C3)) | c2);
}

function sin_or_cos(cpu: usize, quarter: u32): u32 {
  fp_begin(cpu);
  pc = 3;
  if (empty(cpu, 0)) {
    underflow(cpu, 0);
    return finish(cpu, 0);
  }
  const p = st(cpu, 0);
  const se = se_at(p);
  const sig = load<u64>(p);
  if (special(p, se, sig)) return finish(cpu, 0);
  if (zero80(se, sig)) {
    if (quarter) set80(p, 0x3fff, INT);
    return finish(cpu, 0);
  }
  if (too_large(se)) return finish(cpu, C2);
  if (denormal80(se, sig)) {
    fl |= DE;
    if (unmasked & DE) return finish(cpu, 0);
  }
  sine_to(p, se, sig, quarter);
  return finish(cpu, 0);
}

export function fp_sin(cpu: usize): u32 {
  return sin_or_cos(cpu, 0);
}

export function fp_cos(cpu: usize): u32 {
  return sin_or_cos(cpu, 1);
}

/** ST(0) empty, or no room to push: the masked response leaves two NaNs. */
function stack_fault(cpu: usize): u32 {
  fl |= IE | SF;
  rup = u32(!empty(cpu, 0));
  if ((unmasked & IE) == 0) {
    fill(cpu, 0);
    set_top(cpu, top - 1);
    fill(cpu, 0);
  }
  return finish(cpu, 0);
}

/** NaN, infinity or unsupported operand of an instruction with two results: both are the same NaN. */
function special_pair(cpu: usize, p: usize, se: u32, sig: u64): u32 {
  special(p, se, sig);
  if ((fl & unmasked & IE) == 0) push(cpu, se_at(p), load<u64>(p));
  return finish(cpu, 0);
}

export function fp_sincos(cpu: usize): u32 {
  fp_begin(cpu);
  pc = 3;
  if (empty(cpu, 0) || !empty(cpu, 7)) return stack_fault(cpu);
  const p = st(cpu, 0);
  const se = se_at(p);
  const sig = load<u64>(p);
  if (nan80(se, sig) || inf80(se, sig) || unsupported80(se, sig)) return special_pair(cpu, p, se, sig);
  if (zero80(se, sig)) {
    push(cpu, 0x3fff, INT);
    return finish(cpu, 0);
  }
  if (too_large(se)) return finish(cpu, C2);
  if (denormal80(se, sig)) {
    fl |= DE;
    if (unmasked & DE) return finish(cpu, 0);
  }
  sine_to(p, se, sig, 0);
  push(cpu, 0, 0);
  rup = 0;
  sine_to(st(cpu, 0), se, sig, 1);
  return finish(cpu, 0);
}

export function fp_ptan(cpu: usize): u32 {
  fp_begin(cpu);
  pc = 3;
  if (empty(cpu, 0) || !empty(cpu, 7)) return stack_fault(cpu);
  const p = st(cpu, 0);
  const se = se_at(p);
  const sig = load<u64>(p);
  if (nan80(se, sig) || inf80(se, sig) || unsupported80(se, sig)) return special_pair(cpu, p, se, sig);
  if (zero80(se, sig)) {
    push(cpu, 0x3fff, INT);
    return finish(cpu, 0);
  }
  if (too_large(se)) return finish(cpu, C2);
  if (denormal80(se, sig)) {
    fl |= DE;
    if (unmasked & DE) return finish(cpu, 0);
  }
  tangent(p, se, sig);
  push(cpu, 0x3fff, INT);
  return finish(cpu, 0);
}

function tangent(dst: usize, se: u32, sig: u64): void {
  const q = reduce(se & 0x7fff, sig);
  const s = (se >> 15) ^ xs ^ (q & 1);
  if (q == 0 && xe < -66) {
    // x + x^3/3: just above x
    zs = s;
    ze = xe;
    zsig = xh;
    zext = 1;
    round80(dst);
    return;
  }
  sine();
  let nh = wh;
  let nl = wl;
  let ne = we;
  cosine();
  let dh = wh;
  let dl = wl;
  let de = we;
  if (q & 1) {
    const h = nh;
    const l = nl;
    const e = ne;
    nh = dh;
    nl = dl;
    ne = de;
    dh = h;
    dl = l;
    de = e;
  }
  wide_quotient(nh, nl, ne, dh, dl, de);
  wide_store(dst, s);
}
