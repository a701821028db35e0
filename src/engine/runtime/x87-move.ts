/** x87 loads, stores and register moves (SDM vol. 1 8.3.1-8.3.3). */
import { CpuState } from '../../../build/abi/engine';
import { fl, oden, ose, osig, rc, rup, top, unmasked } from './softfloat/percpu';
import { IE, OE, PE, SF, UE } from './softfloat/flags';
import {
  exp80, from_f32, from_f64, from_int, inf80, INT, nan80, NAN_SIG, QUIET, set80, sig80, snan80, unsupported80, zero80,
} from './softfloat/f80';
import { empty, fill, fp_begin, fp_end, pop, push, room, se_at, set_top, st, underflow } from './x87-stack';
import {
  fast_flags, fast_get, fast_pop, fast_push, normal_f32, normal_f64, physical, register, se_f32, se_f64, sig_f32, sig_f64, used,
} from './x87-fast';
import { pack_f32, pack_f64 } from './softfloat/pack';

// Those with a common case (x87-fast.ts) call their exact counterpart where it is not met.

/** Push ose:osig, converted from a shorter format. */
// @ts-ignore: decorator
@inline
function push_converted(cpu: usize): u32 {
  if (room(cpu)) {
    // A denormal is pushed even if DE is unmasked (as AMD's CPUs do).
    fl |= oden;
    if (snan80(ose, osig)) {
      fl |= IE;
      if (unmasked & IE) return fp_end(cpu);
      osig |= QUIET;
    }
    push(cpu, ose, osig);
  }
  return fp_end(cpu);
}

export function fp_push_f32(cpu: usize, v: u32): u32 {
  if (normal_f32(v) && fast_push(cpu, se_f32(v), sig_f32(v))) return 0;
  return fp_push_f32_exact(cpu, v);
}

export function fp_push_f32_exact(cpu: usize, v: u32): u32 {
  fp_begin(cpu);
  from_f32(v);
  return push_converted(cpu);
}

export function fp_push_f64(cpu: usize, v: u64): u32 {
  if (normal_f64(v) && fast_push(cpu, se_f64(v), sig_f64(v))) return 0;
  return fp_push_f64_exact(cpu, v);
}

export function fp_push_f64_exact(cpu: usize, v: u64): u32 {
  fp_begin(cpu);
  from_f64(v);
  return push_converted(cpu);
}

export function fp_push_int(cpu: usize, v: i64): u32 {
  fp_begin(cpu);
  from_int(v);
  if (room(cpu)) push(cpu, ose, osig);
  return fp_end(cpu);
}

export function fp_push_f80(cpu: usize, sig: u64, se: u32): u32 {
  fp_begin(cpu);
  if (room(cpu)) push(cpu, se, sig);
  return fp_end(cpu);
}

export function fp_push_st(cpu: usize, i: u32): u32 {
  const s = physical(cpu, i);
  const p = register(cpu, s);
  if (used(cpu, s) & 1 && fast_push(cpu, se_at(p), load<u64>(p))) return 0;
  return fp_push_st_exact(cpu, i);
}

export function fp_push_st_exact(cpu: usize, i: u32): u32 {
  fp_begin(cpu);
  if (empty(cpu, i)) {
    fl |= IE | SF;
    if (unmasked & IE) return fp_end(cpu);
    set_top(cpu, top - 1);
    fill(cpu, 0);
    return fp_end(cpu);
  }
  if (!room(cpu)) return fp_end(cpu);
  const p = st(cpu, i);
  push(cpu, se_at(p), load<u64>(p));
  return fp_end(cpu);
}

/** fld1 fldl2t fldl2e fldpi fldlg2 fldln2 fldz, as D9 E8+n: significand truncated, and what follows it. */
export function fp_push_constant(cpu: usize, n: u32): u32 {
  if (n == 0 && fast_push(cpu, 0x3fff, INT)) return 0;
  if (n > 5 && fast_push(cpu, 0, 0)) return 0;
  return fp_push_constant_exact(cpu, n);
}

export function fp_push_constant_exact(cpu: usize, n: u32): u32 {
  fp_begin(cpu);
  if (!room(cpu)) return fp_end(cpu);
  let se: u32;
  let sig: u64;
  let above = false; // the rest is above one half: round to nearest goes up
  switch (n) {
    case 0:
      push(cpu, 0x3fff, INT);
      return fp_end(cpu);
    case 1: // log2(10)
      se = 0x4000;
      sig = 0xd49a784bcd1b8afe;
      break;
    case 2: // log2(e)
      se = 0x3fff;
      sig = 0xb8aa3b295c17f0bb;
      above = true;
      break;
    case 3: // pi
      se = 0x4000;
      sig = 0xc90fdaa22168c234;
      above = true;
      break;
    case 4: // log10(2)
      se = 0x3ffd;
      sig = 0x9a209a84fbcff798;
      above = true;
      break;
    case 5: // ln(2)
      se = 0x3ffe;
      sig = 0xb17217f7d1cf79ab;
      above = true;
      break;
    default:
      push(cpu, 0, 0);
      return fp_end(cpu);
  }
  push(cpu, se, sig + u64(rc == 2 || (rc == 0 && above)));
  return fp_end(cpu);
}

