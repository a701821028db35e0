/** x87 arithmetic, comparison and classification (SDM vol. 1 8.3.4-8.3.6). */
import { CpuState } from '../../../build/abi/engine';
import { fl, oden, ose, osig, rup, unmasked } from './softfloat/percpu';
import { DE, IE, SF, ZE } from './softfloat/flags';
import {
  ADD, arith80, compare80, DIV, DIVR, from_f32, from_f64, from_int, MUL, sqrt80, unsupported80,
} from './softfloat/f80';
import {
  both_normal, common, fast_add, fast_div, fast_flags, fast_mul, fast_order, fast_pop, fast_sqrt, normal_f32, normal_f64,
  physical, register, se_f32, se_f64, sig_f32, sig_f64, used,
} from './x87-fast';
import { C0, C1, C2, C3, empty, fp_begin, fp_end, fp_end_cc, pop, pop_n, se_at, st, underflow } from './x87-stack';

/** Exceptions found before computing: unmasked, they leave the operands and the stack as they were. */
const EARLY: u32 = IE | DE | ZE;

/** ST(dst) = ST(dst) op ST(src), and perhaps pop. `op` as in the modrm digit (f80.ts). */
export function fp_arith(cpu: usize, op: u32, dst: u32, src: u32, pops: u32): u32 {
  fp_begin(cpu);
  if (empty(cpu, dst) || empty(cpu, src)) {
    if (!underflow(cpu, dst)) return fp_end(cpu);
  } else {
    const p = st(cpu, dst);
    const q = st(cpu, src);
    ose = se_at(q);
    osig = load<u64>(q);
    oden = 0;
    arith80(op, p, se_at(p), load<u64>(p));
    if (fl & unmasked & EARLY) return fp_end(cpu);
  }
  if (pops) pop(cpu);
  return fp_end(cpu);
}

/** ST(0) = ST(0) op ose:osig. */
function arith_memory(cpu: usize, op: u32): u32 {
  fp_begin(cpu);
  if (empty(cpu, 0)) underflow(cpu, 0);
  else {
    const p = st(cpu, 0);
    arith80(op, p, se_at(p), load<u64>(p));
  }
  return fp_end(cpu);
}

export function fp_arith_f32(cpu: usize, op: u32, v: u32): u32 {
  from_f32(v);
  return arith_memory(cpu, op);
}

export function fp_arith_f64(cpu: usize, op: u32, v: u64): u32 {
  from_f64(v);
  return arith_memory(cpu, op);
}

/** fiadd and its kin. */
export function fp_arith_int(cpu: usize, op: u32, v: i32): u32 {
  from_int(i64(v));
  return arith_memory(cpu, op);
}

// The same with the common case first, by kind of operation: each is small and calls nothing.

/** Register at p = a op b, by op's kind (ADD: add, sub, subr; MUL; DIV: div, divr), which is a constant. */
// @ts-ignore: decorator
@inline
function compute(kind: u32, op: u32, p: usize, ase: u32, a: u64, bse: u32, b: u64, cw: u32): i32 {
  if (!both_normal(ase, a, bse, b)) return -1;
  if (kind == MUL) return fast_mul(p, ase, a, bse, b, cw);
  if (kind == ADD) return fast_add(op, p, ase, a, bse, b, cw);
  const swap = op == DIVR;
  return fast_div(
    p, select<u32>(bse, ase, swap), select<u64>(b, a, swap), select<u32>(ase, bse, swap), select<u64>(a, b, swap), cw,
  );
}

// @ts-ignore: decorator
@inline
function registers(kind: u32, cpu: usize, op: u32, dst: u32, src: u32, pops: u32): u32 {
  const cw: u32 = load<u16>(cpu, CpuState.fcw);
  const d = physical(cpu, dst);
  const s = physical(cpu, src);
  if (common(cw) && used(cpu, d) & used(cpu, s) & 1) {
    const p = register(cpu, d);
    const q = register(cpu, s);
    const flags = compute(kind, op, p, se_at(p), load<u64>(p), se_at(q), load<u64>(q), cw);
    if (flags >= 0) {
      fast_flags(cpu, flags);
      if (pops) fast_pop(cpu, physical(cpu, 0));
      return 0;
    }
  }
  return fp_arith(cpu, op, dst, src, pops);
}

