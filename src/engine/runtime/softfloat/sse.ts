/**
 * SSE arithmetic on raw bits with exact MXCSR behaviour (Intel SDM vol. 1 chapters 4.8-4.9, 11.5, appendix E).
 *
 * For descriptions and SIMD helpers, `cpu` being the address of CpuState:
 *
 *   f32_add f32_sub f32_mul f32_div f32_min f32_max (cpu, a: u32, b: u32): u32     f64_* (cpu, a: u64, b: u64): u64
 *   f32_sqrt(cpu, a: u32): u32                                                     f64_sqrt(cpu, a: u64): u64
 *   f32_round(cpu, a: u32, imm: u32): u32                                          f64_round(cpu, a: u64, imm: u32): u64
 *   f32_compare(cpu, a: u32, b: u32, quiet: u32): u32                              f64_compare(cpu, a: u64, b: u64, quiet: u32): u32
 *   f32_to_f64(cpu, a: u32): u64    f64_to_f32(cpu, a: u64): u32
 *   i32_to_f32(cpu, a: i32): u32    i64_to_f32(cpu, a: i64): u32    i32_to_f64(cpu, a: i32): u64    i64_to_f64(cpu, a: i64): u64
 *   f32_to_i32(cpu, a: u32, trunc: u32): i32 … f64_to_i64
 *
 * `a` is the destination (first source) operand of the instruction, `b` the second. min/max give b when the operands
 * are equal or unordered. compare: 0 equal, 1 less, 2 greater, 3 unordered; `quiet`: only signalling NaNs are invalid
 * (ucomis, and the quiet predicates of cmpps). round: imm8 of roundss/roundsd. Conversions to integers give the
 * integer indefinite (0x80…0) when invalid.
 *
 * Exceptions: when all six are masked, the sticky flags go straight to mxcsr. When some are not, they are held back;
 * the instruction must then call `sse_check` once, after its last operation and before it changes anything, and write
 * nothing if that gives 0 (an exception is recorded in exit_*). `b.callFaulting('sse_check', [])` after the operations is
 * always right (operations are `pure` calls for the builder: they touch nothing but mxcsr's sticky flags); it may be
 * skipped if (mxcsr & 0x1f80) == 0x1f80.
 */
export * from './f32';
export * from './f64';
export * from './convert';
export { sse_check } from './mxcsr';