// Stores give bit 0: the value in CpuState.ret0 (ret1) is to be stored; bit 1: an unmasked exception was recorded. The
// destination was probed before.

// @ts-ignore: decorator
@inline
function stored(cpu: usize, v: u64, pops: u32): u32 {
  store<u64>(cpu, v, CpuState.ret0);
  if (pops) pop(cpu);
  return 1 | (fp_end(cpu) << 1);
}

/** The masked response to an invalid store is `v`. */
function invalid_store(cpu: usize, v: u64, pops: u32): u32 {
  fl |= IE;
  rup = 0;
  if (unmasked & IE) return fp_end(cpu) << 1;
  return stored(cpu, v, pops);
}

/** An unmasked overflow or underflow stores and pops nothing, and tells nothing of precision. */
function out_of_range(cpu: usize): u32 {
  fl &= ~PE;
  rup = 0;
  return fp_end(cpu) << 1;
}

export function fp_get_f32(cpu: usize, pops: u32): u32 {
  return fast_get(cpu, 24, pops) ? 1 : fp_get_f32_exact(cpu, pops);
}

export function fp_get_f32_exact(cpu: usize, pops: u32): u32 {
  fp_begin(cpu);
  if (empty(cpu, 0)) {
    fl |= SF;
    return invalid_store(cpu, 0xffc00000, pops);
  }
  const p = st(cpu, 0);
  const se = se_at(p);
  const sig = load<u64>(p);
  const s = se >> 15;
  if (unsupported80(se, sig)) return invalid_store(cpu, 0xffc00000, pops);
  let r: u32;
  if (nan80(se, sig)) {
    r = (s << 31) | 0x7fc00000 | (u32(sig >> 40) & 0x7fffff);
    if (snan80(se, sig)) return invalid_store(cpu, r, pops);
  } else if (inf80(se, sig)) r = (s << 31) | 0x7f800000;
  else if (zero80(se, sig)) r = s << 31;
  else {
    r = pack_f32(s, exp80(se, sig), sig80(sig));
    if (fl & unmasked & (OE | UE)) return out_of_range(cpu);
  }
  return stored(cpu, r, pops);
}

export function fp_get_f64(cpu: usize, pops: u32): u32 {
  return fast_get(cpu, 53, pops) ? 1 : fp_get_f64_exact(cpu, pops);
}

export function fp_get_f64_exact(cpu: usize, pops: u32): u32 {
  fp_begin(cpu);
  if (empty(cpu, 0)) {
    fl |= SF;
    return invalid_store(cpu, 0xfff8000000000000, pops);
  }
  const p = st(cpu, 0);
  const se = se_at(p);
  const sig = load<u64>(p);
  const s = u64(se >> 15) << 63;
  if (unsupported80(se, sig)) return invalid_store(cpu, 0xfff8000000000000, pops);
  let r: u64;
  if (nan80(se, sig)) {
    r = s | 0x7ff8000000000000 | ((sig >> 11) & 0x000fffffffffffff);
    if (snan80(se, sig)) return invalid_store(cpu, r, pops);
  } else if (inf80(se, sig)) r = s | 0x7ff0000000000000;
  else if (zero80(se, sig)) r = s;
  else {
    r = pack_f64(se >> 15, exp80(se, sig), sig80(sig));
    if (fl & unmasked & (OE | UE)) return out_of_range(cpu);
  }
  return stored(cpu, r, pops);
}

/** Always pops. The number is in ret0 (significand) and ret1. */
export function fp_get_f80(cpu: usize): u32 {
  fp_begin(cpu);
  if (empty(cpu, 0)) {
    fl |= SF;
    store<u64>(cpu, 0xffff, CpuState.ret1);
    return invalid_store(cpu, NAN_SIG, 1);
  }
  const p = st(cpu, 0);
  store<u64>(cpu, u64(se_at(p)), CpuState.ret1);
  return stored(cpu, load<u64>(p), 1);
}

/** fist, fistp, fisttp: ST(0) as an integer of `bytes`; `truncate` overrides the rounding mode. */
export function fp_get_int(cpu: usize, bytes: u32, truncate: u32, pops: u32): u32 {
  fp_begin(cpu);
  const indefinite: u64 = INT >> (64 - bytes * 8);
  if (empty(cpu, 0)) {
    fl |= SF;
    return invalid_store(cpu, indefinite, pops);
  }
  if (truncate) rc = 3;
  const p = st(cpu, 0);
  const se = se_at(p);
  if (!to_integer(se, load<u64>(p))) return invalid_store(cpu, indefinite, pops);
  const limit: u64 = indefinite - u64(se >> 15 == 0);
  if (osig > limit) {
    fl &= ~PE;
    return invalid_store(cpu, indefinite, pops);
  }
  return stored(cpu, se >> 15 ? 0 - osig : osig, pops);
}

