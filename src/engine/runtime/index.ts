/** Everything runtime.wasm exports: the MMU, and the helpers that instruction descriptions call. */
export * from './mmu';
export * from './simd';
export * from './softfloat/sse';
export * from './x87';
