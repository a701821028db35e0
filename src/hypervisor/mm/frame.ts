// The frame table: one PageInfo per machine frame, saying who owns it, what it is used as and how often (as Xen's
// struct page_info). It lies at MachineInfo.heap_start, behind the page that holds MmState. A frame that was never
// allocated has an all-zero PageInfo, so an untouched part of the table costs nothing.
//
// All access to guest frames goes through map_domain_page: nothing else turns a frame number into an address.
import { MachineInfo, MACHINE_INFO_ADDRESS } from "../abi";
import { Domain } from "../domain";

/** count_info: allocated to a domain (this holds one reference), Xen heap page shared with a domain, free. */
export const PGC_allocated: u32 = 1 << 31;
export const PGC_xen_heap: u32 = 1 << 30;
export const PGC_free: u32 = 1 << 29;
/** References, in the low bits. */
export const PGC_count_mask: u32 = (1 << 26) - 1;

/** type_info: the mutually exclusive uses of a frame. */
export const PGT_none: u32 = 0;
export const PGT_l1_page_table: u32 = 1 << 29;
export const PGT_l2_page_table: u32 = 2 << 29;
export const PGT_l3_page_table: u32 = 3 << 29;
export const PGT_l4_page_table: u32 = 4 << 29;
export const PGT_seg_desc_page: u32 = 5 << 29;
export const PGT_shared_page: u32 = 6 << 29;
export const PGT_writable_page: u32 = 7 << 29;
export const PGT_type_mask: u32 = 7 << 29;
/** The guest asked for the type to be kept (this holds one type reference and one reference). */
export const PGT_pinned: u32 = 1 << 28;
/** The contents have been checked for the present type. Unset with a count: a CPU is checking or dropping it now. */
export const PGT_validated: u32 = 1 << 27;
/** An entry of this page table is being changed (page_lock). */
export const PGT_locked: u32 = 1 << 26;
/** A page table that was checked or taken apart in part (page_type.ts); and the count is that of one who drops it. */
export const PGT_partial: u32 = 1 << 25;
export const PGT_partial_put: u32 = 1 << 24;
/** Type references, in the low bits. */
export const PGT_count_mask: u32 = (1 << 24) - 1;

@unmanaged
export class PageInfo {
  /** PGC_* and references (atomic). */
  count_info: u32;
  /** PGT_* and type references (atomic). */
  type_info: u32;
  /** Owner, null if none; changes only while the frame has no reference. */
  owner: Domain;
  /** mfn of the next and previous frame: of the owner's list (its page_alloc_lock), or of a free list (heap_lock). */
  next: u32;
  prev: u32;
  /** Linear page tables: > 0 entries of this table that map a table of its own level; < 0 such entries that map it. */
  linear_pt_count: i32;
  /**
   * Of a free frame: when it was freed (MmState.tlb_clock): stale translations may exist until a later flush has ended; 0:
   * none. Of one that was a page table: when it was taken apart (MmState.walk_clock).
   */
  tlbflush_timestamp: u32;
  /** Of the first frame of a free block, or one of small blocks (xmalloc.ts): log2 of its length. Of a page table: progress.ts. */
  progress: u32;
}

/** log2 of sizeof(PageInfo). */
const PAGE_INFO_SHIFT: u32 = 5;

// @ts-ignore: decorator
@inline
export function mm_state_address(): usize {
  return load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.heap_start);
}

// @ts-ignore: decorator
@inline
function frame_table(): usize {
  return mm_state_address() + 4096;
}

/** Bytes of the frame table of `frames` frames. */
export function frame_table_size(frames: u32): u32 {
  return frames << PAGE_INFO_SHIFT;
}

/** PageInfo of a valid frame (callers check mfn_valid for numbers that come from a guest). */
// @ts-ignore: decorator
@inline
export function mfn_to_page(mfn: u32): PageInfo {
  return changetype<PageInfo>(frame_table() + (<usize>mfn << PAGE_INFO_SHIFT));
}

// @ts-ignore: decorator
@inline
export function page_to_mfn(pg: PageInfo): u32 {
  return <u32>(changetype<usize>(pg) - frame_table()) >> PAGE_INFO_SHIFT;
}

/** Does the machine have this frame? Takes what a guest says, 64 bits wide. */
// @ts-ignore: decorator
@inline
export function mfn_valid(mfn: u64): bool {
  return mfn < <u64>load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.mem_frames);
}

/** Machine address of a frame's bytes. Good until the caller drops its reference on the frame. */
// @ts-ignore: decorator
@inline
export function map_domain_page(mfn: u32): usize {
  return <usize>mfn << 12;
}

/** The frame of a page of the Xen heap. */
// @ts-ignore: decorator
@inline
export function virt_to_mfn(p: usize): u32 {
  return <u32>(p >> 12);
}

// @ts-ignore: decorator
@inline
export function count_info_of(pg: PageInfo): usize {
  return changetype<usize>(pg) + offsetof<PageInfo>("count_info");
}

// @ts-ignore: decorator
@inline
export function type_info_of(pg: PageInfo): usize {
  return changetype<usize>(pg) + offsetof<PageInfo>("type_info");
}
