// How domains and vCPUs come to a scheduler, and leave it.
import { Domain, RUNSTATE_offline, Vcpu, domain_vcpu } from "../domain";
import { xfree, xzalloc } from "../mm/xmalloc";
import { spin_lock, spin_unlock } from "../spinlock";
import { NOW } from "../time/clock";
import { TIMER_SCHED_DOMAIN, init_timer, kill_timer, stop_timer } from "../time/timer";
import { cpupool_find } from "./cpupool";
import { sched_lock } from "./sched";
import { sched_domain_init, sched_vcpu_insert, sched_vcpu_remove } from "./scheduler";
import {
  CpuPool, NO_POOL, SCHED_DOMAIN_ALLOCATION, SCHED_DOMAIN_SIZE, SCHED_UNIT_SIZE, SchedDomain, SchedUnit, domain_sched, domain_timer, unit_of,
} from "./unit";

/** Puts d, which is new, into pool `pool_id`. False: no such pool (or one without pCPUs), or no memory. */
export function sched_domain_create(d: Domain, pool_id: u32): bool {
  d.sched = xzalloc(SCHED_DOMAIN_ALLOCATION, 8);
  if (d.sched == 0) return false;
  domain_sched<SchedDomain>(d).domain = d;
  init_timer(domain_timer(d), TIMER_SCHED_DOMAIN, changetype<usize>(d), 0, 0);
  const now = NOW();
  spin_lock(sched_lock());
  const c = cpupool_find(pool_id, false);
  const ok = changetype<usize>(c) != 0 && c.cpus != 0;
  if (ok) domain_enter(d, c, now);
  spin_unlock(sched_lock());
  return ok;
}

/** d, none of whose vCPUs runs, goes. */
export function sched_domain_destroy(d: Domain): void {
  if (d.sched == 0) return;
  if (changetype<usize>(d.pool) != 0) {
    spin_lock(sched_lock());
    domain_leave(d);
    spin_unlock(sched_lock());
    kill_timer(domain_timer(d));
  }
  xfree(d.sched);
  d.sched = 0;
}

/** The new vCPU, which is down, gets its scheduling data and its place in the domain's table. False: no memory. */
export function sched_vcpu_create(v: Vcpu): bool {
  v.runstate = RUNSTATE_offline;
  const now = NOW();
  v.runstate_entry_time = now;
  const d = v.domain;
  if (!d.is_ts) {
    v.sched = xzalloc(SCHED_UNIT_SIZE, 8);
    if (v.sched == 0) return false;
    unit_of<SchedUnit>(v).vcpu = v;
  }
  // Both in one, for a move to another pool goes by the table.
  spin_lock(sched_lock());
  if (!d.is_ts) sched_vcpu_insert(v, now);
  atomic.store<u32>(d.vcpu_table + (v.vcpu_id << 2), changetype<usize>(v));
  spin_unlock(sched_lock());
  return true;
}

/** d, none of whose vCPUs runs or waits, comes into pool c. sched_lock is held. */
export function domain_enter(d: Domain, c: CpuPool, now: u64): void {
  const s = domain_sched<SchedDomain>(d);
  memory.fill(changetype<usize>(s) + offsetof<SchedDomain>(), 0, SCHED_DOMAIN_SIZE - offsetof<SchedDomain>());
  d.pool = c;
  c.n_dom += 1;
  sched_domain_init(d);
  if (d.is_ts) return;
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) == 0) continue;
    memory.fill(v.sched, 0, SCHED_UNIT_SIZE);
    unit_of<SchedUnit>(v).vcpu = v;
    v.cpu_hard_affinity = u64.MAX_VALUE;
    v.cpu_soft_affinity = u64.MAX_VALUE;
    sched_vcpu_insert(v, now);
  }
}

/** d, none of whose vCPUs runs or waits, leaves its pool. sched_lock is held. */
export function domain_leave(d: Domain): void {
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) != 0 && !d.is_ts) sched_vcpu_remove(v);
  }
  stop_timer(domain_timer(d));
  d.pool.n_dom -= 1;
  d.pool = NO_POOL;
}
