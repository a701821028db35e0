// credit's accounting: every time slice the pCPUs' time is divided among the active vCPUs as credit, by weight and within
// caps. Who has some runs before who has none; who is over its cap is parked. sched_lock is held.
import { credit_enqueue, burn } from "./credit";
import {
  CreditDomain, CreditPrivate, CreditUnit, PRI_OVER, PRI_UNDER, credit_parked, credit_priv, credit_runq, deactivate, domain_to_front,
} from "./credit_private";
import { CpuPool, NO_UNIT, RunQueue, pool_timer, queue_insert_before, queue_remove } from "./unit";
import { percpu_of } from "../state";
import { set_timer } from "../time/timer";
import { resched_cpu } from "./tickle";

/** The pool's timer has fired: divides the next slice. It goes on while any vCPU is active. */
export function credit_account(pool: CpuPool, now: u64): void {
  const prv = credit_priv(pool);
  const slice = <i64>prv.tslice;
  const total_weight = <i64>prv.weight;
  let weight_left = total_weight;
  let to_give = slice * <i64>prv.nr_cpus;
  if (prv.balance < 0) to_give -= prv.balance;
  let sum: i64 = 0;
  let extra = false;
  let d = prv.active;
  while (changetype<usize>(d) != 0) {
    const next = d.next_active;
    const n = <i64>d.active_count;
    const weight = <i64>d.weight * n;
    weight_left -= weight;
    // A domain cannot use more than a pCPU for each vCPU, or its cap.
    let peak = n * slice;
    if (prv.balance < 0) peak += (-prv.balance * weight + total_weight - 1) / total_weight;
    let cap_each: i64 = 0;
    if (d.cap != 0) {
      const cap = (<i64>d.cap * slice) / 100;
      peak = min<i64>(peak, cap);
      cap_each = (cap + n - 1) / n;
    }
    let fair = (to_give * weight + total_weight - 1) / total_weight;
    if (fair > peak) {
      // What it cannot use goes to those that come after it.
      if (weight_left != 0) to_give += ((fair - peak) * total_weight + weight_left - 1) / weight_left;
      else if (extra) domain_to_front(prv, d);
      fair = peak;
    } else extra = true;
    sum += give(prv, d, fair / n, cap_each, now);
    d = next;
  }
  prv.balance = sum;
  sort_queues(pool);
  if (changetype<usize>(prv.active) != 0) set_timer(pool_timer(pool), now + prv.tslice);
}

/** Credit for each active vCPU of d; the sum of what they have then. */
function give(prv: CreditPrivate, d: CreditDomain, each: i64, cap_each: i64, now: u64): i64 {
  const slice = <i64>prv.tslice;
  let sum: i64 = 0;
  let u = d.active;
  while (changetype<usize>(u) != 0) {
    const next = u.next_active;
    if (u.vcpu.is_running) burn(u, now);
    u.credit += each;
    if (u.credit < 0) {
      u.priority = PRI_OVER;
      if (d.cap != 0 && u.credit < -cap_each) park(d, u);
      if (u.credit < -slice) u.credit = -slice;
    } else {
      if (u.priority == PRI_OVER) u.priority = PRI_UNDER;
      unpark(d, u, now);
      if (u.credit > slice) {
        // It sleeps most of the time, and takes part again when it runs again; or others have kept it waiting (Xen lets both go).
        if (!u.vcpu.is_running && u.queue == 0) {
          deactivate(prv, d, u);
          u.credit /= 2;
        } else u.credit = min<i64>(u.credit, 2 * slice);
      }
    }
    sum += u.credit;
    u = next;
  }
  return sum;
}

function park(d: CreditDomain, u: CreditUnit): void {
  if (u.vcpu.is_running) {
    u.parks = 1;
    resched_cpu(percpu_of(u.vcpu.processor));
  } else if (u.queue != 0 && u.queue != changetype<usize>(credit_parked(d))) {
    queue_remove(u);
    queue_insert_before(credit_parked(d), NO_UNIT, u);
  } else if (u.queue == 0) u.parks = 1;
}

/** Parked or about to be: lets it run. */
export function unpark(d: CreditDomain, u: CreditUnit, now: u64): void {
  u.parks = 0;
  if (u.queue != changetype<usize>(credit_parked(d))) return;
  queue_remove(u);
  credit_enqueue(u);
}

/** Priorities have changed: puts the queues in order, and asks pCPUs whose first in line comes before who runs. */
function sort_queues(pool: CpuPool): void {
  for (let m = pool.cpus; m != 0; m &= m - 1) {
    const p = percpu_of(<u32>ctz(m));
    const q = credit_runq(p);
    sort(q);
    const first = changetype<CreditUnit>(q.head);
    if (changetype<usize>(first) != 0 && !p.current.is_idle && first.priority > changetype<CreditUnit>(p.current.sched).priority) resched_cpu(p);
  }
}

/** Those without credit go behind those with, each in the order they have. */
function sort(q: RunQueue): void {
  const last = q.tail;
  let at = q.head;
  while (changetype<usize>(at) != 0) {
    const next = at.next;
    const end = at == last;
    if (changetype<CreditUnit>(at).priority == PRI_OVER) {
      queue_remove(at);
      queue_insert_before(q, NO_UNIT, at);
    }
    if (end) break;
    at = next;
  }
}
