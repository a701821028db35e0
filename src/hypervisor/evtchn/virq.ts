// Virtual IRQs: an event channel per vCPU for the timer and the like, one per domain for the global ones (public/xen.h).
import { NR_VIRQS, VIRQ } from "../abi";
import { put_domain } from "../domain_list";
import { Domain, Vcpu, domain_vcpu } from "../domain";
import { spin_lock, spin_unlock } from "../spinlock";
import { Hypervisor, xen } from "../state";
import { chn_lock, notify, set_pending } from "./evtchn";
import { ECS_VIRQ, evtchn_from_port, port_is_valid } from "./struct";

const NO_VCPU = changetype<Vcpu>(0);

/** One that each vCPU has for itself? */
export function virq_is_per_vcpu(virq: u32): bool {
  switch (virq) {
    case VIRQ.TIMER:
    case VIRQ.DEBUG:
    case VIRQ.XENOPROF:
    case VIRQ.XENPMU:
      return true;
    default:
      return false;
  }
}

/** Raises `virq` where v has bound it. No lock is held. */
export function send_guest_vcpu_virq(v: Vcpu, virq: u32): void {
  const d = v.domain;
  const lock = changetype<usize>(v) + offsetof<Vcpu>("virq_lock");
  // The lock keeps the port from being closed and given away meanwhile.
  spin_lock(lock);
  const port = load<u32>(v.virq_to_evtchn + (<usize>virq << 2));
  let kick = NO_VCPU;
  if (port != 0 && port_is_valid(d, port)) {
    const chn = evtchn_from_port(d, port);
    spin_lock(chn_lock(chn));
    if (chn.state == ECS_VIRQ) kick = set_pending(d, chn);
    spin_unlock(chn_lock(chn));
  }
  spin_unlock(lock);
  if (port != 0) notify(d, kick, port);
}

/** d dies: dom0 handles again what it handled. */
export function virq_handlers_forget(d: Domain): void {
  const x = xen();
  const lock = changetype<usize>(x) + offsetof<Hypervisor>("virq_lock");
  for (let virq: usize = 0; virq < NR_VIRQS; virq++) {
    const at = x.virq_handlers + (virq << 2);
    spin_lock(lock);
    const its = load<u32>(at) == changetype<usize>(d);
    if (its) store<u32>(at, 0);
    spin_unlock(lock);
    if (its) put_domain(d);
  }
}

/** Raises a global VIRQ in the domain that handles it: dom0 unless domctl set_virq_handler says otherwise. */
export function send_global_virq(virq: u32): void {
  const x = xen();
  const lock = changetype<usize>(x) + offsetof<Hypervisor>("virq_lock");
  spin_lock(lock);
  let d = changetype<Domain>(load<u32>(x.virq_handlers + (<usize>virq << 2)));
  if (changetype<usize>(d) == 0) d = x.dom0;
  spin_unlock(lock);
  if (changetype<usize>(d) == 0) return;
  const v = domain_vcpu(d, 0);
  if (changetype<usize>(v) != 0) send_guest_vcpu_virq(v, virq);
}
