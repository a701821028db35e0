// credit2, the default scheduler (Xen's common/sched/credit2.c): every vCPU burns credit while it runs, the faster the less
// its weight; who has most is next; when the next in line has none left, everyone gets the same amount. pCPUs share
// runqueues, which are balanced by their loads (credit2_load.ts). A capped domain draws on a budget (credit2_cap.ts).
// sched_lock is held throughout.
import { DomctlSchedCredit, ERRNO, SCHED_RATELIMIT, SysctlCredit2Schedule } from "../abi";
import { Domain, Vcpu, domain_vcpu } from "../domain";
import { xfree, xzalloc } from "../mm/xmalloc";
import { PerCpu, percpu_of, xen } from "../state";
import { MICROSECS } from "../time/clock";
import { in_mask, may_run_on, pick_idle, vcpu_cpus } from "./affinity";
import { budget_draw, budget_return, cap_set, is_capped, park } from "./credit2_cap";
import { balance, count_runnable, load_joins, load_leaves, place_in } from "./credit2_load";
import {
  CARRYOVER_MAX, CREDIT_INIT, Cpu2, DEFAULT_RATELIMIT_US, DEFAULT_WEIGHT, Domain2, MAX_TIMER, MIGRATE_RESIST, MIN_TIMER, Private2, RunqueueData,
  Unit2, YIELD_BIAS, priv2, rqd_of, runq_of, runqueue,
} from "./credit2_private";
import { resched_cpu, tickle_cpu } from "./tickle";
import { CpuPool, NO_VCPU, cpu_sched, domain_sched, queue_insert_before, queue_remove, unit_of } from "./unit";

const NO_UNIT2 = changetype<Unit2>(0);

// ── pools and pCPUs ───────────────────────────────────────────────────────────────────────────────────────────────

/** The scheduler's data of a new pool; called without locks. False: no memory. */
export function credit2_pool_init(pool: CpuPool): bool {
  const prv = changetype<Private2>(xzalloc(offsetof<Private2>()));
  if (changetype<usize>(prv) == 0) return false;
  prv.ratelimit = <u64>DEFAULT_RATELIMIT_US * MICROSECS;
  prv.nr_runqueues = xen().pcpus;
  prv.runqueues = xzalloc(prv.nr_runqueues * <u32>offsetof<RunqueueData>());
  if (prv.runqueues == 0) {
    xfree(changetype<usize>(prv));
    return false;
  }
  pool.priv = changetype<usize>(prv);
  return true;
}

export function credit2_pool_free(pool: CpuPool): void {
  xfree(priv2(pool).runqueues);
  xfree(pool.priv);
}

/** The pCPU joins the first runqueue that has room for it (xen().credit2_runqueue_cpus), else it opens one. */
export function credit2_cpu_add(pool: CpuPool, cpu: u32): void {
  const prv = priv2(pool);
  let chosen = changetype<RunqueueData>(0);
  for (let i: u32 = 0; i < prv.nr_runqueues; i++) {
    const r = runqueue(prv, i);
    if (r.cpus == 0) {
      if (changetype<usize>(chosen) == 0) chosen = r;
    } else if (<u32>popcnt(r.cpus) < xen().credit2_runqueue_cpus) {
      chosen = r;
      break;
    }
  }
  chosen.cpus |= (<u64>1) << cpu;
  if (chosen.max_weight == 0) chosen.max_weight = 1;
  cpu_sched<Cpu2>(percpu_of(cpu)).rqd = chosen;
}

/** No vCPU has it for its processor any more. */
export function credit2_cpu_remove(_pool: CpuPool, cpu: u32): void {
  const c = cpu_sched<Cpu2>(percpu_of(cpu));
  c.rqd.cpus &= ~((<u64>1) << cpu);
  c.rqd = changetype<RunqueueData>(0);
}

// ── domains and vCPUs ─────────────────────────────────────────────────────────────────────────────────────────────

export function credit2_domain_init(d: Domain): void {
  domain_sched<Domain2>(d).weight = DEFAULT_WEIGHT;
}

