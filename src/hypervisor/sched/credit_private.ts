// credit's own data (Xen's common/sched/credit.c). Credit is in ns.
import { PerCpu } from "../state";
import { MICROSECS, MILLISECS } from "../time/clock";
import { CpuPool, RunQueue, SchedCpu, SchedDomain, SchedUnit } from "./unit";

/** Priorities: who has just woken up, who has credit, who has none. */
export const PRI_BOOST: i32 = 0;
export const PRI_UNDER: i32 = -1;
export const PRI_OVER: i32 = -2;
export const PRI_IDLE: i32 = -64;
export const DEFAULT_WEIGHT: u32 = 256;
export const DEFAULT_TSLICE_MS: u32 = 30;
export const DEFAULT_RATELIMIT_US: u32 = 1000;
/** Running vCPUs are looked at so often: a boost ends, and it counts as active. */
export const TICK: u64 = 10 * MILLISECS;

@unmanaged
export class CreditPrivate {
  tslice: u64;
  ratelimit: u64;
  migration_delay: u64;
  nr_cpus: u32;
  /** Sum of the weights of all active vCPUs. */
  weight: u32;
  /** Domains with active vCPUs. */
  active: CreditDomain;
  pad: u32;
  /** Sum of all credit at the last accounting. */
  balance: i64;
}

@unmanaged
export class CreditDomain extends SchedDomain {
  weight: u32;
  /** Percent of a pCPU; 0: none. */
  cap: u32;
  /** Its active vCPUs, and how many. */
  active: CreditUnit;
  active_count: u32;
  next_active: CreditDomain;
  prev_active: CreditDomain;
  /** Those that have used more than their cap (a RunQueue). */
  parked: u64;
  parked_rest: u64;
}

@unmanaged
export class CreditUnit extends SchedUnit {
  priority: i32;
  active: u32;
  credit: i64;
  /** It is over its cap, and is to be parked when it leaves its pCPU. */
  parks: u32;
  next_active: CreditUnit;
  prev_active: CreditUnit;
  pad2: u32;
  slice_end: u64;
}

@unmanaged
export class CreditCpu extends SchedCpu {
  /** Those that wait for this pCPU, by priority (a RunQueue). */
  runq: u64;
  runq_rest: u64;
  next_tick: u64;
}

// ── lists and places ──────────────────────────────────────────────────────────────────────────────────────────────

// @ts-ignore: decorator
@inline
export function credit_priv(pool: CpuPool): CreditPrivate {
  return changetype<CreditPrivate>(pool.priv);
}
// @ts-ignore: decorator
@inline
export function credit_runq(p: PerCpu): RunQueue {
  return changetype<RunQueue>(changetype<usize>(p.sched) + offsetof<CreditCpu>("runq"));
}
// @ts-ignore: decorator
@inline
export function credit_parked(d: CreditDomain): RunQueue {
  return changetype<RunQueue>(changetype<usize>(d) + offsetof<CreditDomain>("parked"));
}

export function credit_pool_defaults(prv: CreditPrivate): void {
  prv.tslice = <u64>DEFAULT_TSLICE_MS * MILLISECS;
  prv.ratelimit = <u64>DEFAULT_RATELIMIT_US * MICROSECS;
}

/** u takes part in the accounting from now on. True: it is the first of all. */
export function activate(prv: CreditPrivate, d: CreditDomain, u: CreditUnit): bool {
  u.active = 1;
  u.prev_active = changetype<CreditUnit>(0);
  u.next_active = d.active;
  if (changetype<usize>(d.active) != 0) d.active.prev_active = u;
  d.active = u;
  prv.weight += d.weight;
  d.active_count += 1;
  if (d.active_count > 1) return false;
  const first = changetype<usize>(prv.active) == 0;
  push_domain(prv, d);
  return first;
}

function push_domain(prv: CreditPrivate, d: CreditDomain): void {
  d.prev_active = changetype<CreditDomain>(0);
  d.next_active = prv.active;
  if (changetype<usize>(prv.active) != 0) prv.active.prev_active = d;
  prv.active = d;
}

function remove_domain(prv: CreditPrivate, d: CreditDomain): void {
  if (changetype<usize>(d.prev_active) != 0) d.prev_active.next_active = d.next_active;
  else prv.active = d.next_active;
  if (changetype<usize>(d.next_active) != 0) d.next_active.prev_active = d.prev_active;
}

/** The next accounting begins with d. */
export function domain_to_front(prv: CreditPrivate, d: CreditDomain): void {
  remove_domain(prv, d);
  push_domain(prv, d);
}

export function deactivate(prv: CreditPrivate, d: CreditDomain, u: CreditUnit): void {
  u.active = 0;
  if (changetype<usize>(u.prev_active) != 0) u.prev_active.next_active = u.next_active;
  else d.active = u.next_active;
  if (changetype<usize>(u.next_active) != 0) u.next_active.prev_active = u.prev_active;
  prv.weight -= d.weight;
  d.active_count -= 1;
  if (d.active_count == 0) remove_domain(prv, d);
}
