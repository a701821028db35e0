// Counters for --stats, one CpuStats for each CPU slot (src/machine/stats-table.ts), written by that slot alone; and, if the
// machine was asked for it (MachineInfo.timing), where the time goes. Reading the clock costs more than a null hypercall, so
// times are off by default.
import { CpuState, CpuStats, ENGINE_COUNTERS_COUNT, ENGINE_COUNTERS_OFFSET } from "./abi";
import { Domain } from "./domain";
import { host_now } from "./host";
import { slot } from "./percpu";
import { xen } from "./state";

// @ts-ignore: decorator
@inline
function mine(): usize {
  return xen().stats + slot * <u32>CpuStats.SIZE;
}

// @ts-ignore: decorator
@inline
function add(at: usize, n: u64): void {
  store<u64>(at, load<u64>(at) + n);
}

// @ts-ignore: decorator
@inline
export function count_hypercall(d: Domain, op: u32): void {
  add(mine() + CpuStats.hypercalls + (op << 3), 1);
  if (d.hypercall_counts != 0) add(d.hypercall_counts + (op << 3), 1);
}

// @ts-ignore: decorator
@inline
export function count_exit(reason: u32): void {
  add(mine() + CpuStats.exits + ((reason & 15) << 3), 1);
}

// @ts-ignore: decorator
@inline
export function count_exception(vector: u32): void {
  add(mine() + CpuStats.exceptions + ((vector & 31) << 3), 1);
}

/** A stay of a vCPU on this pCPU has ended: instructions retired, and what the engine counted in its CpuState. */
export function count_run(cpu: usize, instructions: u64): void {
  const at = mine();
  add(at + CpuStats.instructions, instructions);
  for (let i: usize = 0; i < <usize>ENGINE_COUNTERS_COUNT; i++) {
    const counter = cpu + ENGINE_COUNTERS_OFFSET + (i << 3);
    add(at + CpuStats.engine + (i << 3), load<u64>(counter));
    store<u64>(counter, 0);
  }
}

// @ts-ignore: decorator
@inline
export function timing(): bool {
  return xen().timing != 0;
}

/** A reading of the clock for the functions below. No lock is held. */
export function time_stamp(): u64 {
  return <u64>host_now();
}

/** Guest code ran from `start` until now; returns now. */
export function time_guest(start: u64): u64 {
  const now = time_stamp();
  add(mine() + CpuStats.guest_ns, now - start);
  return now;
}

/** An exit was handled from `start` until now. */
export function time_exit(reason: u32, start: u64): void {
  add(mine() + CpuStats.exit_ns + ((reason & 15) << 3), time_stamp() - start);
}

/** A hypercall took from `start` until now. A multicall's time contains its parts', which are counted as well. */
export function time_hypercall(op: u32, start: u64): void {
  add(mine() + CpuStats.hypercall_ns + (op << 3), time_stamp() - start);
}
