/** Wide integer arithmetic: what wasm lacks between 64 and 128 bits. */
import { hi, lo } from './percpu';

/** Upper half of a * b. */
// @ts-ignore: decorator
@inline
export function mul_hi(a: u64, b: u64): u64 {
  const a0 = a & 0xffffffff;
  const a1 = a >> 32;
  const b0 = b & 0xffffffff;
  const b1 = b >> 32;
  const m = a1 * b0 + ((a0 * b0) >> 32);
  const n = a0 * b1 + (m & 0xffffffff);
  return a1 * b1 + (m >> 32) + (n >> 32);
}

/** v >> n for any n >= 0, a lost 1 bit kept as the lowest bit. */
// @ts-ignore: decorator
@inline
export function shr_jam(v: u64, n: i32): u64 {
  if (n == 0) return v;
  if (n >= 64) return u64(v != 0);
  return (v >> n) | u64((v << (64 - n)) != 0);
}

/** A digit of 32 bits of (u1:u) / v, u of 32 bits: as v's upper half has it, at most two too large, put right. */
// @ts-ignore: decorator
@inline
export function div_digit(u1: u64, u: u64, v: u64): u64 {
  const v1 = v >> 32;
  const v0 = v & 0xffffffff;
  let q = u1 / v1;
  let r = u1 - q * v1;
  if (q >> 32 != 0 || q * v0 > ((r << 32) | u)) {
    q--;
    r += v1;
    if (r >> 32 == 0 && (q >> 32 != 0 || q * v0 > ((r << 32) | u))) q--;
  }
  return q;
}

/** (u1:u0) / v with u1 < v and bit 63 of v set: the quotient; the remainder goes to `lo`. */
export function div_128_64(u1: u64, u0: u64, v: u64): u64 {
  const q1 = div_digit(u1, u0 >> 32, v);
  const m = ((u1 << 32) | (u0 >> 32)) - q1 * v;
  const q0 = div_digit(m, u0 & 0xffffffff, v);
  lo = ((m << 32) | (u0 & 0xffffffff)) - q0 * v;
  return (q1 << 32) | q0;
}

/** hi:lo <<= n, 0 <= n < 128. */
export function shl_128(n: i32): void {
  if (n >= 64) {
    hi = lo << (n - 64);
    lo = 0;
  } else if (n > 0) {
    hi = (hi << n) | (lo >> (64 - n));
    lo <<= n;
  }
}

/** hi:lo >>= n for any n >= 0, lost bits sticky in the lowest one. */
export function shr_jam_128(n: i32): void {
  if (n == 0) return;
  if (n < 64) {
    const lost = lo << (64 - n);
    lo = (hi << (64 - n)) | (lo >> n) | u64(lost != 0);
    hi >>= n;
  } else if (n < 128) {
    const lost = (n == 64 ? 0 : hi << (128 - n)) | lo;
    lo = (hi >> (n - 64)) | u64(lost != 0);
    hi = 0;
  } else {
    lo = u64((hi | lo) != 0);
    hi = 0;
  }
}
