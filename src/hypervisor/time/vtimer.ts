// A vCPU's timers as hypercalls see them: the periodic tick and the single-shot timer, both delivered as VIRQ_TIMER
// (public/vcpu.h).
import { Vcpu } from "../domain";
import { VIRQ } from "../abi";
import { Timer, TIMER_PERIODIC, TIMER_POLL, TIMER_SINGLESHOT, init_timer, kill_timer, migrate_timer, set_timer, stop_timer } from "./timer";
import { vlapic_timer_migrate } from "../hvm/vlapic_timer";
import { send_guest_vcpu_virq } from "../evtchn/virq";
import { xzalloc, xfree } from "../mm/xmalloc";
import { NOW } from "./clock";

/** Every new PV vCPU ticks at 100 Hz until its kernel stops that. */
const DEFAULT_PERIOD: u64 = 10_000_000;

/** Allocates the timers; false: no memory. */
export function vcpu_timers_create(v: Vcpu): bool {
  const t = xzalloc(3 * <u32>offsetof<Timer>(), 8);
  if (t == 0) return false;
  v.singleshot_timer = t;
  v.periodic_timer = t + offsetof<Timer>();
  v.poll_timer = t + 2 * offsetof<Timer>();
  init_timer(changetype<Timer>(v.singleshot_timer), TIMER_SINGLESHOT, changetype<usize>(v), 0, v.processor);
  init_timer(changetype<Timer>(v.periodic_timer), TIMER_PERIODIC, changetype<usize>(v), 0, v.processor);
  init_timer(changetype<Timer>(v.poll_timer), TIMER_POLL, changetype<usize>(v), 0, v.processor);
  if (!v.is_idle && !v.domain.is_ts && !v.domain.is_hvm) v.periodic_period = DEFAULT_PERIOD;
  return true;
}

/** Stops all of them for good (the vCPU goes away). */
export function vcpu_timers_kill(v: Vcpu): void {
  if (v.singleshot_timer == 0) return;
  v.periodic_period = 0;
  kill_timer(changetype<Timer>(v.singleshot_timer));
  kill_timer(changetype<Timer>(v.periodic_timer));
  kill_timer(changetype<Timer>(v.poll_timer));
}

export function vcpu_timers_free(v: Vcpu): void {
  if (v.singleshot_timer == 0) return;
  xfree(v.singleshot_timer);
  v.singleshot_timer = 0;
}

/** Follow the vCPU to the pCPU it runs on, so that its ticks need no kick. */
export function vcpu_timers_migrate(v: Vcpu): void {
  migrate_timer(changetype<Timer>(v.singleshot_timer), v.processor);
  migrate_timer(changetype<Timer>(v.periodic_timer), v.processor);
  migrate_timer(changetype<Timer>(v.poll_timer), v.processor);
  if (v.vlapic != 0) vlapic_timer_migrate(v);
}

export function send_timer_event(v: Vcpu): void {
  send_guest_vcpu_virq(v, VIRQ.TIMER);
}

/** Starts the periodic tick anew or, with period 0, stops it. It runs only while the vCPU runs, as in Xen. */
export function vcpu_set_periodic_timer(v: Vcpu, period: u64): void {
  const t = changetype<Timer>(v.periodic_timer);
  stop_timer(t);
  v.periodic_period = period;
  const now = NOW();
  v.periodic_last = now;
  if (period != 0 && v.is_running) set_timer(t, now + period);
}

/** The vCPU has been put on its pCPU: a tick that it missed comes now, the next one a period later. */
export function vcpu_periodic_resume(v: Vcpu, now: u64): void {
  const period = v.periodic_period;
  if (period == 0) return;
  if (now >= v.periodic_last + period) {
    v.periodic_last = now;
    send_timer_event(v);
  }
  set_timer(changetype<Timer>(v.periodic_timer), v.periodic_last + period);
}

/** It goes off its pCPU. */
export function vcpu_periodic_pause(v: Vcpu): void {
  if (v.periodic_period != 0) stop_timer(changetype<Timer>(v.periodic_timer));
}

export function vcpu_set_singleshot(v: Vcpu, expires: u64): void {
  set_timer(changetype<Timer>(v.singleshot_timer), expires);
}
export function vcpu_stop_singleshot(v: Vcpu): void {
  stop_timer(changetype<Timer>(v.singleshot_timer));
}
export function vcpu_set_poll_timer(v: Vcpu, expires: u64): void {
  set_timer(changetype<Timer>(v.poll_timer), expires);
}
export function vcpu_stop_poll_timer(v: Vcpu): void {
  stop_timer(changetype<Timer>(v.poll_timer));
}
