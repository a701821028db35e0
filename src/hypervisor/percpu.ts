// Per-CPU state: every mutable global of the hypervisor stands here. Each thread that enters the hypervisor has its
// own instance of the module, so a wasm global belongs to one CPU slot (docs/architecture.md). Anything two threads
// may touch lives in machine memory instead.
import { Vcpu } from "./domain";

/** This thread's slot: pCPUs first, then the threads of TypeScript domains. */
export let slot: u32 = 0;
/** 0: pCPU; 1: thread of a TypeScript domain. */
export let slot_kind: u32 = 0;
/** The vCPU this thread works for (idle vCPU on an idle pCPU). Null only before cpu_init. */
export let current: Vcpu = changetype<Vcpu>(0);
/** Address of the shared Hypervisor struct (state.ts). */
export let shared: usize = 0;
/** Depth of spinlocks held: no host import but panic may be called unless it is 0. */
export let locks_held: u32 = 0;
/** Spinlocks are checked to be taken in order (locks.ts). */
export let check_locks: bool = false;
/** A page of scratch memory of this slot (log lines, bounce frames, hypercall argument copies). */
export let scratch: usize = 0;
/** Bytes used of the log line under construction at scratch. */
export let log_len: u32 = 0;

/** Looks of long hypercalls whether they should make way (hypercalls/continuation.ts). */
export let preempt_checks: u32 = 0;

export function set_slot(s: u32, kind: u32): void {
  slot = s;
  slot_kind = kind;
}
export function set_check_locks(on: bool): void {
  check_locks = on;
}
export function set_current(v: Vcpu): void {
  current = v;
}
export function set_shared(p: usize): void {
  shared = p;
}
export function set_scratch(p: usize): void {
  scratch = p;
}
export function set_log_len(n: u32): void {
  log_len = n;
}
export function add_locks_held(n: i32): void {
  locks_held += n;
}
/** One more look; how many there were. */
export function count_preempt_check(): u32 {
  return preempt_checks++;
}
