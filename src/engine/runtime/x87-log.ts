/** f2xm1, fyl2x, fyl2xp1 (SDM vol. 1 8.3.9; special cases: vol. 2). Precision control does not apply. */
import { fl, ose, osig, pc, unmasked, we, wh, wl, xe, xh, xl } from './softfloat/percpu';
import { DE, PE, UE, ZE } from './softfloat/flags';
import {
  denormal80, exp80, from_int, inf80, INT, invalid80, nan80, propagate80, round80, set80, sig80, unsupported80, zero80,
} from './softfloat/f80';
import { mul_core } from './softfloat/core';
import { alternating, summing, wide_fraction, wide_mul, wide_norm, wide_quotient, wide_store } from './softfloat/wide';
import { exp_series, odd_series } from './softfloat/series';
import { empty, fp_begin, fp_end, se_at, st, underflow } from './x87-stack';
import { finish_two, special_two } from './x87-two';

const LN2_H: u64 = 0xb17217f7d1cf79ab; // ln 2 as a fraction
const LN2_L: u64 = 0xc9e3b39803f2f6af;
const LOG2E_H: u64 = 0xb8aa3b295c17f0bb; // log2 e = this * 2^(0 - 127)
const LOG2E_L: u64 = 0xbe87fed0691d3e89;
const SQRT2: u64 = 0xb504f333f9de6484;

/** 2^ST(0) - 1 for -1 <= ST(0) <= 1; beyond, the result is undefined and ST(0) stays. PE even if it is exact. */
export function fp_2xm1(cpu: usize): u32 {
  fp_begin(cpu);
  pc = 3;
  if (empty(cpu, 0)) {
    underflow(cpu, 0);
    return fp_end(cpu);
  }
  const p = st(cpu, 0);
  const se = se_at(p);
  const sig = load<u64>(p);
  const s = se >> 15;
  if (unsupported80(se, sig)) invalid80(p);
  else if (nan80(se, sig)) propagate80(p, se, sig, se, sig);
  else if (inf80(se, sig)) {
    if (s) set80(p, 0xbfff, INT);
  } else if (!zero80(se, sig)) {
    if (denormal80(se, sig)) {
      fl |= DE;
      if (unmasked & DE) return fp_end(cpu);
    }
    const e = exp80(se, sig);
    if (e >= 0) {
      fl |= PE;
      // exactly 1 or -1; the rest is out of range
      if (s && e == 0 && sig == INT) set80(p, 0xbffe, INT);
      return fp_end(cpu);
    }
    // y = x ln 2 = w
    wide_mul(sig80(sig), 0, LN2_H, LN2_L);
    wide_norm(e);
    const yh = wh;
    const yl = wl;
    const ye = we;
    wide_fraction(ye);
    if (s) alternating(exp_series(), 27, wh, wl);
    else summing(exp_series(), 27, wh, wl);
    wide_mul(yh, yl, wh, wl);
    wide_norm(ye + 1);
    wide_store(p, s);
  }
  return fp_end(cpu);
}

/** w = 2 log2(e) atanh(w) for the wide number w, |w| < 0.18: the logarithm of (1 + w) / (1 - w) to base 2. */
function log2_ratio(): void {
  const h = wh;
  const l = wl;
  const e = we;
  wide_fraction(e);
  wide_mul(wh, wl, wh, wl);
  summing(odd_series(), 20, wh, wl);
  wide_mul(h, l, wh, wl);
  wide_norm(e + 1);
  wide_mul(wh, wl, LOG2E_H, LOG2E_L);
  wide_norm(we + 2);
}

