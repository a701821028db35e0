/** Mutable globals of the runtime: per-CPU state, one instance a thread. */

/** Engine area of this CPU (AreaHeader). */
export let area: u32 = 0;
export function setArea(a: u32): void {
  area = a;
}

// Result of a page walk (mmu.ts): the page's machine address, the combined rights with the leaf's D, and log2 of the size of the
// page that the TLBs must know of; or the error code of the page fault. Or WALK_NPF with NPF_*, and the guest-physical address as walk_page;
// or WALK_LATER: what is due first has been recorded.
export let walk_page: u64 = 0;
export let walk_rights: u64 = 0;
export let walk_shift: u32 = 12;
export let walk_error: u32 = 0;
export const WALK_NPF: u32 = 0x8000_0000;
export const WALK_LATER: u32 = 0x4000_0000;

// @ts-ignore: decorator
@inline
export function walk_done(page: u64, rights: u64, shift: u32): void {
  walk_page = page;
  walk_rights = rights;
  walk_shift = shift;
}

// @ts-ignore: decorator
@inline
export function walk_failed(error: u32): void {
  walk_error = error;
}

/** A table holds code that other pCPUs have decoded (EXIT.RENDEZVOUS). */
export function walk_later(): void {
  walk_error = WALK_LATER;
}

/** The p2m does not have `gpa`, or not with the rights that `npf` (NPF_*) needs. */
export function walk_missed(gpa: u64, npf: u32): void {
  walk_page = gpa;
  walk_error = WALK_NPF | npf;
}

/** What system_read found (hvm/memory.ts). */
export let system_value: u64 = 0;
export function set_system_value(v: u64): void {
  system_value = v;
}

// The frame that frame_begin has found (hvm/memory.ts): machine addresses of its two parts, and bytes of the first.
export let frame_low: u32 = 0;
export let frame_high: u32 = 0;
export let frame_room: u32 = 0;
export function set_frame(low: u32, high: u32, room: u32): void {
  frame_low = low;
  frame_high = high;
  frame_room = room;
}
