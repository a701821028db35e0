// The scheduler's mechanism (Xen's common/sched/core.c): waking, sleeping and switching vCPUs. Who runs where and for how
// long is the business of the pool's scheduler (scheduler.ts). vCPUs of TypeScript domains are threads of the host and never
// come here but to be poked.
import { CpuState } from "../abi";
import { hvm_enter } from "../engine";
import { vlapic_timer_resume } from "../hvm/vlapic_timer";
import { current, set_current } from "../percpu";
import { Domain, RUNSTATE_blocked, RUNSTATE_offline, RUNSTATE_runnable, RUNSTATE_running, VPF_blocked, VPF_blocked_in_poll, Vcpu, domain_vcpu } from "../domain";
import { Hypervisor, PerCpu, SOFTIRQ_SCHEDULE, percpu_of, raise_softirq, this_cpu, xen } from "../state";
import { spin_lock, spin_unlock, stop_if_panicked } from "../spinlock";
import { NOW } from "../time/clock";
import { update_vcpu_system_time } from "../time/time_info";
import { vcpu_periodic_pause, vcpu_periodic_resume, vcpu_stop_poll_timer, vcpu_timers_migrate } from "../time/vtimer";
import { update_cr3 } from "../traps/mode";
import { may_run_on } from "./affinity";
import { vcpu_poke } from "./kick";
import { sched_choose, sched_domain_timer, sched_place, sched_pool_timer, sched_sleep, sched_switched_out, sched_wake } from "./scheduler";
import { resched_cpu } from "./tickle";
import { CpuPool, NO_VCPU, SchedUnit, unit_of } from "./unit";
import { update_runstate_area, vcpu_runstate_change } from "./runstate";

// @ts-ignore: decorator
@inline
export function sched_lock(): usize {
  return changetype<usize>(xen()) + offsetof<Hypervisor>("sched_lock");
}

/** May it run, as far as flags and pauses say? */
export function vcpu_runnable(v: Vcpu): bool {
  return (
    atomic.load<u32>(changetype<usize>(v) + offsetof<Vcpu>("pause_flags")) == 0 &&
    atomic.load<u32>(changetype<usize>(v) + offsetof<Vcpu>("pause_count")) == 0 &&
    atomic.load<u32>(changetype<usize>(v.domain) + offsetof<Domain>("pause_count")) == 0
  );
}

/** Is it none of a scheduler's: idle, or a thread of the host? */
// @ts-ignore: decorator
@inline
function unscheduled(v: Vcpu): bool {
  return v.domain.is_ts != 0 || v.is_idle != 0;
}

/** Queues the vCPU if it has become runnable. */
export function vcpu_wake(v: Vcpu): void {
  if (unscheduled(v)) return;
  const now = NOW();
  spin_lock(sched_lock());
  if (vcpu_runnable(v)) {
    if (v.runstate >= RUNSTATE_blocked) vcpu_runstate_change(v, RUNSTATE_runnable, now);
    if (!v.is_running) sched_wake(v, now);
  } else if (!(v.pause_flags & VPF_blocked)) {
    if (v.runstate == RUNSTATE_blocked) vcpu_runstate_change(v, RUNSTATE_offline, now);
  }
  spin_unlock(sched_lock());
}

/** Takes it off the run queue if it may not run, and makes its pCPU notice; does not wait. */
export function vcpu_sleep_nosync(v: Vcpu): void {
  if (unscheduled(v)) return;
  const now = NOW();
  spin_lock(sched_lock());
  if (!vcpu_runnable(v)) {
    if (unit_of<SchedUnit>(v).queue != 0) sched_sleep(v, now);
    if (v.runstate == RUNSTATE_runnable) vcpu_runstate_change(v, v.pause_flags & VPF_blocked ? RUNSTATE_blocked : RUNSTATE_offline, now);
    if (v.is_running) resched_cpu(percpu_of(v.processor));
  }
  spin_unlock(sched_lock());
}

/** As above, and returns only when no CPU runs it: its registers may be read. Not for the current vCPU; no lock held. */
export function vcpu_sleep_sync(v: Vcpu): void {
  vcpu_sleep_nosync(v);
  if (v == current) return;
  while (atomic.load<u32>(changetype<usize>(v) + offsetof<Vcpu>("is_running"))) stop_if_panicked();
}

/** The event a blocked vCPU waited for is there: clears "blocked" and queues it. */
export function vcpu_unblock(v: Vcpu): void {
  const flags = changetype<usize>(v) + offsetof<Vcpu>("pause_flags");
  if (!(atomic.load<u32>(flags) & VPF_blocked)) return;
  const old = atomic.and<u32>(flags, ~(VPF_blocked | VPF_blocked_in_poll));
  if (!(old & VPF_blocked)) return;
  if (old & VPF_blocked_in_poll) {
    v.poll_evtchn = 0;
    atomic.sub<u32>(changetype<usize>(v.domain) + offsetof<Domain>("pollers"), 1);
    vcpu_stop_poll_timer(v);
  }
  vcpu_wake(v);
}