/** osig = magnitude of the number rounded to an integer by `rc`; PE, rup. False: not finite or above 64 bits. */
export function to_integer(se: u32, sig: u64): bool {
  const e = i32(se & 0x7fff) - 16383;
  if (e >= 64 || unsupported80(se, sig)) return false;
  if (e == 63) {
    osig = sig;
    return true;
  }
  let whole: u64;
  let rest: u64; // the fraction, as 0.rest, sticky
  if (e >= 0) {
    whole = sig >> (63 - e);
    rest = sig << (e + 1);
  } else {
    whole = 0;
    rest = e == -1 ? sig : u64(sig != 0);
  }
  if (rest != 0) {
    fl |= PE;
    const up = rc == 0 ? rest > INT || (rest == INT && (whole & 1) != 0) : rc != 3 && (rc == 1) == (se >> 15 != 0);
    if (up) {
      whole++;
      rup = 1;
    }
  }
  osig = whole;
  return true;
}

/** fstpnce (D9 D8+i): as fstp, but an empty ST(0) is no error and only popped. */
export function fp_store_st_quiet(cpu: usize, i: u32): u32 {
  fp_begin(cpu);
  if (!empty(cpu, 0)) return fp_store_st(cpu, i, 1);
  pop(cpu);
  return fp_end(cpu);
}

/** fst, fstp with a register. */
export function fp_store_st(cpu: usize, i: u32, pops: u32): u32 {
  const s = physical(cpu, 0);
  if (used(cpu, s) & 1) {
    const d = physical(cpu, i);
    const p = register(cpu, s);
    const q = register(cpu, d);
    store<u64>(q, load<u64>(p));
    store<u16>(q, load<u16>(p, 8), 8);
    store<u16>(cpu, u16(load<u16>(cpu, CpuState.ftw) | (u32(1) << d)), CpuState.ftw);
    fast_flags(cpu, 0);
    if (pops) fast_pop(cpu, s);
    return 0;
  }
  fp_begin(cpu);
  if (underflow(cpu, i) && pops) pop(cpu);
  return fp_end(cpu);
}

export function fp_exchange(cpu: usize, i: u32): u32 {
  const d = physical(cpu, 0);
  const s = physical(cpu, i);
  if ((used(cpu, d) & used(cpu, s) & 1) == 0) return fp_exchange_exact(cpu, i);
  const p = register(cpu, d);
  const q = register(cpu, s);
  const sig = load<u64>(p);
  const se = se_at(p);
  store<u64>(p, load<u64>(q));
  store<u16>(p, load<u16>(q, 8), 8);
  store<u64>(q, sig);
  store<u16>(q, u16(se), 8);
  fast_flags(cpu, 0);
  return 0;
}

export function fp_exchange_exact(cpu: usize, i: u32): u32 {
  fp_begin(cpu);
  const none = empty(cpu, 0);
  const other = empty(cpu, i);
  if (none || other) {
    fl |= IE | SF;
    if (unmasked & IE) return fp_end(cpu);
    if (none) fill(cpu, 0);
    if (other) fill(cpu, i);
  }
  const p = st(cpu, 0);
  const q = st(cpu, i);
  const sig = load<u64>(p);
  const se = se_at(p);
  set80(p, se_at(q), load<u64>(q));
  set80(q, se, sig);
  return fp_end(cpu);
}

/** fcmovcc. C1 is left alone but for stack underflow. */
export function fp_move_if(cpu: usize, cond: u32, i: u32): u32 {
  fp_begin(cpu);
  if (empty(cpu, 0) || empty(cpu, i)) {
    underflow(cpu, 0);
    return fp_end(cpu);
  }
  if (cond) {
    const q = st(cpu, i);
    set80(st(cpu, 0), se_at(q), load<u64>(q));
  }
  return 0;
}

/** ffree, ffreep. */
export function fp_free(cpu: usize, i: u32, pops: u32): void {
  fp_begin(cpu);
  store<u16>(cpu, u16(load<u16>(cpu, CpuState.ftw) & ~(u32(1) << ((top + i) & 7))), CpuState.ftw);
  if (pops) pop(cpu);
  fp_end(cpu);
}

/** fincstp (1), fdecstp (7). */
export function fp_rotate(cpu: usize, by: u32): u32 {
  fp_begin(cpu);
  set_top(cpu, top + by);
  return fp_end(cpu);
}
