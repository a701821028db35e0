/** Everything runtime.wasm exports: the MMU, and the helpers that instruction descriptions call. */
export { find_code, known_straddler } from './code';
export { flags_words, rflags_get, rflags_set } from './flags';
export * from './intmul';
export { jumps_reset } from './jumps';
export * from './mmu';
export { lar, load_segment, lsl, verr, verw } from './segment';
export * from './simd';
export * from './softfloat/sse';
export * from './string';
export * from './system';
export * from './transfer';
export { step_done, watch_breakpoints, watch_update } from './watch';
export * from './x87';