/** An event became pending for v. */
export function vcpu_kick(v: Vcpu): void {
  vcpu_unblock(v);
  vcpu_poke(v);
}

/** This pCPU should choose anew before it enters guest code. */
export function request_schedule(): void {
  raise_softirq(this_cpu(), SOFTIRQ_SCHEDULE);
}

/** Chooses what this pCPU runs from `now` (NOW(), just read) on and switches to it. Called from the main loop only, without locks. */
export function schedule(now: u64): void {
  const p = this_cpu();
  const prev = current;
  spin_lock(sched_lock());
  p.sched.tickled = 0;
  let next = choose(p, prev, now);
  if (changetype<usize>(next) == 0) next = p.idle_vcpu;
  if (!prev.is_idle) unit_of<SchedUnit>(prev).yielded = 0;
  if (next == prev) {
    spin_unlock(sched_lock());
    return;
  }
  switch_to(p, prev, next, now);
}

/** The next vCPU, or null for the idle one. `prev` waits if it is runnable and is not chosen, where it may run. */
function choose(p: PerCpu, prev: Vcpu, now: u64): Vcpu {
  const runnable = !prev.is_idle && vcpu_runnable(prev);
  if (changetype<usize>(p.sched.pool) != 0) return sched_choose(p, prev, runnable && may_run_on(prev, p), now);
  if (!prev.is_idle) sched_switched_out(prev, now);
  p.sched.deadline = u64.MAX_VALUE;
  return NO_VCPU;
}

/** sched_lock is held, and released here. */
function switch_to(p: PerCpu, prev: Vcpu, next: Vcpu, now: u64): void {
  p.switches += 1;
  let moved = false;
  if (!next.is_idle) {
    const u = unit_of<SchedUnit>(next);
    u.start = now;
    u.switched_in = now;
    moved = next.last_processor != p.slot;
    next.last_processor = p.slot;
    vcpu_runstate_change(next, RUNSTATE_running, now);
  }
  atomic.store<u32>(changetype<usize>(next) + offsetof<Vcpu>("is_running"), 1);
  const current_lock = changetype<usize>(p) + offsetof<PerCpu>("current_lock");
  spin_lock(current_lock);
  p.current = next;
  spin_unlock(current_lock);
  set_current(next);
  if (!prev.is_idle) vcpu_periodic_pause(prev);
  // From here on prev's registers belong to whoever paused it: all of its state is in machine memory.
  atomic.store<u32>(changetype<usize>(prev) + offsetof<Vcpu>("is_running"), 0);
  if (!prev.is_idle) settle(prev, now);
  spin_unlock(sched_lock());
  if (!next.is_idle) switched_in(next, moved, now);
}

/** `prev` has left its pCPU: what it is now; if it may not run there again but elsewhere, it goes there. */
function settle(prev: Vcpu, now: u64): void {
  if (!vcpu_runnable(prev)) {
    // It may have been unblocked or paused since it was looked at, and then waits: vcpu_wake or vcpu_sleep comes and sees.
    vcpu_runstate_change(prev, prev.pause_flags & VPF_blocked ? RUNSTATE_blocked : RUNSTATE_offline, now);
    return;
  }
  vcpu_runstate_change(prev, RUNSTATE_runnable, now);
  if (unit_of<SchedUnit>(prev).queue != 0) return;
  if (!may_run_on(prev, percpu_of(prev.processor))) sched_place(prev, now);
  sched_wake(prev, now);
}

/** Work for a vCPU that has just been put on this pCPU. */
function switched_in(v: Vcpu, moved: bool, now: u64): void {
  if (moved) vcpu_timers_migrate(v);
  vcpu_periodic_resume(v, now);
  if (v.domain.is_hvm) {
    // Its own translations on this pCPU are from the last time it was here.
    if (moved) store<u32>(v.cpu, load<u32>(v.cpu, CpuState.asid_generation) + 1, CpuState.asid_generation);
    hvm_enter(v.cpu);
    vlapic_timer_resume(v, now);
  } else update_cr3(v);
  update_vcpu_system_time(v);
  v.runstate_pending = update_runstate_area(v) ? 0 : 1;
}

/** System time at which this pCPU must choose again. */
export function sched_deadline(): u64 {
  return this_cpu().sched.deadline;
}

/** The vCPU yields: runnable, but others first. */
export function vcpu_yield(v: Vcpu): void {
  unit_of<SchedUnit>(v).yielded = 1;
  request_schedule();
}

export function sched_domain_timer_fired(d: Domain, now: u64): void {
  spin_lock(sched_lock());
  if (changetype<usize>(d.pool) != 0) sched_domain_timer(d, now);
  spin_unlock(sched_lock());
}
export function sched_pool_timer_fired(pool: CpuPool, now: u64): void {
  spin_lock(sched_lock());
  sched_pool_timer(pool, now);
  spin_unlock(sched_lock());
}

/** Wakes every vCPU of the domain (it was unpaused). */
export function domain_wake(d: Domain): void {
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) != 0) vcpu_wake(v);
  }
}
