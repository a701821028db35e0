// How a domain stops by itself or is stopped: shutdown with a reason, and crash. The control domain hears of it by
// VIRQ_DOM_EXC and then destroys (or, for suspend, saves) the domain.
import { SHUTDOWN, VIRQ } from "./abi";
import { Domain, domain_vcpu } from "./domain";
import { spin_lock, spin_unlock } from "./spinlock";
import { vcpu_pause_nosync, vcpu_unpause } from "./pause";
import { send_global_virq } from "./evtchn/virq";
import { evtchn_send_from } from "./evtchn/evtchn";

// @ts-ignore: decorator
@inline
function lock_of(d: Domain): usize {
  return changetype<usize>(d) + offsetof<Domain>("shutdown_lock");
}

/** Stops every vCPU of d and reports `reason` (SHUTDOWN.*). The first call counts. */
export function domain_shutdown(d: Domain, reason: u32): void {
  spin_lock(lock_of(d));
  if (d.shutdown_code == u32.MAX_VALUE) d.shutdown_code = reason;
  const already = d.is_shutting_down != 0;
  d.is_shutting_down = 1;
  spin_unlock(lock_of(d));
  if (already) return;
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) == 0 || v.paused_for_shutdown) continue;
    v.paused_for_shutdown = 1;
    vcpu_pause_nosync(v);
  }
  atomic.store<u32>(changetype<usize>(d) + offsetof<Domain>("is_shut_down"), 1);
  // The port may be gone by now: then as for any other end.
  const told = d.shutdown_code == SHUTDOWN.suspend && d.suspend_evtchn != 0 && evtchn_send_from(d, d.suspend_evtchn) == 0;
  if (!told) send_global_virq(VIRQ.DOM_EXC);
}

/** Undoes a suspend (domctl resumedomain): the vCPUs go on. */
export function domain_resume(d: Domain): void {
  spin_lock(lock_of(d));
  d.is_shutting_down = 0;
  d.is_shut_down = 0;
  d.shutdown_code = u32.MAX_VALUE;
  spin_unlock(lock_of(d));
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) == 0 || !v.paused_for_shutdown) continue;
    v.paused_for_shutdown = 0;
    vcpu_unpause(v);
  }
}
