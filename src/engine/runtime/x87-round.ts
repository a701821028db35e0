/** frndint, fscale, fxtract, fprem, fprem1, fbld, fbstp (SDM vol. 2). */
import { CpuState } from '../../../build/abi/engine';
import { fl, lo, ose, osig, pc, rup, top, unmasked, ze, zext, zs, zsig } from './softfloat/percpu';
import { DE, IE, PE, SF, ZE } from './softfloat/flags';
import {
  denormal80, exp80, from_int, inf80, INT, invalid80, nan80, NAN_SE, NAN_SIG, propagate80, QUIET, round80, set80, sig80, unsupported80, zero80,
} from './softfloat/f80';
import { div_128_64 } from './softfloat/bits';
import {
  C0, C2, C3, empty, fill, fp_begin, fp_end, fp_end_cc, pop, push, room, se_at, set_top, st, underflow,
} from './x87-stack';
import { to_integer } from './x87-move';

export function fp_rndint(cpu: usize): u32 {
  fp_begin(cpu);
  if (empty(cpu, 0)) {
    underflow(cpu, 0);
    return fp_end(cpu);
  }
  const p = st(cpu, 0);
  const se = se_at(p);
  const sig = load<u64>(p);
  if (unsupported80(se, sig)) invalid80(p);
  else if (nan80(se, sig)) propagate80(p, se, sig, se, sig);
  else if (!zero80(se, sig) && (se & 0x7fff) < 16383 + 63) {
    if (denormal80(se, sig)) {
      fl |= DE;
      if (unmasked & DE) return fp_end(cpu);
    }
    to_integer(se, sig);
    if (osig == 0) set80(p, se & 0x8000, 0);
    else {
      const n = clz(osig);
      set80(p, (se & 0x8000) | u32(16446 - n), osig << n);
    }
  }
  return fp_end(cpu);
}

/** ST(0) = ST(0) * 2^trunc(ST(1)). */
export function fp_scale(cpu: usize): u32 {
  fp_begin(cpu);
  if (empty(cpu, 0) || empty(cpu, 1)) {
    underflow(cpu, 0);
    return fp_end(cpu);
  }
  const p = st(cpu, 0);
  const q = st(cpu, 1);
  const ase = se_at(p);
  const asig = load<u64>(p);
  const bse = se_at(q);
  const bsig = load<u64>(q);
  const down = (bse & 0x8000) != 0;
  if (unsupported80(ase, asig) || unsupported80(bse, bsig)) invalid80(p);
  else if (nan80(ase, asig) || nan80(bse, bsig)) propagate80(p, ase, asig, bse, bsig);
  else if (inf80(bse, bsig)) {
    if (down ? inf80(ase, asig) : zero80(ase, asig)) invalid80(p);
    else {
      if (denormal80(ase, asig)) fl |= DE;
      if ((fl & unmasked) == 0) {
        if (down) set80(p, ase & 0x8000, 0);
        else set80(p, (ase & 0x8000) | 0x7fff, INT);
      }
    }
  } else {
    if (denormal80(ase, asig) || denormal80(bse, bsig)) fl |= DE;
    if (fl & unmasked || inf80(ase, asig) || zero80(ase, asig)) return fp_end(cpu);
    // 2^16 steps lead out of the range from anywhere, wrapped exponents included
    const e = i32(bse & 0x7fff) - 16383;
    let n: i32 = e < 0 ? 0 : e > 16 ? 0x1ffff : i32(bsig >> (63 - e));
    zs = ase >> 15;
    ze = exp80(ase, asig) + (down ? -n : n);
    zsig = sig80(asig);
    zext = 0;
    // The precision control does not apply.
    pc = 3;
    round80(p);
  }
  return fp_end(cpu);
}

/** ST(0) = exponent, then push the significand. */
export function fp_extract(cpu: usize): u32 {
  fp_begin(cpu);
  if (empty(cpu, 0) || !empty(cpu, 7)) {
    fl |= IE | SF;
    rup = u32(!empty(cpu, 0));
    if ((unmasked & IE) == 0) {
      fill(cpu, 0);
      set_top(cpu, top - 1);
      fill(cpu, 0);
    }
    return fp_end(cpu);
  }
  const p = st(cpu, 0);
  const se = se_at(p);
  const sig = load<u64>(p);
  if (unsupported80(se, sig)) {
    invalid80(p);
    if ((fl & unmasked) == 0) push(cpu, NAN_SE, NAN_SIG);
  } else if (nan80(se, sig)) {
    propagate80(p, se, sig, se, sig);
    if ((fl & unmasked) == 0) push(cpu, se, sig | QUIET);
  } else if (inf80(se, sig)) {
    set80(p, 0x7fff, INT);
    push(cpu, se, sig);
  } else if (zero80(se, sig)) {
    fl |= ZE;
    if ((unmasked & ZE) == 0) {
      set80(p, 0xffff, INT);
      push(cpu, se, sig);
    }
  } else {
    if (denormal80(se, sig)) {
      fl |= DE;
      if (unmasked & DE) return fp_end(cpu);
    }
    from_int(i64(exp80(se, sig)));
    set80(p, ose, osig);
    push(cpu, (se & 0x8000) | 0x3fff, sig80(sig));
  }
  return fp_end(cpu);
}

