// rtds (Xen's common/sched/rt.c): every vCPU has a budget in each period; of those with budget left, the one whose period ends
// first runs (earliest deadline first, over all pCPUs of the pool). One with extra time goes on with the next budget when
// this one is used up, behind all that have not used theirs. sched_lock is held throughout, but for the calls on parameters.
import { DomctlSchedRtds, DomctlSchedparamVcpu, DomctlSchedV, ERRNO, SCHEDRT_extra, XEN_SCHEDULER } from "../abi";
import { Domain, MAX_VIRT_CPUS, Vcpu, domain_vcpu } from "../domain";
import { copy_from_guest, copy_to_guest } from "../guest";
import { xfree, xzalloc } from "../mm/xmalloc";
import { scratch } from "../percpu";
import { PerCpu, percpu_of } from "../state";
import { spin_lock, spin_unlock } from "../spinlock";
import { MICROSECS, NOW } from "../time/clock";
import { set_timer } from "../time/timer";
import { cpu_cycle, may_run_on, pick_idle, vcpu_cpus, vcpu_soft_cpus } from "./affinity";
import { sched_lock } from "./sched";
import { tickle_cpu } from "./tickle";
import { CpuPool, NO_UNIT, NO_VCPU, RunQueue, SchedUnit, pool_timer, queue_insert_before, queue_remove, unit_of } from "./unit";

const DEFAULT_PERIOD: u64 = 10_000 * MICROSECS;
const DEFAULT_BUDGET: u64 = 4_000 * MICROSECS;
const MIN_PERIOD: u64 = 10 * MICROSECS;
const MIN_BUDGET: u64 = 10 * MICROSECS;

@unmanaged
class RtUnit extends SchedUnit {
  period: u64;
  budget: u64;
  /** Left of this period's budget, and when the period ends. */
  left: u64;
  deadline: u64;
  /** How many extra budgets it has used in this period. */
  level: u32;
  extratime: u32;
  /** Neighbours among all that want to run or run, whose budgets are to be renewed. */
  wants: u32;
  next_wanting: RtUnit;
  prev_wanting: RtUnit;
}

@unmanaged
class RtPrivate {
  /** Those that wait and have budget, first deadline first; those that have none (RunQueues). */
  runq: u64;
  runq_rest: u64;
  depleted: u64;
  depleted_rest: u64;
  wanting: RtUnit;
}

const NO_RT = changetype<RtUnit>(0);

function priv(pool: CpuPool): RtPrivate {
  return changetype<RtPrivate>(pool.priv);
}
function runq_of(r: RtPrivate): RunQueue {
  return changetype<RunQueue>(changetype<usize>(r));
}
function depleted_of(r: RtPrivate): RunQueue {
  return changetype<RunQueue>(changetype<usize>(r) + offsetof<RtPrivate>("depleted"));
}

export function rtds_pool_init(pool: CpuPool): bool {
  pool.priv = xzalloc(offsetof<RtPrivate>());
  return pool.priv != 0;
}
export function rtds_pool_free(pool: CpuPool): void {
  xfree(pool.priv);
}

/** Does a run before b? */
function before(a: RtUnit, b: RtUnit): bool {
  return a.level != b.level ? a.level < b.level : a.deadline < b.deadline;
}

/** A new period, if the last one is over: the one of the vCPU's grid that `now` lies in. */
function renew(u: RtUnit, now: u64): void {
  if (now < u.deadline) return;
  u.deadline += ((now - u.deadline) / u.period + 1) * u.period;
  u.left = u.budget;
  u.level = 0;
}

/** Charges the time since u was last charged. */
function burn(u: RtUnit, now: u64): void {
  if (now <= u.start) return;
  const delta = now - u.start;
  u.start = now;
  u.left = u.left > delta ? u.left - delta : 0;
  if (u.left == 0 && u.extratime) {
    u.level += 1;
    u.left = u.budget;
  }
}

function enqueue(r: RtPrivate, u: RtUnit): void {
  if (u.left == 0) {
    queue_insert_before(depleted_of(r), NO_UNIT, u);
    return;
  }
  let at = runq_of(r).head;
  while (changetype<usize>(at) != 0 && !before(u, changetype<RtUnit>(at))) at = at.next;
  queue_insert_before(runq_of(r), at, u);
}

