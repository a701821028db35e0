/**
 * 128-bit arithmetic for the transcendental functions. Fractions are h:l * 2^-128; wide numbers have an exponent too
 * (percpu.ts). Results are truncated, with errors of a few units of the last of 128 bits.
 */
import { lo, we, wh, wl, ze, zext, zs, zsig } from './percpu';
import { div_128_64, mul_hi } from './bits';
import { round80 } from './f80';

/** w = a * b as fractions. */
export function wide_mul(ah: u64, al: u64, bh: u64, bl: u64): void {
  const low = ah * bh;
  let h = mul_hi(ah, bh);
  const m1 = mul_hi(ah, bl);
  const m2 = mul_hi(al, bh);
  let l = low + m1;
  h += u64(l < m1);
  l += m2;
  h += u64(l < m2);
  wh = h;
  wl = l;
}

/** w = n / d as fractions; n < d, bit 63 of dh set. Two digits of 64 bits (Knuth's algorithm D). */
export function wide_div(nh: u64, nl: u64, dh: u64, dl: u64): void {
  let q: u64 = 0;
  for (let i = 0; i < 2; i++) {
    // digit of n:0 / d; the remainder becomes n
    let digit: u64;
    let r: u64;
    let fits = true;
    if (nh >= dh) {
      digit = u64.MAX_VALUE;
      r = nl + dh;
      fits = r >= dh; // a remainder beyond 64 bits needs no correction
    } else {
      digit = div_128_64(nh, nl, dh);
      r = lo;
    }
    // digit * dl against r:0
    let ph = mul_hi(digit, dl);
    let pl = digit * dl;
    while (fits && (ph > r || (ph == r && pl != 0))) {
      digit--;
      ph -= u64(pl < dl);
      pl -= dl;
      r += dh;
      fits = r >= dh;
    }
    nl = 0 - pl;
    nh = r - ph - u64(pl != 0);
    if (i == 0) q = digit;
    else wl = digit;
  }
  wh = q;
}

/** Shift w until bit 63 of wh is set, with `e` the exponent it has now. w is not zero. */
export function wide_norm(e: i32): void {
  if (wh == 0) {
    wh = wl;
    wl = 0;
    e -= 64;
  }
  const n = i32(clz(wh));
  if (n != 0) {
    wh = (wh << n) | (wl >> (64 - n));
    wl <<= n;
  }
  we = e - n;
}

/** w as a fraction, from a wide number below 1 with exponent e. */
export function wide_fraction(e: i32): void {
  const n = -(e + 1);
  if (n == 0) return;
  if (n >= 128) {
    wh = 0;
    wl = 0;
  } else if (n >= 64) {
    wl = n == 64 ? wh : wh >> (n - 64);
    wh = 0;
  } else {
    wl = (wh << (64 - n)) | (wl >> n);
    wh >>= n;
  }
}

/** w = n / d for wide numbers. */
export function wide_quotient(nh: u64, nl: u64, ne: i32, dh: u64, dl: u64, de: i32): void {
  let e = ne - de - 1;
  if (nh > dh || (nh == dh && nl >= dl)) {
    nl = (nl >> 1) | (nh << 63);
    nh >>= 1;
    e++;
  }
  wide_div(nh, nl, dh, dl);
  wide_norm(e);
}

/** w = c[0] - z * (c[1] - z * (c[2] - …)) less a little: n pairs (high, low) at `table`, decreasing. */
export function alternating(table: usize, n: i32, zh: u64, zl: u64): void {
  let p = table + ((n - 1) << 4);
  let h = load<u64>(p);
  let l = load<u64>(p, 8);
  while (p > table) {
    p -= 16;
    wide_mul(h, l, zh, zl);
    const cl = load<u64>(p, 8);
    l = cl - wl;
    h = load<u64>(p) - wh - u64(cl < wl);
  }
  wl = l - 1;
  wh = h - u64(l == 0);
}

/** w = c[0] + z * (c[1] + z * …). */
export function summing(table: usize, n: i32, zh: u64, zl: u64): void {
  let p = table + ((n - 1) << 4);
  let h = load<u64>(p);
  let l = load<u64>(p, 8);
  while (p > table) {
    p -= 16;
    wide_mul(h, l, zh, zl);
    l = load<u64>(p, 8) + wl;
    h = load<u64>(p) + wh + u64(l < wl);
  }
  wl = l;
  wh = h;
}

/** Round w, which is never exact, to the register at dst. */
export function wide_store(dst: usize, s: u32): void {
  zs = s;
  ze = we;
  zsig = wh;
  zext = wl | 1;
  round80(dst);
}
