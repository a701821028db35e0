/**
 * SSE floating point that the fast paths of the descriptions could not prove (semantics/fp.ts): each operation element by
 * element with exact flags, the result to CpuState.simd_r. 0: an unmasked exception is recorded in exit_*, nothing to write.
 */
import { CpuState } from '../../../../build/abi/engine';
import {
  CVT_DQ2PS, CVT_PD2DQ, CVT_PD2PS, CVT_PI2PS, CVT_PS2DQ, CVT_PS2PD, CVT_PS2PI, CVT_TPD2DQ, CVT_TPS2DQ, CVT_TPS2PI,
  FP_ADD, FP_CMP, FP_DIV, FP_MAX, FP_MIN, FP_MUL, FP_ROUND, FP_SQRT, FP_SUB,
} from '../../fp-ops';
import {
  f32_add, f32_compare, f32_div, f32_max, f32_min, f32_mul, f32_round, f32_sqrt, f32_sub, f32_to_f64, f32_to_i32,
  f64_add, f64_compare, f64_div, f64_max, f64_min, f64_mul, f64_round, f64_sqrt, f64_sub, f64_to_f32, f64_to_i32,
  i32_to_f32, sse_check,
} from '../softfloat/sse';

/**
 * Truth of predicate 0..7 (eq lt le unord neq nlt nle ord) for an outcome of compare (0 equal, 1 less, 2 greater, 3
 * unordered): a table of outcomes for each of the first four; the others are their negations.
 */
function holds(predicate: i32, outcome: u32): bool {
  const p: u32 = predicate & 3;
  const when: u32 = p == 0 ? 0b0001 : p == 1 ? 0b0010 : p == 2 ? 0b0011 : 0b1000;
  return ((when >> outcome) & 1) != u32(predicate >> 2);
}
/** lt, le and their negations are invalid for quiet NaNs too. */
// @ts-ignore: decorator
@inline
function quiet(predicate: i32): u32 {
  const p: u32 = predicate & 3;
  return u32(p == 0 || p == 3);
}

function op32(cpu: usize, op: i32, a: u32, b: u32, lane: u32): u32 {
  if (op >= FP_ROUND) return f32_round(cpu, b, op - FP_ROUND);
  if (op >= FP_CMP) return holds(op - FP_CMP, f32_compare(cpu, a, b, quiet(op - FP_CMP))) ? 0xffffffff : 0;
  switch (op) {
    case FP_ADD: return f32_add(cpu, a, b);
    case FP_SUB: return f32_sub(cpu, a, b);
    case FP_MUL: return f32_mul(cpu, a, b);
    case FP_DIV: return f32_div(cpu, a, b);
    case FP_MIN: return f32_min(cpu, a, b);
    case FP_MAX: return f32_max(cpu, a, b);
    case FP_SQRT: return f32_sqrt(cpu, b);
    default: return lane & 1 ? f32_add(cpu, a, b) : f32_sub(cpu, a, b); // FP_ADDSUB
  }
}

function op64(cpu: usize, op: i32, a: u64, b: u64, lane: u32): u64 {
  if (op >= FP_ROUND) return f64_round(cpu, b, op - FP_ROUND);
  if (op >= FP_CMP) return holds(op - FP_CMP, f64_compare(cpu, a, b, quiet(op - FP_CMP))) ? 0xffffffffffffffff : 0;
  switch (op) {
    case FP_ADD: return f64_add(cpu, a, b);
    case FP_SUB: return f64_sub(cpu, a, b);
    case FP_MUL: return f64_mul(cpu, a, b);
    case FP_DIV: return f64_div(cpu, a, b);
    case FP_MIN: return f64_min(cpu, a, b);
    case FP_MAX: return f64_max(cpu, a, b);
    case FP_SQRT: return f64_sqrt(cpu, b);
    default: return lane & 1 ? f64_add(cpu, a, b) : f64_sub(cpu, a, b); // FP_ADDSUB
  }
}

// @ts-ignore: decorator
@inline
function set32(cpu: usize, lane: u32, v: u32): void {
  store<u32>(cpu + (lane << 2), v, CpuState.simd_r);
}
// @ts-ignore: decorator
@inline
function set64(cpu: usize, lane: u32, v: u64): void {
  store<u64>(cpu + (lane << 3), v, CpuState.simd_r);
}
/** Upper (1) or lower (0) 32 bits. */
// @ts-ignore: decorator
@inline
function half(v: u64, i: u32): u32 {
  return u32(v >> (i << 5));
}

export function fp_ss(cpu: usize, op: i32, a: u32, b: u32): u32 {
  set32(cpu, 0, op32(cpu, op, a, b, 0));
  return sse_check(cpu);
}

