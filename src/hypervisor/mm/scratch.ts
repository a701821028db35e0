// One page of scratch memory for each CPU slot, for arguments of memory calls. No function that uses a part of it calls
// another that uses the same part.
import { slot } from "../percpu";
import { mm } from "./state";

/** One word for copies to and from the guest. */
export const SCRATCH_WORD: usize = 0;
/** Old page-table entry (mod_entry.ts). */
export const SCRATCH_OLD: usize = 16;
/** Entries of mmu_update and mmuext_op: SCRATCH_BATCH_SIZE bytes. */
export const SCRATCH_BATCH: usize = 64;
export const SCRATCH_BATCH_SIZE: usize = 960;
/** A hypercall's argument structure. */
export const SCRATCH_ARG: usize = 1024;
/** What a use of a grant gives (grant/status.ts). */
export const SCRATCH_GRANT_USE: usize = 1984;
/** Lists of frames: SCRATCH_LIST_SIZE bytes. */
export const SCRATCH_LIST: usize = 2048;
export const SCRATCH_LIST_SIZE: usize = 2048;

// @ts-ignore: decorator
@inline
export function mm_scratch(part: usize): usize {
  return <usize>mm().scratch + (<usize>slot << 12) + part;
}
