/**
 * The 80-bit double extended format (SDM vol. 1 4.2.2, 8.2): `se` is sign (bit 15) and exponent, `sig` the significand
 * with its explicit integer bit. In memory, and in CpuState.st, `sig` is at +0 and `se` at +8.
 */
import { fl, hi, lo, oden, ose, osig, pc, rc, rup, unmasked, ze, zext, zs, zsig } from './percpu';
import { DE, IE, OE, PE, RC_DOWN, RC_NEAR, RC_ZERO, UE, ZE } from './flags';
import { add_core, div_core, mul_core, sqrt_core } from './core';
import { shr_jam_128 } from './bits';

export const INT: u64 = 0x8000000000000000;
export const QUIET: u64 = 0x4000000000000000;
export const NAN_SIG: u64 = 0xc000000000000000;
export const NAN_SE: u32 = 0xffff;
const HALF: u64 = 0x8000000000000000;
/** What unmasked overflow and underflow subtract from and add to the exponent (SDM vol. 1 8.5.4, 8.5.5). */
const WRAP: i32 = 24576;

// @ts-ignore: decorator
@inline
export function set80(p: usize, se: u32, sig: u64): void {
  store<u64>(p, sig);
  store<u16>(p, u16(se), 8);
}

/** Finite, normalised, not denormal, not zero. */
// @ts-ignore: decorator
@inline
export function normal80(se: u32, sig: u64): bool {
  return (se & 0x7fff) - 1 < 0x7ffe && i64(sig) < 0;
}

/** Exponent not zero, integer bit clear: unnormal, pseudo-NaN, pseudo-infinity. All are invalid operands. */
// @ts-ignore: decorator
@inline
export function unsupported80(se: u32, sig: u64): bool {
  return (se & 0x7fff) != 0 && i64(sig) >= 0;
}

// @ts-ignore: decorator
@inline
export function nan80(se: u32, sig: u64): bool {
  return (se & 0x7fff) == 0x7fff && sig << 1 != 0;
}

// @ts-ignore: decorator
@inline
export function snan80(se: u32, sig: u64): bool {
  return (se & 0x7fff) == 0x7fff && sig << 1 != 0 && (sig & QUIET) == 0;
}

// @ts-ignore: decorator
@inline
export function inf80(se: u32, sig: u64): bool {
  return (se & 0x7fff) == 0x7fff && sig == INT;
}

// @ts-ignore: decorator
@inline
export function zero80(se: u32, sig: u64): bool {
  return (se & 0x7fff) == 0 && sig == 0;
}

/** Denormal or pseudo-denormal. */
// @ts-ignore: decorator
@inline
export function denormal80(se: u32, sig: u64): bool {
  return (se & 0x7fff) == 0 && sig != 0;
}

/** Unbiased exponent of a finite number that is not zero, for its significand shifted until bit 63 is set. */
// @ts-ignore: decorator
@inline
export function exp80(se: u32, sig: u64): i32 {
  const e = i32(se & 0x7fff);
  return e != 0 ? e - 16383 : -16382 - i32(clz(sig));
}

// @ts-ignore: decorator
@inline
export function sig80(sig: u64): u64 {
  return sig << clz(sig);
}

/** Round z to the precision `pc` and store it at dst (SDM vol. 1 8.1.5.2). Sets OE UE PE and `rup`. */
export function round80(dst: usize): void {
  const e = ze + 16383;
  if (pc & 1 && e > 0 && e < 0x7ffe) {
    let se = u32(e) | (zs << 15);
    let sig = zsig;
    if (zext != 0) {
      fl |= PE;
      if (rc == RC_NEAR ? zext > HALF || (zext == HALF && (sig & 1) != 0) : rc != RC_ZERO && (rc == RC_DOWN) == (zs != 0)) {
        rup = 1;
        sig++;
        if (sig == 0) {
          sig = INT;
          se++;
        }
      }
    }
    set80(dst, se, sig);
    return;
  }
  round80_slow(dst, e);
}

