// The scheduler's mechanism: waking, sleeping, pausing and switching vCPUs. Policy is in runq.ts. vCPUs of TypeScript
// domains are threads of the host and never come here but to be poked.
import { current, set_current, slot } from "../percpu";
import { Domain, RUNSTATE_blocked, RUNSTATE_offline, RUNSTATE_runnable, RUNSTATE_running, VPF_blocked, VPF_blocked_in_poll, Vcpu, domain_vcpu } from "../domain";
import { Hypervisor, PerCpu, SOFTIRQ_SCHEDULE, percpu_of, raise_softirq, this_cpu, xen } from "../state";
import { spin_lock, spin_unlock, stop_if_panicked } from "../spinlock";
import { NOW } from "../time/clock";
import { update_vcpu_system_time } from "../time/time_info";
import { vcpu_periodic_pause, vcpu_periodic_resume, vcpu_stop_poll_timer, vcpu_timers_migrate } from "../time/vtimer";
import { update_cr3 } from "../traps/mode";
import { pcpu_kick, vcpu_poke } from "./kick";
import { TIME_SLICE, RATELIMIT, charge, runq_first, runq_insert, runq_remove, settle_sleeper } from "./runq";
import { update_runstate_area, vcpu_runstate_change } from "./runstate";

// @ts-ignore: decorator
@inline
function sched_lock(): usize {
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

/** The least virtual time of the vCPUs that run or wait: what a sleeper is measured against. */
function vtime_floor(): u64 {
  let least: u64 = u64.MAX_VALUE;
  const x = xen();
  if (x.runq_head != 0) least = changetype<Vcpu>(x.runq_head).vtime;
  for (let i: u32 = 0; i < x.pcpus; i++) {
    const v = percpu_of(i).current;
    if (changetype<usize>(v) != 0 && !v.is_idle && v.vtime < least) least = v.vtime;
  }
  return least == u64.MAX_VALUE ? 0 : least;
}

/** Finds a pCPU for a vCPU that was just queued: an idle one, else one that runs something later in line. */
function tickle(v: Vcpu, now: u64): void {
  const x = xen();
  let victim = changetype<PerCpu>(0);
  let worst: u64 = v.vtime;
  for (let i: u32 = 0; i < x.pcpus; i++) {
    if (!((v.cpu_hard_affinity >> i) & 1)) continue;
    const p = percpu_of(i);
    if (!p.online) continue;
    const c = p.current;
    if (c.is_idle) {
      // Prefer the pCPU it ran on, as its translations are there.
      if (changetype<usize>(victim) == 0 || !victim.current.is_idle || i == v.processor) victim = p;
      continue;
    }
    if (changetype<usize>(victim) != 0 && victim.current.is_idle) continue;
    if (now < c.sched_start + RATELIMIT) continue;
    const used = c.vtime + (now - c.sched_start);
    if (used > worst) {
      worst = used;
      victim = p;
    }
  }
  if (changetype<usize>(victim) == 0) return;
  raise_softirq(victim, SOFTIRQ_SCHEDULE);
  pcpu_kick(victim);
}

/** Queues the vCPU if it has become runnable. */
export function vcpu_wake(v: Vcpu): void {
  if (v.domain.is_ts || v.is_idle) return;
  const now = NOW();
  spin_lock(sched_lock());
  if (vcpu_runnable(v)) {
    if (v.runstate >= RUNSTATE_blocked) vcpu_runstate_change(v, RUNSTATE_runnable, now);
    if (!v.on_runq && !v.is_running) {
      settle_sleeper(v, vtime_floor());
      runq_insert(v);
      tickle(v, now);
    }
  } else if (!(v.pause_flags & VPF_blocked)) {
    if (v.runstate == RUNSTATE_blocked) vcpu_runstate_change(v, RUNSTATE_offline, now);
  }
  spin_unlock(sched_lock());
}

/** Takes it off the run queue if it may not run, and makes its pCPU notice; does not wait. */
export function vcpu_sleep_nosync(v: Vcpu): void {
  if (v.domain.is_ts || v.is_idle) return;
  const now = NOW();
  spin_lock(sched_lock());
  if (!vcpu_runnable(v)) {
    if (v.on_runq) runq_remove(v);
    if (v.runstate == RUNSTATE_runnable) vcpu_runstate_change(v, v.pause_flags & VPF_blocked ? RUNSTATE_blocked : RUNSTATE_offline, now);
    if (v.is_running) {
      const p = percpu_of(v.processor);
      raise_softirq(p, SOFTIRQ_SCHEDULE);
      pcpu_kick(p);
    }
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

/** Chooses what this pCPU runs and switches to it. Called from the main loop only, without locks. */
export function schedule(): void {
  const p = this_cpu();
  const prev = current;
  const now = NOW();
  spin_lock(sched_lock());
  let next = prev;
  const first = runq_first(slot);
  if (!prev.is_idle) {
    charge(prev, now);
    const stays = vcpu_runnable(prev) && ((prev.cpu_hard_affinity >> slot) & 1) != 0;
    if (stays) {
      const over = prev.yielded || (now >= prev.slice_end) || (changetype<usize>(first) != 0 && first.vtime + RATELIMIT < prev.vtime);
      if (changetype<usize>(first) != 0 && over) {
        // A vCPU that yields goes behind the one it yields to, whatever it has used.
        if (prev.yielded && prev.vtime < first.vtime) prev.vtime = first.vtime;
        next = first;
      } else prev.slice_end = now >= prev.slice_end ? now + TIME_SLICE : prev.slice_end;
    } else next = changetype<usize>(first) != 0 ? first : p.idle_vcpu;
    prev.yielded = 0;
    if (next != prev) {
      if (vcpu_runnable(prev)) {
        vcpu_runstate_change(prev, RUNSTATE_runnable, now);
        runq_insert(prev);
        if (!stays) tickle(prev, now);
      } else vcpu_runstate_change(prev, prev.pause_flags & VPF_blocked ? RUNSTATE_blocked : RUNSTATE_offline, now);
    }
  } else if (changetype<usize>(first) != 0) next = first;
  if (next == prev) {
    spin_unlock(sched_lock());
    return;
  }
  if (next.on_runq) runq_remove(next);
  p.switches += 1;
  const moved = next.processor != slot;
  if (!next.is_idle) {
    next.processor = slot;
    next.sched_start = now;
    next.slice_end = now + TIME_SLICE;
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
  spin_unlock(sched_lock());
  if (!next.is_idle) switched_in(next, moved, now);
}

/** Work for a vCPU that has just been put on this pCPU. */
function switched_in(v: Vcpu, moved: bool, now: u64): void {
  if (moved) vcpu_timers_migrate(v);
  vcpu_periodic_resume(v, now);
  update_cr3(v);
  update_vcpu_system_time(v);
  v.runstate_pending = update_runstate_area(v) ? 0 : 1;
}

/** Nanoseconds until this pCPU must choose again: the running vCPU's slice, if anyone waits; else for ever. */
export function sched_deadline(): u64 {
  const first = xen().runq_head;
  return first != 0 ? current.slice_end : u64.MAX_VALUE;
}

/** The vCPU yields: runnable, but others first. */
export function vcpu_yield(v: Vcpu): void {
  v.yielded = 1;
  request_schedule();
}

/** A new vCPU starts where the others are. */
export function sched_init_vcpu(v: Vcpu): void {
  v.runstate = RUNSTATE_offline;
  v.runstate_entry_time = NOW();
  v.vtime = 0;
}

/** Wakes every vCPU of the domain (it was unpaused). */
export function domain_wake(d: Domain): void {
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) != 0) vcpu_wake(v);
  }
}
