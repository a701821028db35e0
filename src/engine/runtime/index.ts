/** Everything runtime.wasm exports: the MMU, and the helpers that instruction descriptions call. */
export * from './mmu';
