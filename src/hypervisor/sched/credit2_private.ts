// credit2's own data (Xen's common/sched/credit2.c). Time is in ns, and so is credit.
import { PerCpu } from "../state";
import { MICROSECS, MILLISECS } from "../time/clock";
import { CpuPool, RunQueue, SchedCpu, SchedDomain, SchedUnit } from "./unit";

/** Credit that everyone gets when the first in line has none left. */
export const CREDIT_INIT: i64 = 10_000_000;
/** What may be carried over such a reset, so that sleepers cannot save up. */
export const CARRYOVER_MAX: i64 = 500_000;
/** Shortest and longest stay on a CPU that is planned. */
export const MIN_TIMER: u64 = 500 * MICROSECS;
export const MAX_TIMER: u64 = 10 * MILLISECS;
/** A vCPU stays on its pCPU unless another one's credit is lower by this. */
export const MIGRATE_RESIST: i64 = 500_000;
/** What one that yields lets others be behind. */
export const YIELD_BIAS: i64 = 1_000_000;
/** Caps are reckoned over this long. */
export const CAP_PERIOD: u64 = 10 * MILLISECS;
export const DEFAULT_WEIGHT: u32 = 256;
export const DEFAULT_RATELIMIT_US: u32 = 1000;
/** Loads are averages over 2^30 ns, with 18 binary places. */
export const LOAD_WINDOW_SHIFT: u64 = 30;
export const LOAD_PRECISION: u64 = 18;
/** A difference of loads below this is let be: one vCPU while nobody waits, an eighth of one else. */
export const UNDERLOAD_TOLERANCE: i64 = 1 << 18;
export const OVERLOAD_TOLERANCE: i64 = 1 << 15;

/** An exponential average of how much ran or waited. */
@unmanaged
export class Load {
  now: u32;
  pad: u32;
  last: u64;
  average: i64;
}

/** A queue shared by some pCPUs of a pool. */
@unmanaged
export class RunqueueData {
  /** Those that wait, most credit first (a RunQueue, see runq_of). */
  runq: u64;
  runq_rest: u64;
  /** pCPUs, bit by bit. */
  cpus: u64;
  /** Every vCPU assigned here, whatever it does. */
  units: Unit2;
  /** The greatest weight among them: it burns one credit a nanosecond. */
  max_weight: u32;
  nr_units: u32;
  /** A Load. */
  load: u32;
  load_pad: u32;
  load_last: u64;
  load_average: i64;
  /** Where the load is going: `load` with what has just been moved here or away. */
  expected_load: i64;
}

@unmanaged
export class Private2 {
  ratelimit: u64;
  nr_runqueues: u32;
  pad: u32;
  /** RunqueueData[nr_runqueues], those in use have pCPUs. */
  runqueues: usize;
}

@unmanaged
export class Domain2 extends SchedDomain {
  weight: u32;
  /** Percent of a pCPU; 0: none. */
  cap: u32;
  /** Budget (ns) of a period, and what is left of it to be drawn; below 0: overdrawn. */
  tot_budget: i64;
  budget: i64;
  next_replenish: u64;
  /** Those that wait for budget (a RunQueue, see parked_of). */
  parked: u64;
  parked_rest: u64;
}

@unmanaged
export class Unit2 extends SchedUnit {
  rqd: RunqueueData;
  /** Others of the runqueue. */
  rq_next: Unit2;
  rq_prev: Unit2;
  weight: u32;
  credit: i64;
  /** Remainder of the last division by weight. */
  residual: u64;
  /** Budget it has drawn (capped domains). */
  budget: i64;
  /** A Load: of one vCPU, so that it counts 0 or 1. */
  load: u32;
  load_pad: u32;
  load_last: u64;
  load_average: i64;
}

@unmanaged
export class Cpu2 extends SchedCpu {
  rqd: RunqueueData;
}

// @ts-ignore: decorator
@inline
export function priv2(pool: CpuPool): Private2 {
  return changetype<Private2>(pool.priv);
}
// @ts-ignore: decorator
@inline
export function rqd_of(p: PerCpu): RunqueueData {
  return changetype<Cpu2>(p.sched).rqd;
}
// @ts-ignore: decorator
@inline
export function runq_of(r: RunqueueData): RunQueue {
  return changetype<RunQueue>(changetype<usize>(r) + offsetof<RunqueueData>("runq"));
}
// @ts-ignore: decorator
@inline
export function parked_of(d: Domain2): RunQueue {
  return changetype<RunQueue>(changetype<usize>(d) + offsetof<Domain2>("parked"));
}
// @ts-ignore: decorator
@inline
export function runqueue_load(r: RunqueueData): Load {
  return changetype<Load>(changetype<usize>(r) + offsetof<RunqueueData>("load"));
}
// @ts-ignore: decorator
@inline
export function unit_load(u: Unit2): Load {
  return changetype<Load>(changetype<usize>(u) + offsetof<Unit2>("load"));
}
/** Number i of the pool's runqueues. */
export function runqueue(prv: Private2, i: u32): RunqueueData {
  return changetype<RunqueueData>(prv.runqueues + i * <u32>offsetof<RunqueueData>());
}