/** With a normal number from memory; false: it is not the common case. */
// @ts-ignore: decorator
@inline
function memory_operand(kind: u32, cpu: usize, op: u32, bse: u32, b: u64): bool {
  const cw: u32 = load<u16>(cpu, CpuState.fcw);
  const d = physical(cpu, 0);
  if (!common(cw) || (used(cpu, d) & 1) == 0) return false;
  const p = register(cpu, d);
  const flags = compute(kind, op, p, se_at(p), load<u64>(p), bse, b, cw);
  if (flags < 0) return false;
  fast_flags(cpu, flags);
  return true;
}

// @ts-ignore: decorator
@inline
function f64_operand(kind: u32, cpu: usize, op: u32, v: u64): u32 {
  return normal_f64(v) && memory_operand(kind, cpu, op, se_f64(v), sig_f64(v)) ? 0 : fp_arith_f64(cpu, op, v);
}

// @ts-ignore: decorator
@inline
function f32_operand(kind: u32, cpu: usize, op: u32, v: u32): u32 {
  return normal_f32(v) && memory_operand(kind, cpu, op, se_f32(v), sig_f32(v)) ? 0 : fp_arith_f32(cpu, op, v);
}

export function fp_add(cpu: usize, op: u32, dst: u32, src: u32, pops: u32): u32 {
  return registers(ADD, cpu, op, dst, src, pops);
}

export function fp_mul(cpu: usize, op: u32, dst: u32, src: u32, pops: u32): u32 {
  return registers(MUL, cpu, op, dst, src, pops);
}

export function fp_div(cpu: usize, op: u32, dst: u32, src: u32, pops: u32): u32 {
  return registers(DIV, cpu, op, dst, src, pops);
}

export function fp_add_f64(cpu: usize, op: u32, v: u64): u32 {
  return f64_operand(ADD, cpu, op, v);
}

export function fp_mul_f64(cpu: usize, op: u32, v: u64): u32 {
  return f64_operand(MUL, cpu, op, v);
}

export function fp_div_f64(cpu: usize, op: u32, v: u64): u32 {
  return f64_operand(DIV, cpu, op, v);
}

export function fp_add_f32(cpu: usize, op: u32, v: u32): u32 {
  return f32_operand(ADD, cpu, op, v);
}

export function fp_mul_f32(cpu: usize, op: u32, v: u32): u32 {
  return f32_operand(MUL, cpu, op, v);
}

export function fp_div_f32(cpu: usize, op: u32, v: u32): u32 {
  return f32_operand(DIV, cpu, op, v);
}

// @ts-ignore: decorator
@inline
function codes(order: u32): u32 {
  return order == 0 ? C3 : order == 1 ? C0 : order == 2 ? 0 : C0 | C2 | C3;
}

/**
 * Compare ST(0) with ose:osig; set the condition codes and pop. An unmasked exception keeps the stack, but (as AMD's
 * CPUs do) not the condition codes.
 */
// @ts-ignore: decorator
@inline
function compare(cpu: usize, quiet: bool, pops: u32): u32 {
  const p = st(cpu, 0);
  return compared(cpu, compare80(se_at(p), load<u64>(p), quiet), pops);
}

// @ts-ignore: decorator
@inline
function compared(cpu: usize, order: u32, pops: u32): u32 {
  if ((fl & unmasked) == 0) pop_n(cpu, pops);
  return fp_end_cc(cpu, codes(order));
}

/** The order of ST(0) and ST(i) if both are normal, else -1. */
// @ts-ignore: decorator
@inline
function order_of(cpu: usize, i: u32): i32 {
  const d = physical(cpu, 0);
  const s = physical(cpu, i);
  const p = register(cpu, d);
  const q = register(cpu, s);
  const ase = se_at(p);
  const a = load<u64>(p);
  const bse = se_at(q);
  const b = load<u64>(q);
  return used(cpu, d) & used(cpu, s) & 1 && both_normal(ase, a, bse, b) ? fast_order(ase, a, bse, b) : -1;
}

/** fcom, fucom and their popping forms with ST(i); fcompp, fucompp. */
export function fp_compare(cpu: usize, i: u32, quiet: u32, pops: u32): u32 {
  const order = order_of(cpu, i);
  if (order < 0) return fp_compare_exact(cpu, i, quiet, pops);
  const d = physical(cpu, 0);
  const sw: u32 = load<u16>(cpu, CpuState.fsw);
  store<u16>(cpu, u16((sw & ~(C0 | C1 | C2 | C3)) | codes(order)), CpuState.fsw);
  if (pops) fast_pop(cpu, d);
  if (pops > 1) fast_pop(cpu, (d + 1) & 7);
  return 0;
}

