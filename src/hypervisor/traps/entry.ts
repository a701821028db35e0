// A pCPU's loop: timers, scheduling, events, guest code, its exits; and sleep when there is nothing to run.
import { CpuState, EXIT, MachineInfo, MACHINE_INFO_ADDRESS, VEC, VcpuInfo } from "../abi";
import { Domain, Vcpu } from "../domain";
import { run } from "../engine";
import { host_wait } from "../host";
import { current } from "../percpu";
import { PerCpu, SOFTIRQ_SCHEDULE, SOFTIRQ_SHOOTDOWN, this_cpu, xen } from "../state";
import { hvm_run_vcpu } from "../hvm/entry";
import { await_resume, is_stopped } from "../exclusive";
import { announce_entry, serve_shootdowns } from "../shootdown";
import { pay_wake } from "../sched/kick";
import { sched_deadline, schedule, vcpu_runnable } from "../sched/sched";
import { MICROSECS, NOW } from "../time/clock";
import { run_timers } from "../time/timer";
import { count_exception, count_exit, count_run, time_exit, time_guest, time_stamp, timing } from "../stats";
import { fuel_for, learn_speed } from "./fuel";
import { TBF_INTERRUPT, create_bounce_frame } from "./bounce";
import { trap_address, trap_flags } from "./inject";
import { profile_handled_exit, profile_idled, profile_left_guest } from "../profile";
import { handle_exit } from "./traps";

/** Idle spin: between nothing and this long (ns) before sleeping, by what spinning gained lately. */
const SPIN_MAX: u32 = 60_000;
const SPIN_MIN: u32 = 5_000;
/** How often (ns) a pCPU that awaits an answer looks whether it is wanted otherwise. */
const ANSWER_POLL: f64 = 1_000_000;
/** A sleep ends about this much too late. */
const WAKE_LATENCY: u64 = 100 * MICROSECS;

function stopping(): bool {
  return (atomic.load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.panic) | atomic.load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.stop)) != 0;
}

// @ts-ignore: decorator
@inline
function softirq_of(p: PerCpu): usize {
  return changetype<usize>(p) + offsetof<PerCpu>("softirq");
}

/** Until the machine stops. */
export function pcpu_loop(): void {
  const p = this_cpu();
  while (!stopping()) {
    if (p.spoke_to != 0) await_answer(p);
    const asked = atomic.xchg<u32>(softirq_of(p), 0);
    if (asked & SOFTIRQ_SHOOTDOWN) serve_shootdowns();
    const now = NOW();
    learn_speed(p, now);
    if (p.timer_next != 0 && p.timer_next <= now) run_timers(now);
    const v = current;
    if (asked & SOFTIRQ_SCHEDULE || v.is_idle || !vcpu_runnable(v) || now >= sched_deadline()) {
      pay_wake(p);
      schedule(now);
    }
    if (current.is_idle) idle(p);
    else if (current.domain.is_hvm) hvm_run_vcpu(p, current, now);
    else run_vcpu(p, current, now);
  }
}

/**
 * Deterministic time: whatever a TypeScript domain does because of a guest's signal, it does while guest code stands
 * still, so that its answer arrives at the same instruction in every run. A pause or a destruction is not kept waiting.
 */
function await_answer(p: PerCpu): void {
  const v = changetype<Vcpu>(p.spoke_to);
  const handled = changetype<usize>(v) + offsetof<Vcpu>("wake_handled");
  for (;;) {
    const seen = atomic.load<u32>(handled);
    if (seen == atomic.load<u32>(changetype<usize>(v) + offsetof<Vcpu>("wake_word")) || stopping()) break;
    if (atomic.load<u32>(changetype<usize>(current) + offsetof<Vcpu>("pause_count")) != 0) break;
    if (atomic.load<u32>(changetype<usize>(current.domain) + offsetof<Domain>("pause_count")) != 0) break;
    if (atomic.load<u32>(softirq_of(p)) & SOFTIRQ_SHOOTDOWN) {
      atomic.and<u32>(softirq_of(p), ~SOFTIRQ_SHOOTDOWN);
      serve_shootdowns();
    }
    host_wait(handled, seen, ANSWER_POLL);
  }
  p.spoke_to = 0;
}