/** An idle pCPU, else the one whose vCPU is to run last of all, if u comes before it. */
function tickle(u: RtUnit, now: u64): void {
  if (u.left == 0) return;
  const v = u.vcpu;
  let idle: u64 = 0;
  let last = NO_RT;
  let victim = changetype<PerCpu>(0);
  for (let m = vcpu_cpus(v); m != 0; m &= m - 1) {
    const p = percpu_of(<u32>ctz(m));
    if (p.sched.tickled) continue;
    if (p.current.is_idle) {
      idle |= m & -m;
      continue;
    }
    const c = unit_of<RtUnit>(p.current);
    burn(c, now);
    if (before(u, c) && (changetype<usize>(last) == 0 || before(last, c))) {
      last = c;
      victim = p;
    }
  }
  const target = pick_idle(v, idle);
  if (target >= 0) tickle_cpu(percpu_of(<u32>target));
  else if (changetype<usize>(victim) != 0) tickle_cpu(victim);
}

/** u has begun to want a pCPU: its period's end matters. */
function want(r: RtPrivate, u: RtUnit): void {
  u.wants = 1;
  u.prev_wanting = NO_RT;
  u.next_wanting = r.wanting;
  if (changetype<usize>(r.wanting) != 0) r.wanting.prev_wanting = u;
  r.wanting = u;
  const t = pool_timer(u.vcpu.domain.pool);
  if (!t.active || t.expires > u.deadline) set_timer(t, u.deadline);
}

function want_no_more(r: RtPrivate, u: RtUnit): void {
  if (!u.wants) return;
  u.wants = 0;
  if (changetype<usize>(u.prev_wanting) != 0) u.prev_wanting.next_wanting = u.next_wanting;
  else r.wanting = u.next_wanting;
  if (changetype<usize>(u.next_wanting) != 0) u.next_wanting.prev_wanting = u.prev_wanting;
}

/** Some period has ended: renews budgets, and sees to it that those run who come first now. */
export function rtds_replenish(pool: CpuPool, now: u64): void {
  const r = priv(pool);
  let earliest: u64 = u64.MAX_VALUE;
  for (let u = r.wanting; changetype<usize>(u) != 0; u = u.next_wanting) {
    if (u.vcpu.is_running) burn(u, now);
    if (now >= u.deadline) {
      renew(u, now);
      if (u.queue != 0) {
        queue_remove(u);
        enqueue(r, u);
        tickle(u, now);
      } else {
        // What waits may come before it now, and it may go on for a whole budget.
        tickle_cpu(percpu_of(u.vcpu.processor));
      }
    }
    if (u.deadline < earliest) earliest = u.deadline;
  }
  if (earliest != u64.MAX_VALUE) set_timer(pool_timer(pool), earliest);
}

export function rtds_place(v: Vcpu): void {
  const soft = vcpu_soft_cpus(v);
  v.processor = cpu_cycle(soft != 0 ? soft : vcpu_cpus(v), v.processor);
}

export function rtds_vcpu_insert(v: Vcpu, now: u64): void {
  const u = unit_of<RtUnit>(v);
  u.period = DEFAULT_PERIOD;
  u.budget = DEFAULT_BUDGET;
  u.extratime = 1;
  u.deadline = now;
  renew(u, now);
  rtds_place(v);
}

export function rtds_wake(v: Vcpu, now: u64): void {
  const u = unit_of<RtUnit>(v);
  if (u.queue != 0) return;
  const r = priv(v.domain.pool);
  renew(u, now);
  enqueue(r, u);
  if (!u.wants) want(r, u);
  tickle(u, now);
}

export function rtds_sleep(v: Vcpu): void {
  const u = unit_of<RtUnit>(v);
  queue_remove(u);
  want_no_more(priv(v.domain.pool), u);
}

export function rtds_switched_out(v: Vcpu, now: u64): void {
  const u = unit_of<RtUnit>(v);
  burn(u, now);
  want_no_more(priv(v.domain.pool), u);
}

