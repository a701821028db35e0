// A domain whose kernel is debugged from a control domain (domctl setdebugging): its breakpoints and single steps stop it
// and tell the control domain, in place of being the guest's to handle.
import { VIRQ } from "./abi";
import { Domain, Vcpu, guest_kernel_mode } from "./domain";
import { domain_pause_nosync } from "./pause";
import { send_global_virq } from "./evtchn/virq";
import { spin_lock, spin_unlock } from "./spinlock";

/** Is a breakpoint of `v` for a debugger to see? */
export function debugger_watches(v: Vcpu): bool {
  return v.domain.debugger_attached != 0 && guest_kernel_mode(v);
}

/** Is a single step of `v` for a debugger to see? In user mode, too, if it asked for it. */
export function debugger_watches_steps(v: Vcpu): bool {
  return v.domain.debugger_attached != 0 && (guest_kernel_mode(v) || v.debugger_steps != 0);
}

/** Are the breakpoints in the debug registers of `v` a debugger's? */
export function debugger_watches_data(v: Vcpu): bool {
  return v.domain.debugger_attached != 0 && v.debugger_watches != 0;
}

/**
 * The current vCPU stops its domain with `vector`, as if the control domain had paused it; gdbsx_domstatus tells which it
 * was. One that has stopped before and was not asked about stays as it is.
 */
export function domain_pause_for_debugger(v: Vcpu, vector: u32): void {
  const d = v.domain;
  const lock = changetype<usize>(d) + offsetof<Domain>("domain_lock");
  spin_lock(lock);
  d.controller_pause_count += 1;
  v.gdbsx_vcpu_event = vector;
  spin_unlock(lock);
  domain_pause_nosync(d);
  send_global_virq(VIRQ.DEBUGGER);
}