/** Runs the vCPU, from `now` on, until something else is due. Reading the clock costs as much as a hypercall: short stays do without. */
function run_vcpu(p: PerCpu, v: Vcpu, now: u64): void {
  const cpu = v.cpu;
  const icount = load<u64>(cpu, CpuState.icount);
  const info_pending = CpuState.pending;
  store<i32>(cpu, fuel_for(p, v, now), CpuState.fuel);
  const in_guest = changetype<usize>(p) + offsetof<PerCpu>("in_guest");
  const ring = p.profile_ring;
  let before = icount;
  for (;;) {
    if (atomic.load<u32>(cpu + info_pending) != 0) atomic.store<u32>(cpu + info_pending, 0);
    if (v.nmi_pending) deliver_nmi(v);
    const info = v.vcpu_info;
    if (load<u8>(info, VcpuInfo.evtchn_upcall_pending) != 0 && load<u8>(info, VcpuInfo.evtchn_upcall_mask) == 0) deliver_events(v);
    // From here on this pCPU answers shoot-downs itself: who asks now finds in_guest set, or is found in softirq.
    announce_entry(p);
    if (atomic.load<u32>(softirq_of(p)) != 0 || !vcpu_runnable(v)) {
      atomic.store<u32>(in_guest, 0);
      break;
    }
    if (is_stopped()) {
      atomic.store<u32>(in_guest, 0);
      await_resume();
      continue;
    }
    let time: u64 = timing() ? time_stamp() : 0;
    const reason = run(cpu);
    atomic.store<u32>(in_guest, 0);
    const after = load<u64>(cpu, CpuState.icount);
    p.icount += after - before;
    before = after;
    count_exit(reason);
    if (timing()) time = time_guest(time);
    if (ring != 0) profile_left_guest(ring, v, reason);
    if (reason == EXIT.PREEMPT) break;
    if (reason == EXIT.EXCEPTION) count_exception(load<u32>(cpu, CpuState.exit_vector));
    handle_exit(v, reason);
    if (timing()) time_exit(reason, time);
    if (ring != 0) profile_handled_exit(ring);
    if (p.spoke_to != 0) break;
    if (load<i32>(cpu, CpuState.fuel) <= 0) break;
  }
  count_run(cpu, before - icount);
  p.ran_from = now;
  p.ran_insns = before - icount;
}

/** The upcall: events are masked while the guest handles it. */
function deliver_events(v: Vcpu): void {
  create_bounce_frame(v, v.event_callback, TBF_INTERRUPT, 0);
}

/** Goes where the trap table says; without an entry it is lost. NMIs mask themselves until the guest's iret. */
function deliver_nmi(v: Vcpu): void {
  if (v.nmi_masked) return;
  v.nmi_pending = 0;
  const address = trap_address(v, VEC.NMI);
  if (address == 0) return;
  v.nmi_masked = 1;
  create_bounce_frame(v, address, trap_flags(v, VEC.NMI), 0);
}

function something_to_do(p: PerCpu): bool {
  return atomic.load<u32>(softirq_of(p)) != 0 || stopping();
}

/** Nothing to run: spins for a while, then sleeps until a kick or the next timer. */
function idle(p: PerCpu): void {
  const x = xen();
  const now = NOW();
  if (x.deterministic && p.timer_next > now) {
    // Time does not pass while nothing runs: jump to the timer, unless an event is there that comes first.
    if (!something_to_do(p)) x.det_idle_ns += p.timer_next - now;
    return;
  }
  const word = changetype<usize>(p) + offsetof<PerCpu>("wake_word");
  const state = changetype<usize>(p) + offsetof<PerCpu>("idle");
  const seen = atomic.load<u32>(word);
  atomic.store<u32>(state, 1);
  const spin_until = now + <u64>p.spin_ns;
  let t = now;
  let gained = something_to_do(p);
  while (!gained && t < spin_until && (p.timer_next == 0 || t < p.timer_next)) {
    for (let i: u32 = 0; i < 50 && !gained; i++) gained = something_to_do(p);
    if (!gained) t = NOW();
  }
  if (!gained && (p.timer_next == 0 || p.timer_next > t + WAKE_LATENCY)) {
    atomic.store<u32>(state, 2);
    // A kick after this look changes the word, and the wait ends at once.
    if (!something_to_do(p)) host_wait(word, seen, p.timer_next == 0 ? -1 : <f64>(p.timer_next - t - WAKE_LATENCY));
    // A sleep that looking for longer would have spared makes that longer, one that nothing would have spared shorter.
    if (NOW() - t < SPIN_MAX) p.spin_ns = min<u32>(SPIN_MAX, p.spin_ns * 2);
    else p.spin_ns = max<u32>(SPIN_MIN, p.spin_ns >> 1);
  }
  atomic.store<u32>(state, 0);
  p.idle_ns += NOW() - now;
  if (p.profile_ring != 0) profile_idled(p.profile_ring, p.idle_vcpu);
}
