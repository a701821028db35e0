/** Everything runtime.wasm exports: the MMU, and the helpers that instruction descriptions call. */
export { find_code, known_straddler } from './code';
export { decode_one, decode_run } from './decode';
export { flags_words, rflags_get, rflags_set } from './flags';
export { hvm_enter } from './hvm/contexts';
export * from './hvm/control';
export { hvm_inject, hvm_syscall, hvm_sysret } from './hvm/events';
export { hvm_lgdt, hvm_lidt, hvm_lldt, hvm_ltr } from './hvm/tables';
export * from './intmul';
export * from './mmu';
export { lar, load_segment, lsl, verr, verw } from './segment';
export * from './simd';
export * from './softfloat/sse';
export * from './string';
export * from './system';
export {
  jumps_reset, mmu_init, tlb_drop_writable, tlb_flush_current, tlb_flush_domain, tlb_flush_page, tlb_reset, tlb_switch, xtlb_forget_frame, xtlb_reset,
} from './tlb';
export * from './transfer';
export { step_done, watch_breakpoints, watch_update } from './watch';
export * from './x87';