/** |w| = log2(x), gives the sign; x = xh:xl * 2^(xe - 127) > 0, not a power of two. */
function log2(): u32 {
  // m in [sqrt(1/2), sqrt(2)), x = m 2^k; (m - 1) / (m + 1)
  const below = xh >= SQRT2; // m < 1
  const k = below ? xe + 1 : xe;
  const s: u32 = u32(below);
  let dh: u64;
  let dl: u64;
  if (below) {
    // m = xh:xl * 2^-128
    wl = 0 - xl;
    wh = 0 - xh - u64(xl != 0);
    wide_norm(-1);
    dh = INT | (xh >> 1);
    dl = (xl >> 1) | (xh << 63);
  } else {
    // m = xh:xl * 2^-127, m + 1 in [2, 2.42)
    wh = xh - INT;
    wl = xl;
    wide_norm(0);
    dh = INT + ((xh - INT) >> 1);
    dl = (xl >> 1) | (xh << 63);
  }
  wide_quotient(wh, wl, we, dh, dl, below ? 0 : 1);
  log2_ratio();
  if (k == 0) return s;
  // k + log2 m: the sign is that of k
  const ks = u32(k < 0);
  const ka = u64(k < 0 ? -k : k);
  const n = clz(ka);
  const ke = 63 - i32(n);
  // log2 m aligned to k's exponent
  const shift = ke - we;
  let h: u64 = 0;
  let l: u64 = 0;
  if (shift < 64) {
    h = shift == 0 ? wh : wh >> shift;
    l = shift == 0 ? wl : (wh << (64 - shift)) | (wl >> shift);
  } else if (shift < 128) l = shift == 64 ? wh : wh >> (shift - 64);
  const kh = ka << n;
  if (s == ks) {
    wl = l;
    wh = kh + h;
    if (wh < kh) {
      wl = (wl >> 1) | (wh << 63);
      wh = INT | (wh >> 1);
      we = ke + 1;
    } else we = ke;
  } else {
    wl = 0 - l;
    wh = kh - h - u64(l != 0);
    wide_norm(ke);
  }
  return ks;
}

/** dst = y * w, w with sign s. */
function times(dst: usize, s: u32, bse: u32, bsig: u64): void {
  const e = we;
  wide_mul(wh, wl, sig80(bsig), 0);
  wide_norm(e + exp80(bse, bsig) + 1);
  wide_store(dst, s ^ (bse >> 15));
}

/** dst = y * xe: the logarithm of a power of two. It is exact, but the real FPU calls it inexact all the same. */
function times_exponent(dst: usize, yse: u32, ysig: u64): void {
  from_int(i64(xe));
  mul_core((yse ^ ose) >> 15, exp80(ose, osig), osig, exp80(yse, ysig), sig80(ysig));
  round80(dst);
  fl |= se_at(dst) & 0x7fff ? PE : PE | UE;
}

/** ST(1) = ST(1) * log2(ST(0)), pop. */
export function fp_yl2x(cpu: usize): u32 {
  fp_begin(cpu);
  pc = 3;
  if (empty(cpu, 0) || empty(cpu, 1)) {
    underflow(cpu, 1);
    return finish_two(cpu);
  }
  const p = st(cpu, 0);
  const d = st(cpu, 1);
  yl2x(d, se_at(p), load<u64>(p), se_at(d), load<u64>(d));
  return finish_two(cpu);
}

function yl2x(d: usize, xse: u32, xsig: u64, yse: u32, ysig: u64): void {
  if (special_two(d, xse, xsig, yse, ysig)) return;
  const zero = zero80(xse, xsig);
  const ys = yse & 0x8000;
  if (xse >> 15 && !zero) {
    invalid80(d);
    return;
  }
  const one = xse == 0x3fff && xsig == INT;
  if (zero) {
    if (zero80(yse, ysig)) invalid80(d);
    else if (inf80(yse, ysig)) set80(d, yse ^ 0x8000, INT);
    else {
      fl |= ZE;
      if ((unmasked & ZE) == 0) set80(d, (ys ^ 0x8000) | 0x7fff, INT);
    }
    return;
  }
  if ((one && inf80(yse, ysig)) || (inf80(xse, xsig) && zero80(yse, ysig))) {
    invalid80(d);
    return;
  }
  if (denormal80(xse, xsig) || denormal80(yse, ysig)) {
    fl |= DE;
    if (unmasked & DE) return;
  }
  const below = xse < 0x3fff;
  if (inf80(xse, xsig)) {
    set80(d, ys | 0x7fff, INT);
    return;
  }
  if (inf80(yse, ysig)) {
    set80(d, (below ? ys ^ 0x8000 : ys) | 0x7fff, INT);
    return;
  }
  if (one || zero80(yse, ysig)) {
    set80(d, below ? ys ^ 0x8000 : ys, 0);
    return;
  }
  xe = exp80(xse, xsig);
  xh = sig80(xsig);
  xl = 0;
  if (xh == INT) {
    times_exponent(d, yse, ysig);
    return;
  }
  times(d, log2(), yse, ysig);
}

