/**
 * Arithmetic on unpacked numbers: sign, exponent, 64-bit significand with bit 63 set; the value is sig * 2^(e - 63).
 * Operands are finite and not zero. Results go to zs, ze, zsig, zext (percpu.ts), exact but for a sticky last bit, and are
 * then rounded by pack.ts or f80.ts.
 */
import { hi, lo, ze, zext, zs, zsig } from './percpu';
import { div_128_64, mul_hi, shl_128 } from './bits';

/** z = a + b. False: the sum is exactly zero (and zs.. are unset). */
export function add_core(sa: u32, ea: i32, a: u64, sb: u32, eb: i32, b: u64): bool {
  if (ea < eb || (ea == eb && a < b)) {
    const s = sa;
    sa = sb;
    sb = s;
    const e = ea;
    ea = eb;
    eb = e;
    const m = a;
    a = b;
    b = m;
  }
  // |a| >= |b|; shift b to a's exponent as bh:bl
  const d = ea - eb;
  let bh: u64 = b;
  let bl: u64 = 0;
  if (d > 0) {
    if (d < 64) {
      bl = b << (64 - d);
      bh = b >> d;
    } else {
      bh = 0;
      bl = d == 64 ? b : d < 128 ? (b >> (d - 64)) | u64((b << (128 - d)) != 0) : 1;
    }
  }
  zs = sa;
  if (sa == sb) {
    const sum = a + bh;
    if (sum < a) {
      zsig = (sum >> 1) | 0x8000000000000000;
      zext = (sum << 63) | (bl >> 1) | (bl & 1);
      ze = ea + 1;
    } else {
      zsig = sum;
      zext = bl;
      ze = ea;
    }
    return true;
  }
  const l: u64 = 0 - bl;
  const h = a - bh - u64(bl != 0);
  if (h >> 63 != 0) {
    zsig = h;
    zext = l;
    ze = ea;
    return true;
  }
  if ((h | l) == 0) return false;
  // More than one bit is lost only when d <= 1, and then bl is exact.
  const n: i32 = h != 0 ? i32(clz(h)) : 64 + i32(clz(l));
  hi = h;
  lo = l;
  shl_128(n);
  zsig = hi;
  zext = lo;
  ze = ea - n;
  return true;
}

/** z = a * b. */
export function mul_core(s: u32, ea: i32, a: u64, eb: i32, b: u64): void {
  const h = mul_hi(a, b);
  const l = a * b;
  zs = s;
  if (h >> 63 != 0) {
    zsig = h;
    zext = l;
    ze = ea + eb + 1;
  } else {
    zsig = (h << 1) | (l >> 63);
    zext = l << 1;
    ze = ea + eb;
  }
}

/** z = a / b. */
export function div_core(s: u32, ea: i32, a: u64, eb: i32, b: u64): void {
  zs = s;
  if (a >= b) {
    zsig = div_128_64(a >> 1, a << 63, b);
    ze = ea - eb;
  } else {
    zsig = div_128_64(a, 0, b);
    ze = ea - eb - 1;
  }
  const r = lo;
  // fraction r / b against one half
  if (r == 0) zext = 0;
  else {
    const c = b - r;
    zext = r > c ? 0xc000000000000000 : r == c ? 0x8000000000000000 : 0x4000000000000000;
  }
}

/** z = square root of a. */
export function sqrt_core(e: i32, a: u64): void {
  zs = 0;
  ze = e >> 1;
  // n = nh:nl is a * 2^63 (even exponent) or a * 2^64, so that the root has 64 bits
  const nh = e & 1 ? a : a >> 1;
  const nl = e & 1 ? 0 : a << 63;
  const est = sqrt<f64>(f64(nh)) * 4294967296.0;
  let r: u64 = est >= 18446744073709551615.0 ? u64.MAX_VALUE : u64(est);
  // One Newton step: the remainder n - r*r is below 2^78 in magnitude.
  let h = nh - mul_hi(r, r) - u64(nl < r * r);
  let l = nl - r * r;
  const rem = f64(i64(h)) * 18446744073709551616.0 + f64(l);
  const delta = i64(floor<f64>(rem / (2.0 * f64(r))));
  if (delta > 0 && r > u64.MAX_VALUE - u64(delta)) r = u64.MAX_VALUE;
  else r += delta;
  h = nh - mul_hi(r, r) - u64(nl < r * r);
  l = nl - r * r;
  while (i64(h) < 0) {
    // r is too large: (r-1)^2 = r^2 - 2(r-1) - 1
    r--;
    const t = (r << 1) | 1;
    l += t;
    h += (r >> 63) + u64(l < t);
  }
  while (h > 1 || (h == 1 && l > r << 1)) {
    // remainder above 2r: r is too small
    const t = (r << 1) | 1;
    h -= 1 + u64(l < t);
    l -= t;
    r++;
  }
  zsig = r;
  zext = (h | l) == 0 ? 0 : h != 0 || l > r ? 0xc000000000000000 : 0x4000000000000000;
}
