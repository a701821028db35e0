// Loads of credit2's runqueues: how many vCPUs run or wait there, on average; where a vCPU is placed by them; and the
// balancing that moves vCPUs that wait. sched_lock is held.
import { Vcpu } from "../domain";
import { cpu_cycle, vcpu_cpus, vcpu_soft_cpus } from "./affinity";
import { enqueue, join_runqueue, leave_runqueue } from "./credit2";
import { LOAD_PRECISION, LOAD_WINDOW_SHIFT, Load, OVERLOAD_TOLERANCE, Private2, RunqueueData, UNDERLOAD_TOLERANCE, Unit2, runq_of, runqueue, runqueue_load, unit_load } from "./credit2_private";
import { queue_remove } from "./unit";

/** Moves the average on to `now`, then changes the count. */
function load_update(l: Load, change: i32, now: u64): void {
  const window: u64 = 1 << LOAD_WINDOW_SHIFT;
  const level = <i64>l.now << <i64>LOAD_PRECISION;
  if (now > l.last) {
    const delta = now - l.last;
    if (delta >= window) l.average = level;
    else l.average += ((level - l.average) * <i64>delta) >> <i64>LOAD_WINDOW_SHIFT;
    l.last = now;
  }
  l.now += change;
}

/** u has begun (1) or ceased (-1) to want a CPU. */
export function count_runnable(u: Unit2, change: i32, now: u64): void {
  const r = u.rqd;
  const before = runqueue_load(r).average;
  load_update(runqueue_load(r), change, now);
  load_update(unit_load(u), change, now);
  r.expected_load += runqueue_load(r).average - before;
}

/** u is assigned to r (it runs and waits nowhere, or is counted by its own load). */
export function load_joins(r: RunqueueData, u: Unit2, now: u64): void {
  load_update(runqueue_load(r), unit_load(u).now, now);
  load_update(unit_load(u), 0, now);
  r.expected_load += unit_load(u).average;
}

export function load_leaves(r: RunqueueData, u: Unit2): void {
  runqueue_load(r).now -= unit_load(u).now;
  r.expected_load -= unit_load(u).average;
}

/** The pCPU for v: of the runqueue that is expected to have least to do, where it would rather be if it says so. */
export function place_in(prv: Private2, v: Vcpu, now: u64): u32 {
  const hard = vcpu_cpus(v);
  const soft = vcpu_soft_cpus(v);
  const wanted = soft != 0 ? soft : hard;
  let best = changetype<RunqueueData>(0);
  for (let i: u32 = 0; i < prv.nr_runqueues; i++) {
    const r = runqueue(prv, i);
    if ((r.cpus & wanted) == 0) continue;
    load_update(runqueue_load(r), 0, now);
    if (changetype<usize>(best) == 0 || per_cpu(r) < per_cpu(best)) best = r;
  }
  return cpu_cycle(best.cpus & wanted, v.processor);
}

function per_cpu(r: RunqueueData): i64 {
  return r.expected_load / <i64>popcnt(r.cpus);
}

/**
 * Looks for the runqueue whose load differs most from that of `mine`, and moves one vCPU, or swaps two, if that makes them
 * more even. True: something has come to wait in `mine`.
 */
export function balance(prv: Private2, mine: RunqueueData, now: u64): bool {
  let other = changetype<RunqueueData>(0);
  let most: i64 = 0;
  load_update(runqueue_load(mine), 0, now);
  for (let i: u32 = 0; i < prv.nr_runqueues; i++) {
    const r = runqueue(prv, i);
    if (r == mine || r.cpus == 0) continue;
    load_update(runqueue_load(r), 0, now);
    const delta = abs<i64>(expected(r) - expected(mine));
    if (changetype<usize>(other) == 0 || delta > most) {
      other = r;
      most = delta;
    }
  }
  if (changetype<usize>(other) == 0) return false;
  // A pCPU that would be idle takes whatever waits elsewhere.
  const starved = runq_of(mine).length == 0 && runqueue_load(mine).now < <u32>popcnt(mine.cpus);
  if (starved) {
    const u = first_for(most_waiting(prv, mine), mine);
    if (changetype<usize>(u) == 0) return false;
    migrate(u, mine, now);
    return true;
  }
  const busiest = max<u32>(runqueue_load(mine).now, runqueue_load(other).now);
  const tolerance = busiest <= <u32>popcnt(mine.cpus) ? UNDERLOAD_TOLERANCE : OVERLOAD_TOLERANCE;
  if (most < tolerance) return false;
  return even_out(mine, other, now);
}