/** fprem, and fprem1 (`nearest`): ST(0) = remainder of ST(0) / ST(1), or a partial one with C2 = 1. */
export function fp_prem(cpu: usize, nearest: u32): u32 {
  fp_begin(cpu);
  if (empty(cpu, 0) || empty(cpu, 1)) {
    underflow(cpu, 0);
    return undivided(cpu);
  }
  const p = st(cpu, 0);
  const q = st(cpu, 1);
  const ase = se_at(p);
  const asig = load<u64>(p);
  const bse = se_at(q);
  const bsig = load<u64>(q);
  if (unsupported80(ase, asig) || unsupported80(bse, bsig)) {
    invalid80(p);
    return undivided(cpu);
  }
  if (nan80(ase, asig) || nan80(bse, bsig)) {
    propagate80(p, ase, asig, bse, bsig);
    return undivided(cpu);
  }
  if (inf80(ase, asig) || zero80(bse, bsig)) {
    invalid80(p);
    return undivided(cpu);
  }
  if (denormal80(ase, asig) || denormal80(bse, bsig)) fl |= DE;
  if (fl & unmasked) return undivided(cpu);
  if (zero80(ase, asig)) return fp_end_cc(cpu, 0);
  if (inf80(bse, bsig)) {
    if (denormal80(ase, asig)) remainder_done(p, ase >> 15, exp80(ase, asig), sig80(asig));
    return fp_end_cc(cpu, 0);
  }
  return fp_end_cc(cpu, remainder(p, ase >> 15, exp80(ase, asig), sig80(asig), exp80(bse, bsig), sig80(bsig), nearest != 0));
}

/** Store the remainder r * 2^(e - 63), which is exact (so only an unmasked underflow can be raised). */
function remainder_done(p: usize, s: u32, e: i32, r: u64): void {
  if (r == 0) {
    set80(p, s << 15, 0);
    return;
  }
  const n = i32(clz(r));
  zs = s;
  ze = e - n;
  zsig = r << n;
  zext = 0;
  pc = 3;
  round80(p);
}

/** No remainder: C1 and C2 become 0, C0 and C3 stay. */
function undivided(cpu: usize): u32 {
  return fp_end_cc(cpu, load<u16>(cpu, CpuState.fsw) & (C0 | C3));
}

function remainder(p: usize, s: u32, ea: i32, a: u64, eb: i32, b: u64, nearest: bool): u32 {
  let d = ea - eb;
  if (d < -1 || (d < 0 && !nearest)) {
    remainder_done(p, s, ea, a);
    return 0;
  }
  if (d >= 64) {
    // Partial: take off a multiple of b * 2^(d - n), n between 32 and 63.
    const n = (d & 31) | 32;
    let r = a >= b ? a - b : a;
    r = shift_mod(r, n, b);
    remainder_done(p, s, ea - n, r);
    return C2;
  }
  let quotient: u64 = 0;
  let r = a;
  if (d < 0) {
    // In units of a, b is 2b: the quotient is 0, or 1 if a lies above one half of it.
    if (a <= b) {
      remainder_done(p, s, ea, a);
      return 0;
    }
    remainder_done(p, s ^ 1, ea, b - a + b);
    return quotient_codes(1);
  }
  if (r >= b) {
    r -= b;
    quotient = 1;
  }
  if (d > 0) {
    const low = div_shift(r, d, b);
    quotient = (quotient << d) | low;
    r = lo;
  }
  if (nearest && r != 0) {
    const other = b - r;
    if (r > other || (r == other && (quotient & 1) != 0)) {
      r = other;
      s ^= 1;
      quotient++;
    }
  }
  remainder_done(p, s, eb, r);
  return quotient_codes(u32(quotient));
}

/** r * 2^n mod b, r < b, n < 64. */
function shift_mod(r: u64, n: i32, b: u64): u64 {
  div_shift(r, n, b);
  return lo;
}

/** Quotient of r * 2^n / b; the remainder goes to `lo`. */
function div_shift(r: u64, n: i32, b: u64): u64 {
  return div_128_64(r >> (64 - n), r << n, b);
}

/** The low three bits of the quotient go to C0 (Q2), C3 (Q1), C1 (Q0). */
function quotient_codes(q: u32): u32 {
  rup = q & 1;
  return (q & 4 ? C0 : 0) | (q & 2 ? C3 : 0);
}

/** fbld: 18 decimal digits in `digits` and the low byte of `high`, sign in its bit 15. */
export function fp_push_bcd(cpu: usize, digits: u64, high: u32): u32 {
  fp_begin(cpu);
  if (!room(cpu)) return fp_end(cpu);
  let v: u64 = 0;
  for (let i: i32 = 4; i >= 0; i -= 4) v = v * 10 + u64((high >> i) & 15);
  for (let i: i32 = 60; i >= 0; i -= 4) v = v * 10 + ((digits >> i) & 15);
  from_int(i64(v));
  push(cpu, ose | (high & 0x8000), osig);
  return fp_end(cpu);
}

/** fbstp: ret0 = 16 digits, ret1 = 2 digits and the sign. Result as of the stores in x87-move.ts. */
export function fp_get_bcd(cpu: usize): u32 {
  fp_begin(cpu);
  let ok = false;
  let se: u32 = 0;
  if (empty(cpu, 0)) fl |= SF;
  else {
    const p = st(cpu, 0);
    se = se_at(p);
    ok = to_integer(se, load<u64>(p)) && osig <= 999999999999999999;
  }
  if (ok) {
    let v = osig;
    let d: u64 = 0;
    for (let i = 0; i < 64; i += 4) {
      d |= (v % 10) << i;
      v /= 10;
    }
    store<u64>(cpu, d, CpuState.ret0);
    store<u64>(cpu, u64(se & 0x8000) | ((v / 10) << 4) | (v % 10), CpuState.ret1);
  } else {
    fl = (fl & ~PE) | IE;
    rup = 0;
    if (unmasked & IE) return fp_end(cpu) << 1;
    store<u64>(cpu, 0xc000000000000000, CpuState.ret0);
    store<u64>(cpu, 0xffff, CpuState.ret1);
  }
  pop(cpu);
  return 1 | (fp_end(cpu) << 1);
}