export function fp_sd(cpu: usize, op: i32, a: u64, b: u64): u32 {
  set64(cpu, 0, op64(cpu, op, a, b, 0));
  return sse_check(cpu);
}

export function fp_ps(cpu: usize, op: i32, a0: u64, a1: u64, b0: u64, b1: u64): u32 {
  for (let i: u32 = 0; i < 4; i++) {
    set32(cpu, i, op32(cpu, op, half(i < 2 ? a0 : a1, i & 1), half(i < 2 ? b0 : b1, i & 1), i));
  }
  return sse_check(cpu);
}

export function fp_pd(cpu: usize, op: i32, a0: u64, a1: u64, b0: u64, b1: u64): u32 {
  set64(cpu, 0, op64(cpu, op, a0, b0, 0));
  set64(cpu, 1, op64(cpu, op, a1, b1, 1));
  return sse_check(cpu);
}

/** Packed conversions (CVT_*) of the vector x1:x0; lanes that the result does not fill are zero. */
export function fp_convert(cpu: usize, op: i32, x0: u64, x1: u64): u32 {
  set64(cpu, 1, 0);
  switch (op) {
    case CVT_PS2PD:
      set64(cpu, 0, f32_to_f64(cpu, half(x0, 0)));
      set64(cpu, 1, f32_to_f64(cpu, half(x0, 1)));
      break;
    case CVT_PD2PS:
      set32(cpu, 0, f64_to_f32(cpu, x0));
      set32(cpu, 1, f64_to_f32(cpu, x1));
      break;
    case CVT_PD2DQ:
    case CVT_TPD2DQ: {
      const truncate = u32(op == CVT_TPD2DQ);
      set32(cpu, 0, f64_to_i32(cpu, x0, truncate));
      set32(cpu, 1, f64_to_i32(cpu, x1, truncate));
      break;
    }
    case CVT_DQ2PS:
    case CVT_PI2PS: {
      const n: u32 = op == CVT_PI2PS ? 2 : 4;
      for (let i: u32 = 0; i < n; i++) set32(cpu, i, i32_to_f32(cpu, half(i < 2 ? x0 : x1, i & 1)));
      break;
    }
    case CVT_PS2DQ:
    case CVT_TPS2DQ:
    case CVT_PS2PI:
    case CVT_TPS2PI: {
      const truncate = u32(op == CVT_TPS2DQ || op == CVT_TPS2PI);
      const n: u32 = op == CVT_PS2PI || op == CVT_TPS2PI ? 2 : 4;
      for (let i: u32 = 0; i < n; i++) set32(cpu, i, f32_to_i32(cpu, half(i < 2 ? x0 : x1, i & 1), truncate));
      break;
    }
    default:
      unreachable();
  }
  return sse_check(cpu);
}

/**
 * dpps: products of the lanes in imm8 bits 7..4 (others are +0), summed in pairs and then across; the sum goes to the
 * lanes in bits 3..0, zero to the others. Each step rounds and may raise; an unmasked exception of the products ends it.
 */
export function fp_dpps(cpu: usize, imm: u32, a0: u64, a1: u64, b0: u64, b1: u64): u32 {
  const p0 = imm & 0x10 ? f32_mul(cpu, half(a0, 0), half(b0, 0)) : 0;
  const p1 = imm & 0x20 ? f32_mul(cpu, half(a0, 1), half(b0, 1)) : 0;
  const p2 = imm & 0x40 ? f32_mul(cpu, half(a1, 0), half(b1, 0)) : 0;
  const p3 = imm & 0x80 ? f32_mul(cpu, half(a1, 1), half(b1, 1)) : 0;
  if (!sse_check(cpu)) return 0;
  const s0 = f32_add(cpu, p0, p1);
  const s1 = f32_add(cpu, p2, p3);
  if (!sse_check(cpu)) return 0;
  const sum = f32_add(cpu, s0, s1);
  for (let i: u32 = 0; i < 4; i++) set32(cpu, i, (imm >> i) & 1 ? sum : 0);
  return sse_check(cpu);
}

export function fp_dppd(cpu: usize, imm: u32, a0: u64, a1: u64, b0: u64, b1: u64): u32 {
  const p0 = imm & 0x10 ? f64_mul(cpu, a0, b0) : 0;
  const p1 = imm & 0x20 ? f64_mul(cpu, a1, b1) : 0;
  if (!sse_check(cpu)) return 0;
  const sum = f64_add(cpu, p0, p1);
  set64(cpu, 0, imm & 1 ? sum : 0);
  set64(cpu, 1, imm & 2 ? sum : 0);
  return sse_check(cpu);
}
