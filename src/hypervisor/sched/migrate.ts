// A vCPU is made to leave a pCPU because it may run elsewhere only.
import { Vcpu } from "../domain";
import { current } from "../percpu";
import { percpu_of } from "../state";
import { spin_lock, spin_unlock, stop_if_panicked } from "../spinlock";
import { NOW } from "../time/clock";
import { affinity_broken, in_mask } from "./affinity";
import { sched_lock } from "./sched";
import { sched_place, sched_sleep, sched_wake } from "./scheduler";
import { resched_cpu } from "./tickle";
import { SchedUnit, unit_of } from "./unit";

/** A new processor for one that does not run. sched_lock is held. */
export function vcpu_replace(v: Vcpu, now: u64): void {
  const waits = unit_of<SchedUnit>(v).queue != 0;
  if (waits) sched_sleep(v, now);
  sched_place(v, now);
  if (waits) sched_wake(v, now);
}

/**
 * Bit n: may (hard), would rather (soft) run on pCPU n; `hard` names one of the pool. When this returns v runs on none where it
 * may not, unless it is the current vCPU, which goes before it returns to its guest. No lock is held.
 */
export function vcpu_set_affinity(v: Vcpu, hard: u64, soft: u64): void {
  if (v.domain.is_ts) {
    v.cpu_hard_affinity = hard;
    v.cpu_soft_affinity = soft;
    return;
  }
  const now = NOW();
  spin_lock(sched_lock());
  v.cpu_hard_affinity = hard;
  v.cpu_soft_affinity = soft;
  // The pool may have lost the pCPU since the caller looked.
  if (affinity_broken(v)) v.cpu_hard_affinity = u64.MAX_VALUE;
  const runs = v.is_running != 0;
  if (!runs) vcpu_replace(v, now);
  else resched_cpu(percpu_of(v.processor));
  spin_unlock(sched_lock());
  if (!runs || v == current) return;
  while (atomic.load<u32>(changetype<usize>(v) + offsetof<Vcpu>("is_running")) && !in_mask(v.cpu_hard_affinity, v.processor)) stop_if_panicked();
}
