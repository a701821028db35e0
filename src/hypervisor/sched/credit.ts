// credit, the older scheduler (Xen's common/sched/credit.c): a queue for each pCPU, in which those that have credit come before
// those that have none, in turns of a time slice; a pCPU that would run one without credit looks for one with in the others'
// queues. Accounting is in credit_acct.ts. sched_lock is held throughout.
import { CSCHED_MGR_DLY_MAX_US, CSCHED_TSLICE, DomctlSchedCredit, ERRNO, SCHED_RATELIMIT, SysctlCreditSchedule } from "../abi";
import { Domain, Vcpu, domain_vcpu } from "../domain";
import { xfree, xzalloc } from "../mm/xmalloc";
import { PerCpu, percpu_of } from "../state";
import { MICROSECS, MILLISECS } from "../time/clock";
import { set_timer } from "../time/timer";
import { cpu_cycle, in_mask, may_run_on, pick_idle, vcpu_cpus, vcpu_soft_cpus } from "./affinity";
import { unpark } from "./credit_acct";
import {
  CreditCpu, CreditDomain, CreditPrivate, CreditUnit, DEFAULT_WEIGHT, PRI_BOOST, PRI_IDLE, PRI_OVER, PRI_UNDER, TICK, activate, credit_parked,
  credit_pool_defaults, credit_priv, credit_runq, deactivate,
} from "./credit_private";
import { resched_cpu, tickle_cpu } from "./tickle";
import { CpuPool, NO_UNIT, NO_VCPU, RunQueue, cpu_sched, domain_sched, pool_timer, queue_insert_before, queue_remove, unit_of } from "./unit";

const NO_CREDIT_UNIT = changetype<CreditUnit>(0);

export function credit_pool_init(pool: CpuPool): bool {
  pool.priv = xzalloc(offsetof<CreditPrivate>());
  if (pool.priv == 0) return false;
  credit_pool_defaults(credit_priv(pool));
  return true;
}
export function credit_pool_free(pool: CpuPool): void {
  xfree(pool.priv);
}
export function credit_cpu_add(pool: CpuPool, _cpu: u32): void {
  credit_priv(pool).nr_cpus += 1;
}
export function credit_cpu_remove(pool: CpuPool, _cpu: u32): void {
  credit_priv(pool).nr_cpus -= 1;
}

export function credit_domain_init(d: Domain): void {
  domain_sched<CreditDomain>(d).weight = DEFAULT_WEIGHT;
}

export function credit_vcpu_insert(v: Vcpu): void {
  unit_of<CreditUnit>(v).priority = PRI_UNDER;
  credit_place(v);
}

export function credit_vcpu_remove(v: Vcpu): void {
  const u = unit_of<CreditUnit>(v);
  if (u.active) deactivate(credit_priv(v.domain.pool), domain_sched<CreditDomain>(v.domain), u);
}

/** The pCPU with the fewest that run or wait there, where v would rather be if it says so. */
export function credit_place(v: Vcpu): void {
  const soft = vcpu_soft_cpus(v);
  let least: u32 = u32.MAX_VALUE;
  let best: u64 = 0;
  for (let m = soft != 0 ? soft : vcpu_cpus(v); m != 0; m &= m - 1) {
    const p = percpu_of(<u32>ctz(m));
    const n = credit_runq(p).length + (p.current.is_idle && !p.sched.tickled ? 0 : 1);
    if (n < least) {
      least = n;
      best = 0;
    }
    if (n == least) best |= m & -m;
  }
  v.processor = cpu_cycle(best, v.processor);
}

/** Takes the credit of the time since u was last charged; whoever runs takes part in the accounting. */
export function burn(u: CreditUnit, now: u64): void {
  if (now <= u.start) return;
  u.credit -= <i64>(now - u.start);
  u.start = now;
  if (u.active) return;
  const pool = u.vcpu.domain.pool;
  const prv = credit_priv(pool);
  if (activate(prv, domain_sched<CreditDomain>(u.vcpu.domain), u)) set_timer(pool_timer(pool), now + prv.tslice);
}

