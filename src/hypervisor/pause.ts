// Pausing domains and vCPUs: counted, so that independent users can pause the same one.
import { Domain, Vcpu, domain_vcpu } from "./domain";
import { vcpu_sleep_nosync, vcpu_sleep_sync, vcpu_wake, domain_wake } from "./sched/sched";

// @ts-ignore: decorator
@inline
function vcpu_count(v: Vcpu): usize {
  return changetype<usize>(v) + offsetof<Vcpu>("pause_count");
}
// @ts-ignore: decorator
@inline
function domain_count(d: Domain): usize {
  return changetype<usize>(d) + offsetof<Domain>("pause_count");
}

/** Pauses v and waits until it does not run. Not the current vCPU. */
export function vcpu_pause(v: Vcpu): void {
  atomic.add<u32>(vcpu_count(v), 1);
  vcpu_sleep_sync(v);
}
export function vcpu_pause_nosync(v: Vcpu): void {
  atomic.add<u32>(vcpu_count(v), 1);
  vcpu_sleep_nosync(v);
}
export function vcpu_unpause(v: Vcpu): void {
  if (atomic.sub<u32>(vcpu_count(v), 1) == 1) vcpu_wake(v);
}

/** Pauses every vCPU of d and waits until none runs. Not the current domain. */
export function domain_pause(d: Domain): void {
  atomic.add<u32>(domain_count(d), 1);
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) != 0) vcpu_sleep_sync(v);
  }
}
export function domain_pause_nosync(d: Domain): void {
  atomic.add<u32>(domain_count(d), 1);
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) != 0) vcpu_sleep_nosync(v);
  }
}
export function domain_unpause(d: Domain): void {
  if (atomic.sub<u32>(domain_count(d), 1) == 1) domain_wake(d);
}
