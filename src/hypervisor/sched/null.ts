// null (Xen's common/sched/null.c): every vCPU has a pCPU of its own, for good; there are no decisions, no time slices and no
// parameters. A vCPU for which none is left waits until one becomes free. sched_lock is held throughout.
import { Vcpu } from "../domain";
import { xfree, xzalloc } from "../mm/xmalloc";
import { PerCpu, percpu_of } from "../state";
import { cpu_cycle, in_mask, vcpu_cpus, vcpu_soft_cpus } from "./affinity";
import { tickle_cpu } from "./tickle";
import { CpuPool, NO_UNIT, NO_VCPU, RunQueue, SchedCpu, SchedUnit, cpu_sched, queue_insert_before, queue_remove, unit_of } from "./unit";

@unmanaged
class NullPrivate {
  /** Runnable ones without a pCPU, first come, first served (a RunQueue). */
  waiting: u64;
  waiting_rest: u64;
}

@unmanaged
class NullCpu extends SchedCpu {
  /** Whose it is; null: nobody's. */
  owner: NullUnit;
  pad2: u32;
  /** The owner, while it is runnable and does not run (a RunQueue). */
  ready: u64;
  ready_rest: u64;
}

@unmanaged
class NullUnit extends SchedUnit {
  /** Its pCPU + 1, 0: none. */
  cpu: u32;
}

const NOBODY = changetype<NullUnit>(0);

function waiting_of(pool: CpuPool): RunQueue {
  return changetype<RunQueue>(pool.priv);
}
function ready_of(c: NullCpu): RunQueue {
  return changetype<RunQueue>(changetype<usize>(c) + offsetof<NullCpu>("ready"));
}
function null_cpu(cpu: u32): NullCpu {
  return cpu_sched<NullCpu>(percpu_of(cpu));
}

export function null_pool_init(pool: CpuPool): bool {
  pool.priv = xzalloc(offsetof<NullPrivate>());
  return pool.priv != 0;
}
export function null_pool_free(pool: CpuPool): void {
  xfree(pool.priv);
}

/** A pCPU without an owner goes to the first that waits and may run there. */
function offer(pool: CpuPool, cpu: u32): void {
  for (let at = waiting_of(pool).head; changetype<usize>(at) != 0; at = at.next) {
    if (!in_mask(vcpu_cpus(at.vcpu), cpu)) continue;
    queue_remove(at);
    own(changetype<NullUnit>(at), cpu);
    make_ready(changetype<NullUnit>(at));
    return;
  }
}

function own(u: NullUnit, cpu: u32): void {
  u.cpu = cpu + 1;
  u.vcpu.processor = cpu;
  null_cpu(cpu).owner = u;
}

function make_ready(u: NullUnit): void {
  const cpu = u.cpu - 1;
  queue_insert_before(ready_of(null_cpu(cpu)), NO_UNIT, u);
  tickle_cpu(percpu_of(cpu));
}

/** Gives up u's pCPU, if it has one. */
function disown(u: NullUnit, pool: CpuPool): void {
  if (u.cpu == 0) return;
  const cpu = u.cpu - 1;
  null_cpu(cpu).owner = NOBODY;
  u.cpu = 0;
  if (in_mask(pool.cpus, cpu)) offer(pool, cpu);
}

/** A free pCPU for u: where it would rather be, where it was, any. False: there is none. */
function find(u: NullUnit): bool {
  const v = u.vcpu;
  let free: u64 = 0;
  for (let m = vcpu_cpus(v); m != 0; m &= m - 1) {
    if (changetype<usize>(null_cpu(<u32>ctz(m)).owner) == 0) free |= m & -m;
  }
  if (free == 0) return false;
  const soft = free & vcpu_soft_cpus(v);
  own(u, cpu_cycle(soft != 0 ? soft : free, v.processor));
  return true;
}

export function null_cpu_add(pool: CpuPool, cpu: u32): void {
  offer(pool, cpu);
}
export function null_cpu_remove(_pool: CpuPool, _cpu: u32): void {}

export function null_place(v: Vcpu): void {
  const u = unit_of<NullUnit>(v);
  disown(u, v.domain.pool);
  if (!find(u)) v.processor = cpu_cycle(vcpu_cpus(v), v.processor);
}

export function null_vcpu_remove(v: Vcpu): void {
  disown(unit_of<NullUnit>(v), v.domain.pool);
}

export function null_wake(v: Vcpu): void {
  const u = unit_of<NullUnit>(v);
  if (u.queue != 0) return;
  if (u.cpu != 0 || find(u)) make_ready(u);
  else queue_insert_before(waiting_of(v.domain.pool), NO_UNIT, u);
}

export function null_sleep(v: Vcpu): void {
  queue_remove(unit_of<SchedUnit>(v));
}

export function null_schedule(p: PerCpu, prev: Vcpu, stays: bool): Vcpu {
  p.sched.deadline = u64.MAX_VALUE;
  const c = cpu_sched<NullCpu>(p);
  if (stays && unit_of<NullUnit>(prev) == c.owner) return prev;
  const ready = ready_of(c).head;
  if (changetype<usize>(ready) == 0) return NO_VCPU;
  queue_remove(ready);
  return ready.vcpu;
}
