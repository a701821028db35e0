// What happens when a timer is due, by kind.
import { Domain, Vcpu } from "../domain";
import { Timer, TIMER_PERIODIC, TIMER_POLL, TIMER_SCHED_DOMAIN, TIMER_SCHED_POOL, TIMER_SINGLESHOT, TIMER_VLAPIC, TIMER_WATCHDOG, set_timer } from "./timer";
import { vlapic_timer_fired } from "../hvm/vlapic_timer";
import { send_timer_event } from "./vtimer";
import { vcpu_end_poll } from "../sched/poll";
import { sched_domain_timer_fired, sched_pool_timer_fired } from "../sched/sched";
import { CpuPool } from "../sched/unit";
import { watchdog_fired } from "../sched/watchdog";

export function timer_function(t: Timer, now: u64): void {
  switch (t.kind) {
    case TIMER_SINGLESHOT:
      send_timer_event(changetype<Vcpu>(t.data));
      break;
    case TIMER_PERIODIC: {
      const v = changetype<Vcpu>(t.data);
      const period = v.periodic_period;
      if (period == 0) break;
      send_timer_event(v);
      // Ticks that were missed are not made up for: the next falls on the grid.
      let next = v.periodic_last + period;
      if (next <= now) next = now + period - ((now - v.periodic_last) % period);
      v.periodic_last = next - period;
      set_timer(t, next);
      break;
    }
    case TIMER_POLL:
      vcpu_end_poll(changetype<Vcpu>(t.data));
      break;
    case TIMER_VLAPIC:
      vlapic_timer_fired(changetype<Vcpu>(t.data), now);
      break;
    case TIMER_WATCHDOG:
      watchdog_fired(changetype<Domain>(t.data), t.arg);
      break;
    case TIMER_SCHED_DOMAIN:
      sched_domain_timer_fired(changetype<Domain>(t.data), now);
      break;
    case TIMER_SCHED_POOL:
      sched_pool_timer_fired(changetype<CpuPool>(t.data), now);
      break;
  }
}
