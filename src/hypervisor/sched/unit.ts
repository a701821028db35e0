// What the schedulers keep of vCPUs, domains, pCPUs and pools (Xen's private.h). Each of these structs is allocated with
// the thing it belongs to, once, large enough for any scheduler, which lays its own class over it: so changing a domain's
// scheduler needs no memory. All of it is guarded by sched_lock.
import { Domain, Vcpu } from "../domain";
import { PerCpu } from "../state";
import { BUG_ON } from "../log";
import { Timer } from "../time/timer";

/** A queue of vCPUs, in an order that its scheduler keeps. */
@unmanaged
export class RunQueue {
  head: SchedUnit;
  tail: SchedUnit;
  length: u32;
  pad: u32;
}

/** Of a vCPU. Fields that every scheduler has; each extends it. */
@unmanaged
export class SchedUnit {
  vcpu: Vcpu;
  /** The queue it waits in (address of a RunQueue), 0: none; and its neighbours there. */
  queue: usize;
  next: SchedUnit;
  prev: SchedUnit;
  /** When its running time was last charged, and when it was last put on a pCPU. */
  start: u64;
  switched_in: u64;
  /** It asked to give up the CPU (SCHEDOP_yield): looked at once by schedule. */
  yielded: u32;
  pad: u32;
}

/** Of a domain. */
@unmanaged
export class SchedDomain {
  domain: Domain;
  pad: u32;
}

/** Of a pCPU. */
@unmanaged
export class SchedCpu {
  /** Its pool, null: none (free, or offline). */
  pool: CpuPool;
  /** Out of use (sysctl cpu_hotplug). */
  offline: u32;
  /** It has been asked to schedule for the sake of a vCPU that woke up, and has not yet. */
  tickled: u32;
  pad: u32;
  /** System time at which it must schedule again. */
  deadline: u64;
}

/** Bytes allocated for each, whatever scheduler uses them. */
export const SCHED_UNIT_SIZE: u32 = 192;
export const SCHED_DOMAIN_SIZE: u32 = 128;
/** A domain's and a pool's scheduler have one Timer each, in the same allocation, behind the rest. */
const DOMAIN_TIMER: u32 = SCHED_DOMAIN_SIZE;
const POOL_TIMER: u32 = 64;
export const SCHED_CPU_SIZE: u32 = 128;

/** A CPU pool. */
@unmanaged
export class CpuPool {
  id: u32;
  /** XEN_SCHEDULER. */
  sched_id: u32;
  /** Bit n: pCPU n. */
  cpus: u64;
  n_dom: u32;
  /** The scheduler's own data. */
  priv: usize;
  /** Pools in ascending id. */
  next: CpuPool;
}

export const NO_UNIT = changetype<SchedUnit>(0);
export const NO_POOL = changetype<CpuPool>(0);
export const NO_VCPU = changetype<Vcpu>(0);

/** The scheduler's data of v, as the class of its scheduler. */
// @ts-ignore: decorator
@inline
export function unit_of<T>(v: Vcpu): T {
  return changetype<T>(v.sched);
}
// @ts-ignore: decorator
@inline
export function domain_sched<T>(d: Domain): T {
  return changetype<T>(d.sched);
}
// @ts-ignore: decorator
@inline
export function cpu_sched<T>(p: PerCpu): T {
  return changetype<T>(p.sched);
}

export function domain_timer(d: Domain): Timer {
  return changetype<Timer>(d.sched + DOMAIN_TIMER);
}
export function pool_timer(pool: CpuPool): Timer {
  return changetype<Timer>(changetype<usize>(pool) + POOL_TIMER);
}
export const SCHED_DOMAIN_ALLOCATION: u32 = SCHED_DOMAIN_SIZE + <u32>offsetof<Timer>();
export const POOL_ALLOCATION: u32 = POOL_TIMER + <u32>offsetof<Timer>();

/** Puts u into q before `at`; null: at the end. */
export function queue_insert_before(q: RunQueue, at: SchedUnit, u: SchedUnit): void {
  BUG_ON(u.queue != 0, "a vCPU is queued twice");
  const prev = changetype<usize>(at) != 0 ? at.prev : q.tail;
  u.next = at;
  u.prev = prev;
  if (changetype<usize>(at) != 0) at.prev = u;
  else q.tail = u;
  if (changetype<usize>(prev) != 0) prev.next = u;
  else q.head = u;
  u.queue = changetype<usize>(q);
  q.length += 1;
}

/** Takes u out of the queue it is in. */
export function queue_remove(u: SchedUnit): void {
  const q = changetype<RunQueue>(u.queue);
  if (changetype<usize>(u.prev) != 0) u.prev.next = u.next;
  else q.head = u.next;
  if (changetype<usize>(u.next) != 0) u.next.prev = u.prev;
  else q.tail = u.prev;
  u.queue = 0;
  q.length -= 1;
}
