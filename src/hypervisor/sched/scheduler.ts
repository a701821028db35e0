// The one interface of all schedulers (Xen's struct scheduler): what the mechanism (sched.ts), pools and control calls ask of
// the scheduler of a pool, by its id. A scheduler is added here, in a file of its own and in the shared suite of tests.
//
// sched_lock is held in every call but pool_init and pool_free. `now` is system time. A vCPU is in one of three states for
// its scheduler: running (Vcpu.is_running), waiting (SchedUnit.queue), or neither; the calls below say which they expect.
import { ERRNO, XEN_SCHEDULER } from "../abi";
import { Domain, Vcpu } from "../domain";
import { panic } from "../log";
import { PerCpu } from "../state";
import { CpuPool } from "./unit";
import * as credit from "./credit";
import { credit_account } from "./credit_acct";
import * as credit2 from "./credit2";
import { credit2_replenish } from "./credit2_cap";
import * as none from "./null";
import * as rtds from "./rtds";

/** Is there such a scheduler? */
export function sched_known(id: u32): bool {
  switch (id) {
    case XEN_SCHEDULER.CREDIT:
    case XEN_SCHEDULER.CREDIT2:
    case XEN_SCHEDULER.RTDS:
    case XEN_SCHEDULER.NULL:
      return true;
    default:
      return false;
  }
}

function unknown(): void {
  panic("a pool has a scheduler that does not exist");
}

/** Allocates the data of a new, empty pool. False: no memory. No lock is held. */
export function sched_pool_init(pool: CpuPool): bool {
  switch (pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2.credit2_pool_init(pool);
    case XEN_SCHEDULER.CREDIT: return credit.credit_pool_init(pool);
    case XEN_SCHEDULER.RTDS: return rtds.rtds_pool_init(pool);
    case XEN_SCHEDULER.NULL: return none.null_pool_init(pool);
    default:
      unknown();
      return false;
  }
}

/** The pool is empty and out of the list. No lock is held. */
export function sched_pool_free(pool: CpuPool): void {
  switch (pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2.credit2_pool_free(pool);
    case XEN_SCHEDULER.CREDIT: return credit.credit_pool_free(pool);
    case XEN_SCHEDULER.RTDS: return rtds.rtds_pool_free(pool);
    case XEN_SCHEDULER.NULL: return none.null_pool_free(pool);
    default: unknown();
  }
}

/** pCPU `cpu`, which is idle, joins the pool (whose mask has it already); its SchedCpu is zeroed but for the common part. */
export function sched_cpu_add(pool: CpuPool, cpu: u32): void {
  switch (pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2.credit2_cpu_add(pool, cpu);
    case XEN_SCHEDULER.CREDIT: return credit.credit_cpu_add(pool, cpu);
    case XEN_SCHEDULER.RTDS: return;
    case XEN_SCHEDULER.NULL: return none.null_cpu_add(pool, cpu);
    default: unknown();
  }
}

/** pCPU `cpu`, which is idle and no vCPU's processor, has left the pool. */
export function sched_cpu_remove(pool: CpuPool, cpu: u32): void {
  switch (pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2.credit2_cpu_remove(pool, cpu);
    case XEN_SCHEDULER.CREDIT: return credit.credit_cpu_remove(pool, cpu);
    case XEN_SCHEDULER.RTDS: return;
    case XEN_SCHEDULER.NULL: return none.null_cpu_remove(pool, cpu);
    default: unknown();
  }
}

/** The domain has come into its pool (its SchedDomain is zeroed but for the common part): parameters at their defaults. */
export function sched_domain_init(d: Domain): void {
  switch (d.pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2.credit2_domain_init(d);
    case XEN_SCHEDULER.CREDIT: return credit.credit_domain_init(d);
    case XEN_SCHEDULER.RTDS: return;
    case XEN_SCHEDULER.NULL: return;
    default: unknown();
  }
}

/** v, neither running nor waiting, is new in its pool (its SchedUnit is zeroed but for the common part); gets a processor. */
export function sched_vcpu_insert(v: Vcpu, now: u64): void {
  switch (v.domain.pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2.credit2_vcpu_insert(v, now);
    case XEN_SCHEDULER.CREDIT: return credit.credit_vcpu_insert(v);
    case XEN_SCHEDULER.RTDS: return rtds.rtds_vcpu_insert(v, now);
    case XEN_SCHEDULER.NULL: return none.null_place(v);
    default: unknown();
  }
}

/** v, neither running nor waiting, leaves its pool. */
export function sched_vcpu_remove(v: Vcpu): void {
  switch (v.domain.pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2.credit2_vcpu_remove(v);
    case XEN_SCHEDULER.CREDIT: return credit.credit_vcpu_remove(v);
    case XEN_SCHEDULER.RTDS: return;
    case XEN_SCHEDULER.NULL: return none.null_vcpu_remove(v);
    default: unknown();
  }
}

