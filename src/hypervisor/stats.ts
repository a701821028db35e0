// Counters for --stats, in machine memory: per domain hypercalls by number, per machine exits by reason. Not atomic:
// a count lost to a race between two CPUs is no matter. MachineInfo.stats holds the address of the machine's table.
import { Domain } from "./domain";
import { xen } from "./state";

/** u64 exits[16] by EXIT.*, exceptions[32] by vector, hypercalls[64] of all domains, instructions, data TLB misses. */
export const STATS_EXITS: u32 = 0;
export const STATS_EXCEPTIONS: u32 = 128;
export const STATS_HYPERCALLS: u32 = 384;
export const STATS_INSTRUCTIONS: u32 = 896;
export const STATS_TLB_MISSES: u32 = 904;
export const STATS_SIZE: u32 = 912;

// @ts-ignore: decorator
@inline
function bump(at: usize): void {
  store<u64>(at, load<u64>(at) + 1);
}

// @ts-ignore: decorator
@inline
export function count_hypercall(d: Domain, op: u32): void {
  bump(xen().stats + STATS_HYPERCALLS + (op << 3));
  if (d.hypercall_counts != 0) bump(d.hypercall_counts + (op << 3));
}

/** A stay of a vCPU on a pCPU: instructions retired and TLB misses. */
export function count_run(instructions: u64, tlb_misses: u64): void {
  const at = xen().stats;
  atomic.add<u64>(at + STATS_INSTRUCTIONS, instructions);
  atomic.add<u64>(at + STATS_TLB_MISSES, tlb_misses);
}

// @ts-ignore: decorator
@inline
export function count_exit(reason: u32): void {
  bump(xen().stats + STATS_EXITS + ((reason & 15) << 3));
}

// @ts-ignore: decorator
@inline
export function count_exception(vector: u32): void {
  bump(xen().stats + STATS_EXCEPTIONS + ((vector & 31) << 3));
}