/** v, which runs and waits nowhere, gets its processor and so its runqueue. */
export function credit2_place(v: Vcpu, now: u64): void {
  const u = unit_of<Unit2>(v);
  if (changetype<usize>(u.rqd) != 0) leave_runqueue(u);
  v.processor = place_in(priv2(v.domain.pool), v, now);
  join_runqueue(u, rqd_of(percpu_of(v.processor)), now);
}

export function credit2_vcpu_insert(v: Vcpu, now: u64): void {
  const u = unit_of<Unit2>(v);
  u.weight = domain_sched<Domain2>(v.domain).weight;
  u.credit = CREDIT_INIT;
  u.start = now;
  credit2_place(v, now);
}

export function credit2_vcpu_remove(v: Vcpu): void {
  const u = unit_of<Unit2>(v);
  budget_return(u);
  leave_runqueue(u);
  u.rqd = changetype<RunqueueData>(0);
}

export function join_runqueue(u: Unit2, r: RunqueueData, now: u64): void {
  u.rqd = r;
  u.rq_prev = NO_UNIT2;
  u.rq_next = r.units;
  if (changetype<usize>(r.units) != 0) r.units.rq_prev = u;
  r.units = u;
  r.nr_units += 1;
  if (u.weight > r.max_weight) r.max_weight = u.weight;
  load_joins(r, u, now);
}

export function leave_runqueue(u: Unit2): void {
  const r = u.rqd;
  if (changetype<usize>(u.rq_prev) != 0) u.rq_prev.rq_next = u.rq_next;
  else r.units = u.rq_next;
  if (changetype<usize>(u.rq_next) != 0) u.rq_next.rq_prev = u.rq_prev;
  r.nr_units -= 1;
  if (u.weight == r.max_weight) find_max_weight(r);
  load_leaves(r, u);
}

function find_max_weight(r: RunqueueData): void {
  let most: u32 = 1;
  for (let u = r.units; changetype<usize>(u) != 0; u = u.rq_next) if (u.weight > most) most = u.weight;
  r.max_weight = most;
}

// ── credit ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Takes the credit (and budget) of the time since u was last charged. */
function burn(u: Unit2, now: u64): void {
  if (now <= u.start) return;
  const delta = now - u.start;
  const scaled = delta * <u64>u.rqd.max_weight + u.residual;
  u.credit -= <i64>(scaled / <u64>u.weight);
  u.residual = scaled % <u64>u.weight;
  if (is_capped(u)) u.budget -= <i64>delta;
  u.start = now;
}

/** The next in line has no credit: everyone of the runqueue gets as much as it takes for that one to have some. */
function reset_credit(r: RunqueueData, next: Unit2, now: u64): void {
  let amount = CREDIT_INIT;
  if (next.credit < -CREDIT_INIT) amount += (-next.credit / CREDIT_INIT) * CREDIT_INIT;
  for (let u = r.units; changetype<usize>(u) != 0; u = u.rq_next) {
    if (u.vcpu.is_running) burn(u, now);
    u.credit = min<i64>(u.credit + amount, CREDIT_INIT + CARRYOVER_MAX);
  }
}

/** Behind all that have as much credit. */
export function runq_insert(r: RunqueueData, u: Unit2): void {
  let at = runq_of(r).tail;
  while (changetype<usize>(at) != 0 && changetype<Unit2>(at).credit < u.credit) at = at.prev;
  queue_insert_before(runq_of(r), changetype<usize>(at) != 0 ? at.next : runq_of(r).head, u);
}

/** Queues u and finds a pCPU for it; without budget it is parked. */
export function enqueue(u: Unit2, now: u64): void {
  if (is_capped(u) && !budget_draw(u, now)) {
    park(u);
    return;
  }
  runq_insert(u.rqd, u);
  tickle(u, now);
}