/** Behind all of its priority. */
function runq_insert(q: RunQueue, u: CreditUnit): void {
  let at = q.tail;
  while (changetype<usize>(at) != 0 && changetype<CreditUnit>(at).priority < u.priority) at = at.prev;
  queue_insert_before(q, changetype<usize>(at) != 0 ? at.next : q.head, u);
}

/** Queues u where it is least in the way, and asks the pCPU if it comes before what runs there. */
export function credit_enqueue(u: CreditUnit): void {
  const v = u.vcpu;
  const own = percpu_of(v.processor);
  const cpus = vcpu_cpus(v);
  if (!own.current.is_idle || own.sched.tickled || !in_mask(cpus, v.processor)) {
    let idle: u64 = 0;
    for (let m = cpus; m != 0; m &= m - 1) {
      const p = percpu_of(<u32>ctz(m));
      if (p.current.is_idle && !p.sched.tickled) idle |= m & -m;
    }
    const target = pick_idle(v, idle);
    if (target >= 0) v.processor = <u32>target;
    else if (!in_mask(cpus, v.processor)) v.processor = cpu_cycle(cpus, v.processor);
  }
  const p = percpu_of(v.processor);
  runq_insert(credit_runq(p), u);
  if (p.current.is_idle) tickle_cpu(p);
  else if (u.priority > unit_of<CreditUnit>(p.current).priority) resched_cpu(p);
}

export function credit_wake(v: Vcpu): void {
  const u = unit_of<CreditUnit>(v);
  if (u.queue != 0) return;
  if (u.parks) {
    queue_insert_before(credit_parked(domain_sched<CreditDomain>(v.domain)), NO_UNIT, u);
    u.parks = 0;
    return;
  }
  // Who sleeps much and has credit left is served at once.
  if (u.priority == PRI_UNDER) u.priority = PRI_BOOST;
  credit_enqueue(u);
}

export function credit_sleep(v: Vcpu): void {
  const u = unit_of<CreditUnit>(v);
  const d = domain_sched<CreditDomain>(v.domain);
  if (u.queue == changetype<usize>(credit_parked(d))) u.parks = 1;
  queue_remove(u);
}

export function credit_switched_out(v: Vcpu, now: u64): void {
  burn(unit_of<CreditUnit>(v), now);
}

export function credit_schedule(p: PerCpu, prev: Vcpu, stays: bool, now: u64): Vcpu {
  const prv = credit_priv(p.sched.pool);
  const c = cpu_sched<CreditCpu>(p);
  const q = credit_runq(p);
  const tick = now >= c.next_tick;
  if (tick) c.next_tick = now + TICK;
  let current = NO_CREDIT_UNIT;
  if (!prev.is_idle) {
    const u = unit_of<CreditUnit>(prev);
    burn(u, now);
    if (tick && u.priority == PRI_BOOST) u.priority = u.credit < 0 ? PRI_OVER : PRI_UNDER;
    if (stays) {
      if (u.parks) {
        u.parks = 0;
        queue_insert_before(credit_parked(domain_sched<CreditDomain>(prev.domain)), NO_UNIT, u);
      } else current = u;
    }
  }
  let next = current;
  const keeps = changetype<usize>(current) != 0 && !current.yielded;
  if (!keeps || now >= current.switched_in + prv.ratelimit) {
    const first = changetype<CreditUnit>(q.head);
    if (changetype<usize>(first) != 0) {
      if (!keeps || first.priority > current.priority || (first.priority == current.priority && now >= current.slice_end)) next = first;
    } else if (!keeps) next = current;
    const priority = changetype<usize>(next) != 0 ? next.priority : PRI_IDLE;
    if (priority <= PRI_OVER) {
      const better = steal(prv, p, priority, now);
      if (changetype<usize>(better) != 0) next = better;
    }
  }
  if (changetype<usize>(next) != 0 && next.queue != 0) queue_remove(next);
  if (changetype<usize>(current) != 0 && next != current) runq_insert(q, current);
  p.sched.deadline = u64.MAX_VALUE;
  if (changetype<usize>(next) == 0) return NO_VCPU;
  next.vcpu.processor = p.slot;
  if (next != current || now >= next.slice_end) next.slice_end = now + prv.tslice;
  p.sched.deadline = min<u64>(next.slice_end, c.next_tick);
  const ratelimit = next.switched_in + prv.ratelimit;
  if (next == current && now < ratelimit) p.sched.deadline = min<u64>(p.sched.deadline, ratelimit);
  return next.vcpu;
}