/** What the load is expected to be, from the average and what was moved lately. */
function expected(r: RunqueueData): i64 {
  // Moves fade as the average catches up with them.
  r.expected_load += (runqueue_load(r).average - r.expected_load) >> 3;
  return per_cpu(r);
}

function most_waiting(prv: Private2, mine: RunqueueData): RunqueueData {
  let best = mine;
  for (let i: u32 = 0; i < prv.nr_runqueues; i++) {
    const r = runqueue(prv, i);
    if (r != mine && r.cpus != 0 && runq_of(r).length > (best == mine ? 0 : runq_of(best).length)) best = r;
  }
  return best;
}

/** The load of one that waits, up to now. */
function load_of(u: Unit2, now: u64): i64 {
  load_update(unit_load(u), 0, now);
  return unit_load(u).average;
}

/** The first that waits in `from` and may run in `to`, or null. */
function first_for(from: RunqueueData, to: RunqueueData): Unit2 {
  if (from == to) return changetype<Unit2>(0);
  for (let at = runq_of(from).head; changetype<usize>(at) != 0; at = at.next) {
    if ((vcpu_cpus(at.vcpu) & to.cpus) != 0) return changetype<Unit2>(at);
  }
  return changetype<Unit2>(0);
}

/** The move or the swap of vCPUs that wait which leaves the least difference. */
function even_out(a: RunqueueData, b: RunqueueData, now: u64): bool {
  const difference = expected(a) - expected(b);
  let least = abs<i64>(difference);
  let push = changetype<Unit2>(0);
  let pull = changetype<Unit2>(0);
  let at = runq_of(a).head;
  for (let first = true; first || changetype<usize>(at) != 0; ) {
    // The first round pushes nothing.
    const x = first ? changetype<Unit2>(0) : changetype<Unit2>(at);
    if (!first) at = at.next;
    first = false;
    if (changetype<usize>(x) != 0 && (vcpu_cpus(x.vcpu) & b.cpus) == 0) continue;
    const given = changetype<usize>(x) != 0 ? load_of(x, now) : 0;
    let rest = abs<i64>(difference - given / <i64>popcnt(a.cpus) - given / <i64>popcnt(b.cpus));
    if (rest < least) {
      least = rest;
      push = x;
      pull = changetype<Unit2>(0);
    }
    for (let other = runq_of(b).head; changetype<usize>(other) != 0; other = other.next) {
      if ((vcpu_cpus(other.vcpu) & a.cpus) == 0) continue;
      const moved = given - load_of(changetype<Unit2>(other), now);
      rest = abs<i64>(difference - moved / <i64>popcnt(a.cpus) - moved / <i64>popcnt(b.cpus));
      if (rest < least) {
        least = rest;
        push = x;
        pull = changetype<Unit2>(other);
      }
    }
  }
  if (changetype<usize>(push) != 0) migrate(push, b, now);
  if (changetype<usize>(pull) != 0) migrate(pull, a, now);
  return changetype<usize>(pull) != 0;
}

/** One that waits goes to another runqueue. Credit means the same in all of them. */
function migrate(u: Unit2, to: RunqueueData, now: u64): void {
  queue_remove(u);
  leave_runqueue(u);
  const v = u.vcpu;
  const soft = vcpu_soft_cpus(v) & to.cpus;
  v.processor = cpu_cycle(soft != 0 ? soft : vcpu_cpus(v) & to.cpus, v.processor);
  join_runqueue(u, to, now);
  enqueue(u, now);
}