/** An idle pCPU of the runqueue; else the one whose vCPU has least credit, if that is less than u's. */
function tickle(u: Unit2, now: u64): void {
  const v = u.vcpu;
  const allowed = vcpu_cpus(v) & u.rqd.cpus;
  let idle: u64 = 0;
  let worst = changetype<PerCpu>(0);
  let least = u.credit;
  for (let m = allowed; m != 0; m &= m - 1) {
    const cpu = <u32>ctz(m);
    const p = percpu_of(cpu);
    // It is about to choose anyway.
    if (p.sched.tickled) continue;
    if (p.current.is_idle) {
      idle |= (<u64>1) << cpu;
      continue;
    }
    const c = unit_of<Unit2>(p.current);
    burn(c, now);
    let credit = c.credit;
    if (cpu != v.processor) credit += MIGRATE_RESIST;
    // One that may be where it would rather be runs before one that may not.
    if (!in_mask(v.cpu_soft_affinity, cpu)) credit += CREDIT_INIT;
    else if (!in_mask(p.current.cpu_soft_affinity, cpu)) credit -= CREDIT_INIT;
    if (credit < least) {
      least = credit;
      worst = p;
    }
  }
  const target = pick_idle(v, idle);
  if (target >= 0) tickle_cpu(percpu_of(<u32>target));
  // Within its ratelimit it goes on for now, but with a deadline.
  else if (changetype<usize>(worst) != 0) resched_cpu(worst);
}

// ── what the mechanism calls ──────────────────────────────────────────────────────────────────────────────────────

export function credit2_wake(v: Vcpu, now: u64): void {
  const u = unit_of<Unit2>(v);
  if (u.queue != 0) return;
  count_runnable(u, 1, now);
  enqueue(u, now);
}

/** It waited (or was parked) and may not run any more. */
export function credit2_sleep(v: Vcpu, now: u64): void {
  const u = unit_of<Unit2>(v);
  queue_remove(u);
  budget_return(u);
  count_runnable(u, -1, now);
}

/** v leaves its pCPU and may not run now, or not there. */
export function credit2_switched_out(v: Vcpu, now: u64): void {
  const u = unit_of<Unit2>(v);
  burn(u, now);
  budget_return(u);
  count_runnable(u, -1, now);
}

/** The next vCPU of p, where `prev` (which may be idle) has run and may stay if `stays`. */
export function credit2_schedule(p: PerCpu, prev: Vcpu, stays: bool, now: u64): Vcpu {
  const prv = priv2(p.sched.pool);
  const r = rqd_of(p);
  let current = NO_UNIT2;
  let yields = false;
  let parks = false;
  if (!prev.is_idle) {
    const u = unit_of<Unit2>(prev);
    yields = u.yielded != 0;
    if (!stays) credit2_switched_out(prev, now);
    else {
      burn(u, now);
      parks = is_capped(u) && u.budget <= 0 && !budget_draw(u, now);
      if (!parks) current = u;
    }
  }
  let next = choose(prv, r, p, current, yields, now);
  if (changetype<usize>(next) == 0 && balance(prv, r, now)) next = choose(prv, r, p, current, yields, now);
  if (changetype<usize>(next) != 0) {
    if (next.queue != 0) queue_remove(next);
    next.vcpu.processor = p.slot;
    if (next != current) next.start = now;
    // One that goes on by its ratelimit may have less than who waits: they are to use theirs first.
    const first = changetype<Unit2>(runq_of(r).head);
    if (next.credit <= 0 && (changetype<usize>(first) == 0 || first.credit <= 0)) {
      reset_credit(r, next, now);
      balance(prv, r, now);
    }
  }
  if (parks) park(unit_of<Unit2>(prev));
  else if (changetype<usize>(current) != 0 && next != current) runq_insert(r, current);
  p.sched.deadline = deadline(prv, r, next, now);
  return changetype<usize>(next) != 0 ? next.vcpu : NO_VCPU;
}