/** One of a higher priority than `than` from another pCPU's queue; those that would rather run here first. Or null. */
function steal(prv: CreditPrivate, p: PerCpu, than: i32, now: u64): CreditUnit {
  for (let soft = 1; soft >= 0; soft--) {
    for (let m = p.sched.pool.cpus & ~((<u64>1) << p.slot); m != 0; m &= m - 1) {
      const q = credit_runq(percpu_of(<u32>ctz(m)));
      for (let at = q.head; changetype<usize>(at) != 0; at = at.next) {
        const u = changetype<CreditUnit>(at);
        if (u.priority <= than) break;
        if (!may_run_on(u.vcpu, p) || (soft && !in_mask(u.vcpu.cpu_soft_affinity, p.slot))) continue;
        // What ran just now has its translations there.
        if (prv.migration_delay != 0 && now < u.start + prv.migration_delay) continue;
        return u;
      }
    }
  }
  return NO_CREDIT_UNIT;
}

// ── parameters ────────────────────────────────────────────────────────────────────────────────────────────────────

export function credit_getinfo(d: Domain, at: usize): i64 {
  const s = domain_sched<CreditDomain>(d);
  store<u16>(at, s.weight, DomctlSchedCredit.weight);
  store<u16>(at, s.cap, DomctlSchedCredit.cap);
  return 0;
}

/** A weight of 0 and a cap of 0xffff leave them as they are. */
export function credit_putinfo(d: Domain, at: usize, now: u64): i64 {
  const s = domain_sched<CreditDomain>(d);
  const weight = load<u16>(at, DomctlSchedCredit.weight);
  const cap = load<u16>(at, DomctlSchedCredit.cap);
  if (weight != 0) {
    credit_priv(d.pool).weight += s.active_count * (<u32>weight - s.weight);
    s.weight = weight;
  }
  if (cap == 0xffff) return 0;
  s.cap = cap;
  for (let i: u32 = 0; cap == 0 && i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) != 0 && !d.is_ts) unpark(s, unit_of<CreditUnit>(v), now);
  }
  return 0;
}

export function credit_pool_getinfo(pool: CpuPool, at: usize): i64 {
  const prv = credit_priv(pool);
  store<u32>(at, <u32>(prv.tslice / MILLISECS), SysctlCreditSchedule.tslice_ms);
  store<u32>(at, <u32>(prv.ratelimit / MICROSECS), SysctlCreditSchedule.ratelimit_us);
  store<u32>(at, <u32>(prv.migration_delay / MICROSECS), SysctlCreditSchedule.vcpu_migr_delay_us);
  return 0;
}

export function credit_pool_putinfo(pool: CpuPool, at: usize): i64 {
  const tslice = load<u32>(at, SysctlCreditSchedule.tslice_ms);
  const ratelimit = load<u32>(at, SysctlCreditSchedule.ratelimit_us);
  const delay = load<u32>(at, SysctlCreditSchedule.vcpu_migr_delay_us);
  if (tslice < CSCHED_TSLICE.MIN || tslice > CSCHED_TSLICE.MAX) return -ERRNO.EINVAL;
  if (ratelimit != 0 && (ratelimit < SCHED_RATELIMIT.MIN || ratelimit > SCHED_RATELIMIT.MAX)) return -ERRNO.EINVAL;
  if (<u64>ratelimit * MICROSECS > <u64>tslice * MILLISECS || delay > CSCHED_MGR_DLY_MAX_US) return -ERRNO.EINVAL;
  const prv = credit_priv(pool);
  prv.tslice = <u64>tslice * MILLISECS;
  prv.ratelimit = <u64>ratelimit * MICROSECS;
  prv.migration_delay = <u64>delay * MICROSECS;
  return 0;
}
