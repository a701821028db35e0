/** Mutable globals of the runtime: per-CPU state, one instance a thread. */

/** Engine area of this CPU (AreaHeader). */
export let area: u32 = 0;
export function setArea(a: u32): void {
  area = a;
}

// Result of a page walk (mmu.ts): the page's machine address, the combined rights with the leaf's D; or the error code of the page fault.
export let walk_page: u64 = 0;
export let walk_rights: u64 = 0;
export let walk_error: u32 = 0;

// @ts-ignore: decorator
@inline
export function walk_done(page: u64, rights: u64): void {
  walk_page = page;
  walk_rights = rights;
}

// @ts-ignore: decorator
@inline
export function walk_failed(error: u32): void {
  walk_error = error;
}
