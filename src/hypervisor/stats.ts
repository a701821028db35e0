// Counters for --stats, in machine memory: per domain hypercalls by number, per machine exits by reason. Not atomic:
// a count lost to a race between two CPUs is no matter. MachineInfo.stats holds the address of the machine's table.
import { Domain } from "./domain";
import { xen } from "./state";

/** u64 exits[16] by EXIT.*, u64 exceptions[32] by vector, u64 hypercalls[64] of all domains. */
export const STATS_EXITS: u32 = 0;
export const STATS_EXCEPTIONS: u32 = 128;
export const STATS_HYPERCALLS: u32 = 384;
export const STATS_SIZE: u32 = 896;

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