/** Chooses a processor anew for v, neither running nor waiting: its affinity or its pool's pCPUs have changed. */
export function sched_place(v: Vcpu, now: u64): void {
  switch (v.domain.pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2.credit2_place(v, now);
    case XEN_SCHEDULER.CREDIT: return credit.credit_place(v);
    case XEN_SCHEDULER.RTDS: return rtds.rtds_place(v);
    case XEN_SCHEDULER.NULL: return none.null_place(v);
    default: unknown();
  }
}

/** v, which does not run, is runnable: let it wait for a pCPU (it may already), and ask one to look if it should. */
export function sched_wake(v: Vcpu, now: u64): void {
  switch (v.domain.pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2.credit2_wake(v, now);
    case XEN_SCHEDULER.CREDIT: return credit.credit_wake(v);
    case XEN_SCHEDULER.RTDS: return rtds.rtds_wake(v, now);
    case XEN_SCHEDULER.NULL: return none.null_wake(v);
    default: unknown();
  }
}

/** v, which waits, does so no more. */
export function sched_sleep(v: Vcpu, now: u64): void {
  switch (v.domain.pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2.credit2_sleep(v, now);
    case XEN_SCHEDULER.CREDIT: return credit.credit_sleep(v);
    case XEN_SCHEDULER.RTDS: return rtds.rtds_sleep(v);
    case XEN_SCHEDULER.NULL: return none.null_sleep(v);
    default: unknown();
  }
}

/** v, which runs on a pCPU that is in no pool any more, is being taken off it: its running time ends. */
export function sched_switched_out(v: Vcpu, now: u64): void {
  switch (v.domain.pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2.credit2_switched_out(v, now);
    case XEN_SCHEDULER.CREDIT: return credit.credit_switched_out(v, now);
    case XEN_SCHEDULER.RTDS: return rtds.rtds_switched_out(v, now);
    case XEN_SCHEDULER.NULL: return;
    default: unknown();
  }
}

/**
 * What p runs next: null for its idle vCPU, else a vCPU that now neither waits nor runs elsewhere, with p for its processor.
 * `prev` ran there until now; if it `stays` (it may run on, here) and is not chosen, it has begun to wait; if it does not
 * stay, or is the idle vCPU, it waits nowhere. Sets p.sched.deadline.
 */
export function sched_choose(p: PerCpu, prev: Vcpu, stays: bool, now: u64): Vcpu {
  switch (p.sched.pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2.credit2_schedule(p, prev, stays, now);
    case XEN_SCHEDULER.CREDIT: return credit.credit_schedule(p, prev, stays, now);
    case XEN_SCHEDULER.RTDS: return rtds.rtds_schedule(p, prev, stays, now);
    case XEN_SCHEDULER.NULL: return none.null_schedule(p, prev, stays);
    default:
      unknown();
      return prev;
  }
}

/** domctl scheduler_op: reads (writes) the parameters at machine address `at`. */
export function sched_getinfo(d: Domain, at: usize): i64 {
  switch (d.pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2.credit2_getinfo(d, at);
    case XEN_SCHEDULER.CREDIT: return credit.credit_getinfo(d, at);
    case XEN_SCHEDULER.RTDS: return rtds.rtds_getinfo(at);
    default: return -ERRNO.EINVAL;
  }
}
export function sched_putinfo(d: Domain, at: usize, now: u64): i64 {
  switch (d.pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2.credit2_putinfo(d, at, now);
    case XEN_SCHEDULER.CREDIT: return credit.credit_putinfo(d, at, now);
    case XEN_SCHEDULER.RTDS: return rtds.rtds_putinfo(d, at);
    default: return -ERRNO.EINVAL;
  }
}


/** The same of single vCPUs, in an array that the DomctlSchedV at u names. No lock is held. */
export function sched_vcpuinfo(d: Domain, sched_id: u32, u: usize, put: bool): i64 {
  switch (sched_id) {
    case XEN_SCHEDULER.RTDS: return rtds.rtds_vcpuinfo(d, u, put);
    default: return -ERRNO.EINVAL;
  }
}

/** sysctl scheduler_op: the parameters of a pool. */
export function sched_pool_getinfo(pool: CpuPool, at: usize): i64 {
  switch (pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2.credit2_pool_getinfo(pool, at);
    case XEN_SCHEDULER.CREDIT: return credit.credit_pool_getinfo(pool, at);
    default: return -ERRNO.EOPNOTSUPP;
  }
}
export function sched_pool_putinfo(pool: CpuPool, at: usize): i64 {
  switch (pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2.credit2_pool_putinfo(pool, at);
    case XEN_SCHEDULER.CREDIT: return credit.credit_pool_putinfo(pool, at);
    default: return -ERRNO.EOPNOTSUPP;
  }
}

/** The domain's timer (unit.ts) has fired. */
export function sched_domain_timer(d: Domain, now: u64): void {
  switch (d.pool.sched_id) {
    case XEN_SCHEDULER.CREDIT2: return credit2_replenish(d, now);
    default: return;
  }
}

/** The pool's timer has fired. */
export function sched_pool_timer(pool: CpuPool, now: u64): void {
  switch (pool.sched_id) {
    case XEN_SCHEDULER.CREDIT: return credit_account(pool, now);
    case XEN_SCHEDULER.RTDS: return rtds.rtds_replenish(pool, now);
    default: return;
  }
}
