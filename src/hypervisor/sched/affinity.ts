// Where a vCPU may run: its hard affinity within its pool; and where it would rather: its soft affinity within that.
import { Vcpu } from "../domain";
import { PerCpu, percpu_of, xen } from "../state";
import { CpuPool } from "./unit";

/** Every pCPU of the machine. */
export function all_cpus(): u64 {
  const n = xen().pcpus;
  return n >= 64 ? u64.MAX_VALUE : ((<u64>1) << n) - 1;
}

/**
 * Does v's hard affinity name no pCPU of its pool? That is so when the pool has just lost the last one of it, until whoever
 * took that away has reset the affinity.
 */
// @ts-ignore: decorator
@inline
export function affinity_broken(v: Vcpu): bool {
  return (v.cpu_hard_affinity & v.domain.pool.cpus) == 0;
}

/** pCPUs of the pool that v may run on: all of them while its affinity is broken. Not empty, as a pool with domains never is. */
// @ts-ignore: decorator
@inline
export function vcpu_cpus(v: Vcpu): u64 {
  const pool = v.domain.pool.cpus;
  const cpus = v.cpu_hard_affinity & pool;
  return cpus != 0 ? cpus : pool;
}

/** Those of them that it would rather run on; 0: it has no preference. */
export function vcpu_soft_cpus(v: Vcpu): u64 {
  const hard = vcpu_cpus(v);
  const soft = hard & v.cpu_soft_affinity;
  return soft == hard ? 0 : soft;
}

// @ts-ignore: decorator
@inline
export function in_mask(mask: u64, cpu: u32): bool {
  return ((mask >> cpu) & 1) != 0;
}

/** pCPUs of the pool that run nothing and have not been asked to. */
export function idle_cpus(pool: CpuPool): u64 {
  let idle: u64 = 0;
  for (let m = pool.cpus; m != 0; m &= m - 1) {
    const cpu = <u32>ctz(m);
    const p = percpu_of(cpu);
    if (p.current.is_idle && !p.sched.tickled) idle |= (<u64>1) << cpu;
  }
  return idle;
}

/** A pCPU of `mask` (not empty): `preferred` if it is one, else the next after it, so that they take turns. */
export function cpu_cycle(mask: u64, preferred: u32): u32 {
  const above = mask & (u64.MAX_VALUE << preferred);
  return <u32>ctz(above != 0 ? above : mask);
}

/** An idle pCPU for v: of those it would rather run on, its own first; -1: none is idle. */
export function pick_idle(v: Vcpu, among: u64): i32 {
  const idle = among & vcpu_cpus(v);
  if (idle == 0) return -1;
  const soft = idle & vcpu_soft_cpus(v);
  return <i32>cpu_cycle(soft != 0 ? soft : idle, v.processor);
}

/** Of a pCPU: is v one that may run on it? */
// @ts-ignore: decorator
@inline
export function may_run_on(v: Vcpu, p: PerCpu): bool {
  return v.domain.pool == p.sched.pool && in_mask(vcpu_cpus(v), p.slot);
}
