// MmState: memory management's shared state, in the first page at MachineInfo.heap_start (so every instance finds it
// without being told). Constant after boot unless a lock is named.
import { mm_state_address } from "./frame";

/** Free blocks have 2^0 .. 2^MAX_ORDER frames. */
export const MAX_ORDER: u32 = 18;
/** xzalloc's size classes: 16 << n bytes, up to 2048. */
export const XMALLOC_CLASSES: u32 = 8;

@unmanaged
export class MmState {
  /** Guards everything down to `free_heads`. */
  heap_lock: u64;
  /** Frames from here on were never allocated: they are zero, and their PageInfo too. */
  fresh: u32;
  /** Free frames, fresh ones included. */
  free_frames: u32;
  /** Frames that domains have claimed (XENMEM_claim_pages) and not allocated yet. */
  outstanding_claims: u32;
  /** Frames below are the hypervisor's for ever (this state, frame table, M2P). */
  first_heap_mfn: u32;
  /** First frame that does not belong to the heap. */
  end_mfn: u32;
  /** Frames the heap manages. */
  total_frames: u32;
  /** Address of the machine-to-physical table, and its length in bytes (whole pages). */
  m2p: u32;
  m2p_size: u32;
  /** L4 entry of slot 256: the read-only M2P. */
  ro_mpt_l4e: u64;
  /** Frame with Xen's own part of every GDT (its page 14). */
  gdt_mfn: u32;
  /** Counts flushes of all TLBs, as they begin (atomic); freed frames are stamped with it. */
  tlb_clock: u32;
  /** What tlb_clock was made by the last flush that has ended (atomic). Frames with a lower stamp are in no TLB. */
  tlb_flushed: u32;
  /** Counts page tables that were taken apart (atomic). */
  walk_clock: u32;
  /** Start of the next domain's tlb_downgrade_gen (atomic). */
  next_generation: u32;
  xmalloc_lock: u64;
  /** A page for each CPU slot (scratch.ts). */
  scratch: u32;
}

/** u32[MAX_ORDER + 1]: first frame of each list of free blocks, 0: empty (heap_lock). */
const FREE_HEADS: u32 = 256;
/** u32[XMALLOC_CLASSES]: first free object of each class, 0: none (xmalloc_lock). */
const XMALLOC_HEADS: u32 = 512;

// @ts-ignore: decorator
@inline
export function mm(): MmState {
  return changetype<MmState>(mm_state_address());
}

// @ts-ignore: decorator
@inline
export function heap_lock(): usize {
  return mm_state_address() + offsetof<MmState>("heap_lock");
}

// @ts-ignore: decorator
@inline
export function free_head(order: u32): usize {
  return mm_state_address() + FREE_HEADS + (<usize>order << 2);
}

// @ts-ignore: decorator
@inline
export function xmalloc_head(cls: u32): usize {
  return mm_state_address() + XMALLOC_HEADS + (<usize>cls << 2);
}