// @ts-ignore: decorator
@inline
function goes_up(odd: bool, rest: u64): bool {
  if (rest == 0) return false;
  if (rc == RC_NEAR) return rest > HALF || (rest == HALF && odd);
  return rc != RC_ZERO && (rc == RC_DOWN) == (zs != 0);
}

function round80_slow(dst: usize, e: i32): void {
  const p: i32 = pc & 1 ? 64 : pc == 0 ? 24 : 53;
  const ulp: u64 = u64(1) << (64 - p);
  const sign = zs << 15;
  let sig = zsig & ~(ulp - 1);
  let rest = p == 64 ? zext : (zsig << p) | u64(zext != 0);
  let up = goes_up((sig & ulp) != 0, rest);
  if (e <= 0 && (e < 0 || !up || sig + ulp != 0)) {
    // Tiny: rounding with an unbounded exponent does not reach the least normal number.
    if (unmasked & UE) {
      fl |= UE;
      e += WRAP;
      if (e <= 0) {
        // Only fscale gets so far below.
        fl |= PE;
        set80(dst, sign, 0);
        return;
      }
    } else {
      hi = zsig;
      lo = zext;
      shr_jam_128(1 - e);
      sig = hi & ~(ulp - 1);
      rest = p == 64 ? lo : (hi << p) | u64(lo != 0);
      if (goes_up((sig & ulp) != 0, rest)) {
        sig += ulp;
        rup = 1;
      }
      if (rest != 0) fl |= UE | PE;
      set80(dst, sign | u32(sig >> 63), sig);
      return;
    }
  }
  if (up) {
    sig += ulp;
    if (sig == 0) {
      sig = INT;
      e++;
    }
  }
  if (e >= 0x7fff) {
    if (unmasked & OE) {
      fl |= OE;
      e -= WRAP;
      if (e >= 0x7fff) {
        // fscale again
        fl |= PE;
        rup = 1;
        set80(dst, sign | 0x7fff, INT);
        return;
      }
    } else {
      fl |= OE | PE;
      const inf = rc == RC_NEAR || (rc != RC_ZERO && (rc == RC_DOWN) == (zs != 0));
      rup = u32(inf);
      if (inf) set80(dst, sign | 0x7fff, INT);
      else set80(dst, sign | 0x7ffe, 0 - ulp);
      return;
    }
  }
  if (rest != 0) fl |= PE;
  rup = u32(up);
  set80(dst, sign | u32(e), sig);
}

/** The result of an operation with a NaN operand (SDM vol. 1 table 4-7, x87 rows). */
export function propagate80(dst: usize, ase: u32, asig: u64, bse: u32, bsig: u64): void {
  const an = nan80(ase, asig);
  const bn = nan80(bse, bsig);
  const as = snan80(ase, asig);
  const bs = snan80(bse, bsig);
  let first = an;
  if (as || bs) fl |= IE;
  if (an && bn) {
    if (as != bs) first = bs; // the quiet one
    else {
      const x = asig | QUIET;
      const y = bsig | QUIET;
      // the larger significand; of equal ones the positive
      first = x != y ? x > y : (ase & 0x8000) <= (bse & 0x8000);
    }
  }
  if (fl & unmasked & IE) return;
  if (first) set80(dst, ase, asig | QUIET);
  else set80(dst, bse, bsig | QUIET);
}

/** Invalid operation: the default NaN unless unmasked. */
export function invalid80(dst: usize): void {
  fl |= IE;
  if ((unmasked & IE) == 0) set80(dst, NAN_SE, NAN_SIG);
}

export const ADD: u32 = 0;
export const MUL: u32 = 1;
export const SUB: u32 = 4;
export const SUBR: u32 = 5;
export const DIV: u32 = 6;
export const DIVR: u32 = 7;

/** dst = a op b (SUBR, DIVR: b op a). The operand b is ose, osig, oden. An unmasked IE, ZE or DE leaves dst alone. */
export function arith80(op: u32, dst: usize, ase: u32, asig: u64): void {
  if (normal80(ase, asig) && normal80(ose, osig) && oden == 0) {
    finite(op, dst, ase, asig, i32(ase & 0x7fff) - 16383, i32(ose & 0x7fff) - 16383);
    return;
  }
  special(op, dst, ase, asig);
}