export function fp_compare_exact(cpu: usize, i: u32, quiet: u32, pops: u32): u32 {
  fp_begin(cpu);
  if (empty(cpu, 0) || empty(cpu, i)) {
    fl |= IE | SF;
    return compared(cpu, 3, pops);
  }
  const q = st(cpu, i);
  ose = se_at(q);
  osig = load<u64>(q);
  oden = 0;
  return compare(cpu, quiet != 0, pops);
}

// @ts-ignore: decorator
@inline
function compare_memory(cpu: usize, pops: u32): u32 {
  if (empty(cpu, 0)) {
    fl |= IE | SF;
    return compared(cpu, 3, pops);
  }
  return compare(cpu, false, pops);
}

export function fp_compare_f32(cpu: usize, v: u32, pops: u32): u32 {
  fp_begin(cpu);
  from_f32(v);
  return compare_memory(cpu, pops);
}

export function fp_compare_f64(cpu: usize, v: u64, pops: u32): u32 {
  fp_begin(cpu);
  from_f64(v);
  return compare_memory(cpu, pops);
}

/** ficom; ftst with 0. */
export function fp_compare_int(cpu: usize, v: i32, pops: u32): u32 {
  fp_begin(cpu);
  from_int(i64(v));
  return compare_memory(cpu, pops);
}

/**
 * fcomi, fucomi: the order (0 equal, 1 less, 2 greater, 3 unordered), plus 4 if an unmasked exception was recorded. C1 is
 * left alone but for stack underflow.
 */
export function fp_compare_flags(cpu: usize, i: u32, quiet: u32, pops: u32): u32 {
  const order = order_of(cpu, i);
  if (order < 0) return fp_compare_flags_exact(cpu, i, quiet, pops);
  if (pops) fast_pop(cpu, physical(cpu, 0));
  return order;
}

export function fp_compare_flags_exact(cpu: usize, i: u32, quiet: u32, pops: u32): u32 {
  fp_begin(cpu);
  let order: u32 = 3;
  if (empty(cpu, 0) || empty(cpu, i)) fl |= IE | SF;
  else {
    const p = st(cpu, 0);
    const q = st(cpu, i);
    ose = se_at(q);
    osig = load<u64>(q);
    oden = 0;
    order = compare80(se_at(p), load<u64>(p), quiet != 0);
  }
  if (pops && (fl & unmasked) == 0) pop(cpu);
  if ((fl & SF) == 0) rup = (u32(load<u16>(cpu, CpuState.fsw)) >> 9) & 1;
  return order | (fp_end(cpu) << 2);
}

/** fxam. */
export function fp_examine(cpu: usize): void {
  fp_begin(cpu);
  const p = st(cpu, 0);
  const se = se_at(p);
  const sig = load<u64>(p);
  const e = se & 0x7fff;
  let cc: u32;
  if (empty(cpu, 0)) cc = C3 | C0;
  else if (unsupported80(se, sig)) cc = 0;
  else if (e == 0x7fff) cc = sig << 1 != 0 ? C0 : C2 | C0;
  else if (e != 0) cc = C2;
  else cc = sig == 0 ? C3 : C3 | C2;
  rup = se >> 15;
  fp_end_cc(cpu, cc);
}

/** fchs (1) and fabs (0). */
export function fp_sign(cpu: usize, change: u32): u32 {
  const d = physical(cpu, 0);
  if (used(cpu, d) & 1) {
    const p = register(cpu, d);
    store<u16>(p, u16(change ? se_at(p) ^ 0x8000 : se_at(p) & 0x7fff), 8);
    fast_flags(cpu, 0);
    return 0;
  }
  fp_begin(cpu);
  underflow(cpu, 0);
  return fp_end(cpu);
}

export function fp_sqrt(cpu: usize): u32 {
  const cw: u32 = load<u16>(cpu, CpuState.fcw);
  const d = physical(cpu, 0);
  if (common(cw) && used(cpu, d) & 1) {
    const p = register(cpu, d);
    const se = se_at(p);
    const sig = load<u64>(p);
    // normal, and not negative
    if (se - 1 < 0x7ffe && i64(sig) < 0) {
      const flags = fast_sqrt(p, se, sig, cw);
      if (flags >= 0) {
        fast_flags(cpu, flags);
        return 0;
      }
    }
  }
  return fp_sqrt_exact(cpu);
}

export function fp_sqrt_exact(cpu: usize): u32 {
  fp_begin(cpu);
  if (empty(cpu, 0)) underflow(cpu, 0);
  else {
    const p = st(cpu, 0);
    sqrt80(p, se_at(p), load<u64>(p));
  }
  return fp_end(cpu);
}
