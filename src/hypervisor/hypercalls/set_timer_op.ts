// HYPERVISOR_set_timer_op: the single-shot timer, by absolute system time; 0 stops it (public/xen.h).
import { current } from "../percpu";
import { NOW, SECONDS } from "../time/clock";
import { vcpu_set_singleshot, vcpu_stop_singleshot } from "../time/vtimer";

/** A negative or very distant time is taken for a mistake (time wrapped): fire soon, so that the guest looks again. */
const FAR: u64 = 1 << 50;

export function do_set_timer_op(timeout: u64): i64 {
  const v = current;
  if (timeout == 0) {
    vcpu_stop_singleshot(v);
    return 0;
  }
  const now = NOW();
  if (<i64>timeout < 0 || (timeout > now && timeout - now > FAR)) vcpu_set_singleshot(v, now + SECONDS / 10);
  else vcpu_set_singleshot(v, timeout);
  return 0;
}