export function rtds_schedule(p: PerCpu, prev: Vcpu, stays: bool, now: u64): Vcpu {
  const r = priv(p.sched.pool);
  let current = NO_RT;
  if (!prev.is_idle) {
    if (!stays) rtds_switched_out(prev, now);
    else {
      current = unit_of<RtUnit>(prev);
      burn(current, now);
    }
  }
  const none = changetype<usize>(current) == 0 || current.left == 0 || current.yielded != 0;
  let next = none ? NO_RT : current;
  for (let at = runq_of(r).head; changetype<usize>(at) != 0; at = at.next) {
    const u = changetype<RtUnit>(at);
    if (!may_run_on(u.vcpu, p)) continue;
    if (none || before(u, current)) next = u;
    break;
  }
  // Nobody else wants what it gave up.
  if (changetype<usize>(next) == 0 && changetype<usize>(current) != 0 && current.left != 0) next = current;
  if (changetype<usize>(current) != 0 && next != current) enqueue(r, current);
  p.sched.deadline = u64.MAX_VALUE;
  if (changetype<usize>(next) == 0) return NO_VCPU;
  if (next.queue != 0) queue_remove(next);
  next.vcpu.processor = p.slot;
  p.sched.deadline = now + next.left;
  return next.vcpu;
}

// ── parameters ────────────────────────────────────────────────────────────────────────────────────────────────────

/** What new vCPUs get. */
export function rtds_getinfo(at: usize): i64 {
  store<u32>(at, <u32>(DEFAULT_PERIOD / MICROSECS), DomctlSchedRtds.period);
  store<u32>(at, <u32>(DEFAULT_BUDGET / MICROSECS), DomctlSchedRtds.budget);
  store<u32>(at, SCHEDRT_extra, DomctlSchedRtds.flags);
  return 0;
}

/** Sets one vCPU from a DomctlSchedRtds at `at`; false: not a period and a budget. */
function set(v: Vcpu, at: usize): bool {
  const period = <u64>load<u32>(at, DomctlSchedRtds.period) * MICROSECS;
  const budget = <u64>load<u32>(at, DomctlSchedRtds.budget) * MICROSECS;
  if (period < MIN_PERIOD || budget < MIN_BUDGET || budget > period) return false;
  const u = unit_of<RtUnit>(v);
  u.period = period;
  u.budget = budget;
  u.extratime = (load<u32>(at, DomctlSchedRtds.flags) & SCHEDRT_extra) != 0 ? 1 : 0;
  return true;
}

/** For every vCPU of the domain; each uses them from its next period on. */
export function rtds_putinfo(d: Domain, at: usize): i64 {
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) != 0 && !d.is_ts && !set(v, at)) return -ERRNO.EINVAL;
  }
  return 0;
}

/** getvcpuinfo and putvcpuinfo: an array of the caller's, entry by entry; says how many were done (not all of a long one). No lock is held. */
export function rtds_vcpuinfo(d: Domain, u: usize, put: bool): i64 {
  const handle = load<u64>(u, DomctlSchedV.vcpus);
  const n = min<u32>(load<u32>(u, DomctlSchedV.nr_vcpus), MAX_VIRT_CPUS);
  let rc: i64 = 0;
  let done: u32 = 0;
  while (done < n) {
    const at = handle + <u64>done * <u64>DomctlSchedparamVcpu.SIZE;
    if (copy_from_guest(scratch, at, <u32>DomctlSchedparamVcpu.SIZE) != 0) {
      rc = -ERRNO.EFAULT;
      break;
    }
    rc = one_vcpu(d, scratch, put);
    if (rc != 0) break;
    if (!put && copy_to_guest(at, scratch, <u32>DomctlSchedparamVcpu.SIZE) != 0) {
      rc = -ERRNO.EFAULT;
      break;
    }
    done++;
  }
  store<u32>(u, done, DomctlSchedV.nr_vcpus);
  return rc;
}

function one_vcpu(d: Domain, entry: usize, put: bool): i64 {
  const v = domain_vcpu(d, load<u32>(entry, DomctlSchedparamVcpu.vcpuid));
  if (changetype<usize>(v) == 0 || d.is_ts) return -ERRNO.EINVAL;
  const at = entry + DomctlSchedparamVcpu.u;
  const now = NOW();
  spin_lock(sched_lock());
  // It may have gone to another pool meanwhile.
  let ok = changetype<usize>(d.pool) != 0 && d.pool.sched_id == XEN_SCHEDULER.RTDS;
  if (ok && put) ok = set(v, at);
  else if (ok) {
    const u = unit_of<RtUnit>(v);
    if (v.is_running) burn(u, now);
    store<u32>(at, <u32>(u.period / MICROSECS), DomctlSchedRtds.period);
    store<u32>(at, <u32>(u.budget / MICROSECS), DomctlSchedRtds.budget);
    store<u32>(at, u.extratime ? SCHEDRT_extra : 0, DomctlSchedRtds.flags);
  }
  spin_unlock(sched_lock());
  return ok ? 0 : -ERRNO.EINVAL;
}