/** Both operands finite and not zero, significands normalised. */
// @ts-ignore: decorator
@inline
function finite(op: u32, dst: usize, ase: u32, asig: u64, ea: i32, eb: i32): void {
  const sa = ase >> 15;
  const sb = ose >> 15;
  switch (op) {
    case ADD:
      if (!add_core(sa, ea, asig, sb, eb, osig)) {
        set80(dst, u32(rc == RC_DOWN) << 15, 0);
        return;
      }
      break;
    case SUB:
      if (!add_core(sa, ea, asig, sb ^ 1, eb, osig)) {
        set80(dst, u32(rc == RC_DOWN) << 15, 0);
        return;
      }
      break;
    case SUBR:
      if (!add_core(sa ^ 1, ea, asig, sb, eb, osig)) {
        set80(dst, u32(rc == RC_DOWN) << 15, 0);
        return;
      }
      break;
    case MUL:
      mul_core(sa ^ sb, ea, asig, eb, osig);
      break;
    case DIV:
      div_core(sa ^ sb, ea, asig, eb, osig);
      break;
    default:
      div_core(sa ^ sb, eb, osig, ea, asig);
  }
  round80(dst);
}

function special(op: u32, dst: usize, ase: u32, asig: u64): void {
  const bse = ose;
  const bsig = osig;
  if (unsupported80(ase, asig) || unsupported80(bse, bsig)) {
    invalid80(dst);
    return;
  }
  if (nan80(ase, asig) || nan80(bse, bsig)) {
    propagate80(dst, ase, asig, bse, bsig);
    return;
  }
  const az = zero80(ase, asig);
  const bz = zero80(bse, bsig);
  const ai = inf80(ase, asig);
  const bi = inf80(bse, bsig);
  const de: u32 = oden | (denormal80(ase, asig) || denormal80(bse, bsig) ? DE : 0);
  const sx = (ase ^ bse) & 0x8000;
  if (op == DIV || op == DIVR) {
    const nz = op == DIV ? az : bz;
    const dz = op == DIV ? bz : az;
    const ni = op == DIV ? ai : bi;
    const di = op == DIV ? bi : ai;
    if ((nz && dz) || (ni && di)) {
      invalid80(dst);
      return;
    }
    if (dz && !ni) {
      fl |= ZE;
      if ((unmasked & ZE) == 0) set80(dst, sx | 0x7fff, INT);
      return;
    }
    fl |= de;
    if (de & unmasked) return;
    if (ni) {
      set80(dst, sx | 0x7fff, INT);
      return;
    }
    if (nz || di) {
      set80(dst, sx, 0);
      return;
    }
  } else if (op == MUL) {
    if ((az && bi) || (ai && bz)) {
      invalid80(dst);
      return;
    }
    fl |= de;
    if (de & unmasked) return;
    if (ai || bi) {
      set80(dst, sx | 0x7fff, INT);
      return;
    }
    if (az || bz) {
      set80(dst, sx, 0);
      return;
    }
  } else {
    // a + b with the signs of the operation
    const sa = op == SUBR ? ~ase & 0x8000 : ase & 0x8000;
    const sb = op == SUB ? ~bse & 0x8000 : bse & 0x8000;
    if (ai && bi && sa != sb) {
      invalid80(dst);
      return;
    }
    fl |= de;
    if (de & unmasked) return;
    if (ai || bi) {
      set80(dst, (ai ? sa : sb) | 0x7fff, INT);
      return;
    }
    if (az && bz) {
      set80(dst, sa == sb ? sa : u32(rc == RC_DOWN) << 15, 0);
      return;
    }
    if (az || bz) {
      // The other operand, rounded to the precision in force.
      zs = (az ? sb : sa) >> 15;
      ze = az ? exp80(bse, bsig) : exp80(ase, asig);
      zsig = az ? sig80(bsig) : sig80(asig);
      zext = 0;
      round80(dst);
      return;
    }
  }
  osig = sig80(bsig);
  finite(op, dst, ase, sig80(asig), exp80(ase, asig), exp80(bse, bsig));
}