/** ST(1) = ST(1) * log2(ST(0) + 1), pop; defined for -(1 - sqrt(1/2)) <= ST(0) <= sqrt(2) - 1. */
export function fp_yl2xp1(cpu: usize): u32 {
  fp_begin(cpu);
  pc = 3;
  if (empty(cpu, 0) || empty(cpu, 1)) {
    underflow(cpu, 1);
    return finish_two(cpu);
  }
  const p = st(cpu, 0);
  const d = st(cpu, 1);
  yl2xp1(d, se_at(p), load<u64>(p), se_at(d), load<u64>(d));
  return finish_two(cpu);
}

function yl2xp1(d: usize, xse: u32, xsig: u64, yse: u32, ysig: u64): void {
  if (special_two(d, xse, xsig, yse, ysig)) return;
  const s = xse >> 15;
  const ys = yse >> 15;
  if (zero80(xse, xsig) ? inf80(yse, ysig) : inf80(xse, xsig) && (s || zero80(yse, ysig))) {
    invalid80(d);
    return;
  }
  if (denormal80(xse, xsig) || denormal80(yse, ysig)) {
    fl |= DE;
    if (unmasked & DE) return;
  }
  const sign = (s ^ ys) << 15;
  if (zero80(xse, xsig) || zero80(yse, ysig)) {
    set80(d, sign, 0);
    return;
  }
  if (inf80(xse, xsig) || inf80(yse, ysig)) {
    set80(d, sign | 0x7fff, INT);
    return;
  }
  const e = exp80(xse, xsig);
  const m = sig80(xsig);
  if (e < -2) {
    // |x| < 1/4: log2 of (1 + r) / (1 - r), r = x / (2 + x)
    let h: u64 = INT;
    let l: u64 = 0;
    let de = 1;
    const n = 1 - e; // 4 and more
    let ah: u64 = 0;
    let al: u64 = 0;
    if (n < 64) {
      ah = m >> n;
      al = m << (64 - n);
    } else if (n < 128) al = n == 64 ? m : m >> (n - 64);
    if (s) {
      l = 0 - al;
      h = INT - ah - u64(al != 0);
      if (h >> 63 == 0) {
        h = (h << 1) | (l >> 63);
        l <<= 1;
        de = 0;
      }
    } else {
      h = INT + ah;
      l = al;
    }
    wide_quotient(m, 0, e, h, l, de);
    log2_ratio();
    times(d, s, yse, ysig);
    return;
  }
  // 1 + x exactly (below 2^63 it fits in 128 bits); Of -1 and less nothing is defined.
  if (s && e >= 0) {
    fl |= PE;
    set80(d, xse, xsig);
    return;
  }
  if (e >= 64) {
    xe = e;
    xh = m;
    xl = 0;
  } else if (s) {
    const n = -e; // 1 or 2
    wh = INT - (m >> n);
    wl = 0 - (m << (64 - n));
    wh -= u64(wl != 0);
    wide_norm(0);
    xh = wh;
    xl = wl;
    xe = we;
  } else {
    let h: u64;
    let l: u64;
    if (e < 0) {
      h = INT + (m >> -e);
      l = m << (64 + e);
      xe = 0;
    } else {
      h = m;
      l = 0;
      xe = e;
      const t: u64 = e <= 63 ? INT >> e : 0;
      h += t;
    }
    if (h < INT) {
      l = (l >> 1) | (h << 63);
      h = (h >> 1) | INT;
      xe++;
    }
    xh = h;
    xl = l;
  }
  if (xh == INT && xl == 0) {
    times_exponent(d, yse, ysig);
    return;
  }
  times(d, log2(), yse, ysig);
}
