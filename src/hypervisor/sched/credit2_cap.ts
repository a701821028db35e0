// credit2's caps: a domain has a budget for each period, which its vCPUs draw from in parts while they run. Who finds none
// is parked until the next period. What was overdrawn is taken from the next one. sched_lock is held.
import { Domain, domain_vcpu } from "../domain";
import { set_timer, stop_timer } from "../time/timer";
import { CAP_PERIOD, Domain2, Unit2, parked_of } from "./credit2_private";
import { enqueue } from "./credit2";
import { NO_UNIT, domain_sched, domain_timer, queue_insert_before, queue_remove, unit_of } from "./unit";

/** The least that is drawn at once, in ns. */
const LEAST_DRAW: i64 = 500_000;

// @ts-ignore: decorator
@inline
function owner(u: Unit2): Domain2 {
  return domain_sched<Domain2>(u.vcpu.domain);
}

// @ts-ignore: decorator
@inline
export function is_capped(u: Unit2): bool {
  return owner(u).cap != 0;
}

/** Brings the budget up to date: whole periods that have passed. */
function replenish(s: Domain2, now: u64): void {
  if (now < s.next_replenish) return;
  const periods = (now - s.next_replenish) / CAP_PERIOD + 1;
  s.next_replenish += periods * CAP_PERIOD;
  // What was not used is not saved up.
  s.budget = periods > 1000 ? s.tot_budget : min<i64>(s.budget + <i64>periods * s.tot_budget, s.tot_budget);
}

/** Has u budget, now or by drawing some? Starts the period's timer. */
export function budget_draw(u: Unit2, now: u64): bool {
  const s = owner(u);
  replenish(s, now);
  const t = domain_timer(s.domain);
  if (!t.active) set_timer(t, s.next_replenish);
  if (u.budget > 0) return true;
  s.budget += u.budget;
  u.budget = 0;
  if (s.budget <= 0) return false;
  const part = max<i64>(s.tot_budget / <i64>s.domain.max_vcpus, LEAST_DRAW);
  u.budget = min<i64>(part, s.budget);
  s.budget -= u.budget;
  return true;
}

/** u does not run or wait any more: others of its domain may use what it has drawn. */
export function budget_return(u: Unit2): void {
  owner(u).budget += u.budget;
  u.budget = 0;
}

export function park(u: Unit2): void {
  queue_insert_before(parked_of(owner(u)), NO_UNIT, u);
}

/** Those that are parked try again, each once. */
function unpark(s: Domain2, now: u64): void {
  const q = parked_of(s);
  for (let n = q.length; n != 0; n--) {
    const u = changetype<Unit2>(q.head);
    queue_remove(u);
    enqueue(u, now);
  }
}

/** A period begins. The timer goes on while anything of the domain wants to run. */
export function credit2_replenish(d: Domain, now: u64): void {
  const s = domain_sched<Domain2>(d);
  if (s.cap == 0) return;
  replenish(s, now);
  unpark(s, now);
  if (wants_cpu(d)) set_timer(domain_timer(d), s.next_replenish);
}

function wants_cpu(d: Domain): bool {
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) != 0 && (v.is_running || unit_of<Unit2>(v).queue != 0)) return true;
  }
  return false;
}

/** A new cap in percent of a pCPU, 0: none. Its first period begins now. */
export function cap_set(d: Domain, cap: u32, now: u64): void {
  const s = domain_sched<Domain2>(d);
  if (cap == s.cap) return;
  s.cap = cap;
  s.tot_budget = (<i64>CAP_PERIOD * <i64>cap) / 100;
  s.budget = s.tot_budget;
  s.next_replenish = now + CAP_PERIOD;
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) != 0) unit_of<Unit2>(v).budget = 0;
  }
  if (cap == 0) stop_timer(domain_timer(d));
  unpark(s, now);
  if (cap != 0 && !d.is_ts && wants_cpu(d)) set_timer(domain_timer(d), s.next_replenish);
}