/** dst = square root. */
export function sqrt80(dst: usize, se: u32, sig: u64): void {
  if (!normal80(se, sig)) {
    if (unsupported80(se, sig)) {
      invalid80(dst);
      return;
    }
    if (nan80(se, sig)) {
      propagate80(dst, se, sig, se, sig);
      return;
    }
    if (zero80(se, sig) || (inf80(se, sig) && se >> 15 == 0)) {
      set80(dst, se, sig);
      return;
    }
  }
  if (se >> 15) {
    invalid80(dst);
    return;
  }
  if (denormal80(se, sig)) {
    fl |= DE;
    if (unmasked & DE) return;
  }
  sqrt_core(exp80(se, sig), sig80(sig));
  round80(dst);
}

/** 0 equal, 1 less, 2 greater, 3 unordered. `quiet`: quiet NaNs are not invalid. The operand b is ose, osig, oden. */
export function compare80(ase: u32, asig: u64, quiet: bool): u32 {
  const bse = ose;
  const bsig = osig;
  if (unsupported80(ase, asig) || unsupported80(bse, bsig)) {
    fl |= IE;
    return 3;
  }
  if (nan80(ase, asig) || nan80(bse, bsig)) {
    if (!quiet || snan80(ase, asig) || snan80(bse, bsig)) fl |= IE;
    return 3;
  }
  if (oden != 0 || denormal80(ase, asig) || denormal80(bse, bsig)) fl |= DE;
  if (zero80(ase, asig) && zero80(bse, bsig)) return 0;
  const sa = ase >> 15;
  if (sa != bse >> 15) return sa ? 1 : 2;
  // A pseudo-denormal has the value of the same significand with exponent 1.
  const ea = max<u32>(ase & 0x7fff, 1);
  const eb = max<u32>(bse & 0x7fff, 1);
  if (ea == eb && asig == bsig) return 0;
  const less = ea < eb || (ea == eb && asig < bsig);
  return less != (sa != 0) ? 1 : 2;
}

/** Binary32 bits to ose, osig, oden, exactly. NaNs are not made quiet. */
export function from_f32(v: u32): void {
  const s = (v >> 16) & 0x8000;
  const e = (v >> 23) & 0xff;
  const m = v & 0x7fffff;
  oden = 0;
  if (e - 1 < 0xfe) {
    ose = s | (e + 16256);
    osig = INT | (u64(m) << 40);
  } else if (e != 0) {
    ose = s | 0x7fff;
    osig = INT | (u64(m) << 40);
  } else if (m == 0) {
    ose = s;
    osig = 0;
  } else {
    const n = clz(m);
    oden = DE;
    ose = s | (16265 - n);
    osig = u64(m) << (32 + n);
  }
}

/** Binary64 bits to ose, osig, oden, exactly. NaNs are not made quiet. */
export function from_f64(v: u64): void {
  const s = u32(v >> 48) & 0x8000;
  const e = u32(v >> 52) & 0x7ff;
  oden = 0;
  if (e - 1 < 0x7fe) {
    ose = s | (e + 15360);
    osig = INT | (v << 11);
  } else if (e != 0) {
    ose = s | 0x7fff;
    osig = INT | (v << 11);
  } else if (v << 1 == 0) {
    ose = s;
    osig = 0;
  } else {
    const m = v & 0x000fffffffffffff;
    const n = clz(m);
    oden = DE;
    ose = s | u32(15372 - n);
    osig = m << n;
  }
}

/** An integer to ose, osig, exactly. */
export function from_int(v: i64): void {
  oden = 0;
  if (v == 0) {
    ose = 0;
    osig = 0;
    return;
  }
  const m: u64 = v < 0 ? 0 - u64(v) : u64(v);
  const n = clz(m);
  ose = (v < 0 ? 0x8000 : 0) | u32(16446 - n);
  osig = m << n;
}
