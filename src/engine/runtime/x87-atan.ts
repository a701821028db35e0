/** fpatan (SDM vol. 1 8.3.7; special cases: vol. 2). Precision control does not apply. */
import { fl, pc, unmasked, we, wh, wl } from './softfloat/percpu';
import { DE } from './softfloat/flags';
import { denormal80, exp80, inf80, INT, set80, sig80, zero80 } from './softfloat/f80';
import { alternating, wide_fraction, wide_mul, wide_norm, wide_quotient, wide_store } from './softfloat/wide';
import { arcs, odd_series } from './softfloat/series';
import { empty, fp_begin, se_at, st, underflow } from './x87-stack';
import { finish_two, special_two } from './x87-two';

const PI_H: u64 = 0xc90fdaa22168c234; // pi = this * 2^(1 - 127)
const PI_L: u64 = 0xc4c6628b80dc1cd1;

/** ST(1) = arc tangent of ST(1) / ST(0) in the quadrant of the point (ST(0), ST(1)), pop. */
export function fp_patan(cpu: usize): u32 {
  fp_begin(cpu);
  pc = 3;
  if (empty(cpu, 0) || empty(cpu, 1)) {
    underflow(cpu, 1);
    return finish_two(cpu);
  }
  const p = st(cpu, 0);
  const d = st(cpu, 1);
  patan(d, se_at(p), load<u64>(p), se_at(d), load<u64>(d));
  return finish_two(cpu);
}

/** dst = n/4 pi. */
function quarters(dst: usize, s: u32, n: u32): void {
  if (n == 3) {
    wh = 0x96cbe3f9990e91a7;
    wl = 0x9394c9e8a0a5159d;
    we = 1;
  } else {
    wh = PI_H;
    wl = PI_L;
    we = n == 4 ? 1 : n == 2 ? 0 : -1;
  }
  wide_store(dst, s);
}

function patan(d: usize, xse: u32, xsig: u64, yse: u32, ysig: u64): void {
  if (special_two(d, xse, xsig, yse, ysig)) return;
  if (denormal80(xse, xsig) || denormal80(yse, ysig)) {
    fl |= DE;
    if (unmasked & DE) return;
  }
  const s = yse >> 15;
  const left = xse >> 15 != 0;
  if (inf80(yse, ysig)) {
    quarters(d, s, inf80(xse, xsig) ? (left ? 3 : 1) : 2);
    return;
  }
  if (zero80(yse, ysig) || inf80(xse, xsig)) {
    if (left) quarters(d, s, 4);
    else set80(d, s << 15, 0);
    return;
  }
  if (zero80(xse, xsig)) {
    quarters(d, s, 2);
    return;
  }
  let ne = exp80(yse, ysig);
  let n = sig80(ysig);
  let de = exp80(xse, xsig);
  let m = sig80(xsig);
  const swap = ne > de || (ne == de && n > m);
  if (swap) {
    const e = ne;
    ne = de;
    de = e;
    const t = n;
    n = m;
    m = t;
  }
  // t = n / m <= 1, to 128 bits; an exact quotient is told apart by its directed rounding only.
  if (ne == de && n == m) {
    wh = arc(16, 0);
    wl = arc(16, 8);
    we = -1;
  } else {
    wide_quotient(n, 0, ne, m, 0, de);
    arctangent();
  }
  // the angle is w, or pi/2 - w; mirrored, pi - that
  if (swap) from_angle(0, left);
  else if (left) from_angle(1, false);
  wide_store(d, s);
}

// @ts-ignore: decorator
@inline
function arc(k: u32, half: usize): u64 {
  return load<u64>(arcs() + (k << 4) + half);
}

/** w = arc tangent of the wide number w, 0 < w < 1. */
function arctangent(): void {
  const th = wh;
  const tl = wl;
  const te = we;
  if (te < -5) {
    small_arctangent();
    return;
  }
  // nearest k/16; atan t = atan(k/16) + atan((t - k/16) / (1 + t k/16))
  wide_fraction(te);
  const fh = wh;
  const flow = wl;
  const k = u32(((fh >> 59) + 1) >> 1);
  if (k == 0) {
    wh = th;
    wl = tl;
    we = te;
    small_arctangent();
    return;
  }
  // |t - k/16| as a fraction; its sign
  const ch: u64 = u64(k & 15) << 60; // 1 reads as 0
  const ds = k == 16 || fh < ch;
  const nh = ds ? ch - fh - u64(flow != 0) : fh - ch;
  const nl = ds ? 0 - flow : flow;
  const base_h = arc(k, 0);
  const base_l = arc(k, 8);
  if ((nh | nl) == 0) {
    wh = base_h;
    wl = base_l;
    wide_norm(-1);
    return;
  }
  // (1 + t k/16) / 2
  let dh: u64;
  let dl: u64;
  if (k == 16) {
    dh = INT | (fh >> 1);
    dl = (flow >> 1) | (fh << 63);
  } else {
    wide_mul(fh, flow, ch, 0);
    dh = INT | (wh >> 1);
    dl = (wl >> 1) | (wh << 63);
  }
  wh = nh;
  wl = nl;
  wide_norm(-1);
  wide_quotient(wh, wl, we, dh, dl, 0);
  small_arctangent();
  wide_fraction(we);
  if (ds) {
    const l = base_l - wl;
    wh = base_h - wh - u64(base_l < wl);
    wl = l;
  } else {
    const l = base_l + wl;
    wh = base_h + wh + u64(l < wl);
    wl = l;
  }
  wide_norm(-1);
}

/** w = arc tangent of the wide number w, 0 < w <= 1/32. */
function small_arctangent(): void {
  const h = wh;
  const l = wl;
  const e = we;
  wide_fraction(e);
  wide_mul(wh, wl, wh, wl);
  alternating(odd_series(), 13, wh, wl);
  wide_mul(h, l, wh, wl);
  wide_norm(e + 1);
}

/** w = pi/2 - w or pi/2 + w (`add`); half_turn: pi - w. */
function from_angle(half_turn: u32, add: bool): void {
  // in units of 2^(1 - 127)
  const n = 1 - we;
  let h: u64 = 0;
  let l: u64 = 0;
  if (n < 64) {
    h = wh >> n;
    l = (wh << (64 - n)) | (wl >> n);
  } else if (n < 128) l = n == 64 ? wh : wh >> (n - 64);
  const bh = half_turn ? PI_H : PI_H >> 1;
  const bl = half_turn ? PI_L : (PI_L >> 1) | (PI_H << 63);
  if (add) {
    wl = bl + l;
    wh = bh + h + u64(wl < l);
  } else {
    wl = bl - l;
    wh = bh - h - u64(bl < l);
  }
  wide_norm(1);
}
