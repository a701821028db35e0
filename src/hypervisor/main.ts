// The hypervisor's exports (docs/architecture.md, "Hypervisor interface").
import { boot_machine, init_cpu_slot } from "./boot";
import { Vcpu } from "./domain";
import { ts_hypercall } from "./hypercalls/dispatch";
import { current } from "./percpu";
import { percpu_of, raise_softirq, xen, SOFTIRQ_SCHEDULE } from "./state";
import { pcpu_kick } from "./sched/kick";
import { pcpu_loop } from "./traps/entry";

export { resume_others, stop_others } from "./exclusive";
export { profile_ring, profile_start, profile_tick } from "./profile";
export { foreign_map, foreign_page, foreign_unmap, frame_written } from "./mm/foreign";
export { ts_domain_create, ts_thread_attach, ts_thread_detach } from "./ts_domain";

/** Once, on the thread that becomes dom0's. */
export function boot(pcpus: u32): void {
  boot_machine(pcpus);
}

/** Once per instance. kind: 0 pCPU, 1 thread of a TypeScript domain. */
export function cpu_init(slot: u32, kind: u32): void {
  init_cpu_slot(slot, kind);
}

/** A pCPU's work; returns when the machine stops. */
export function pcpu_main(): void {
  pcpu_loop();
}

/** For TypeScript domains: guest handles are machine addresses. */
export function hypercall(op: u32, a1: u64, a2: u64, a3: u64, a4: u64, a5: u64): i64 {
  return ts_hypercall(op, a1, a2, a3, a4, a5);
}

/** Address of the u32 that changes, and is notified, whenever an event becomes pending for this thread's domain. */
export function wake_word(): usize {
  return changetype<usize>(current) + offsetof<Vcpu>("wake_word");
}

/** Address of the u32 to which the thread writes (and notifies) the wake word's value that it has handled all events of. */
export function wake_handled(): usize {
  return changetype<usize>(current) + offsetof<Vcpu>("wake_handled");
}

/** Address of the u32 that the thread makes 1 while its sleep, which is short, need not be ended by guests that run on. */
export function wake_later(): usize {
  return changetype<usize>(current) + offsetof<Vcpu>("wake_later");
}

/** Gets every pCPU through its loop: after MachineInfo.stop or panic was set. */
export function kick_all(): void {
  const x = xen();
  for (let i: u32 = 0; i < x.pcpus; i++) {
    const p = percpu_of(i);
    raise_softirq(p, SOFTIRQ_SCHEDULE);
    pcpu_kick(p);
  }
}