/** The first in line that may run on p and has more credit than `current`; else that (which may be null). */
function choose(prv: Private2, r: RunqueueData, p: PerCpu, current: Unit2, yields: bool, now: u64): Unit2 {
  const none = changetype<usize>(current) == 0;
  if (!none && !yields && now < current.switched_in + prv.ratelimit) return current;
  let most = none ? i64.MIN_VALUE : current.credit;
  if (yields) most -= YIELD_BIAS;
  if (!none && !in_mask(current.vcpu.cpu_soft_affinity, p.slot)) most -= CREDIT_INIT;
  for (let at = runq_of(r).head; changetype<usize>(at) != 0; at = at.next) {
    const u = changetype<Unit2>(at);
    if (!may_run_on(u.vcpu, p)) continue;
    let credit = u.credit;
    if (!none) {
      if (u.vcpu.processor != p.slot) credit -= MIGRATE_RESIST;
      if (!in_mask(u.vcpu.cpu_soft_affinity, p.slot)) credit -= CREDIT_INIT;
    }
    if (credit > most) return u;
    // The others have no more.
    if (u.credit + CREDIT_INIT <= most) break;
  }
  return current;
}

/** When p must look again: when `next` has no more credit than the first in line, or no budget. */
function deadline(prv: Private2, r: RunqueueData, next: Unit2, now: u64): u64 {
  if (changetype<usize>(next) == 0) return u64.MAX_VALUE;
  let credit = next.credit;
  const first = changetype<Unit2>(runq_of(r).head);
  if (changetype<usize>(first) != 0 && first.credit > 0) credit -= first.credit;
  let time: u64 = credit > 0 ? (<u64>credit * <u64>next.weight) / <u64>r.max_weight : 0;
  const ratelimit = next.switched_in + prv.ratelimit;
  const least = max<u64>(MIN_TIMER, ratelimit > now ? ratelimit - now : 0);
  time = min<u64>(max<u64>(time, least), MAX_TIMER);
  if (is_capped(next) && <u64>next.budget < time) time = <u64>next.budget;
  return now + time;
}

// ── parameters ────────────────────────────────────────────────────────────────────────────────────────────────────

export function credit2_getinfo(d: Domain, at: usize): i64 {
  const s = domain_sched<Domain2>(d);
  store<u16>(at, s.weight, DomctlSchedCredit.weight);
  store<u16>(at, s.cap, DomctlSchedCredit.cap);
  return 0;
}

/** A weight of 0 and a cap of 0xffff leave them as they are. */
export function credit2_putinfo(d: Domain, at: usize, now: u64): i64 {
  const s = domain_sched<Domain2>(d);
  const weight = load<u16>(at, DomctlSchedCredit.weight);
  const cap = load<u16>(at, DomctlSchedCredit.cap);
  if (weight != 0) {
    s.weight = weight;
    for (let i: u32 = 0; i < d.max_vcpus; i++) {
      const v = domain_vcpu(d, i);
      if (changetype<usize>(v) == 0 || d.is_ts) continue;
      const u = unit_of<Unit2>(v);
      if (v.is_running) burn(u, now);
      const old = u.weight;
      u.weight = weight;
      u.residual = 0;
      if (<u32>weight > u.rqd.max_weight) u.rqd.max_weight = weight;
      else if (old == u.rqd.max_weight) find_max_weight(u.rqd);
    }
  }
  if (cap != 0xffff) cap_set(d, cap, now);
  return 0;
}

export function credit2_pool_getinfo(pool: CpuPool, at: usize): i64 {
  store<u32>(at, <u32>(priv2(pool).ratelimit / MICROSECS), SysctlCredit2Schedule.ratelimit_us);
  return 0;
}

export function credit2_pool_putinfo(pool: CpuPool, at: usize): i64 {
  const us = load<u32>(at, SysctlCredit2Schedule.ratelimit_us);
  if (us != 0 && (us < SCHED_RATELIMIT.MIN || us > SCHED_RATELIMIT.MAX)) return -ERRNO.EINVAL;
  priv2(pool).ratelimit = <u64>us * MICROSECS;
  return 0;
}
