// The one clock. System time is nanoseconds since machine boot: the host's monotonic clock, or, in deterministic mode,
// one nanosecond a retired guest instruction plus what idling skipped.
import { MachineInfo, MACHINE_INFO_ADDRESS } from "../abi";
import { host_now } from "../host";
import { percpu_of, xen } from "../state";

/** System time in nanoseconds. Never called with a lock held (it is a host import) unless deterministic. */
export function NOW(): u64 {
  const x = xen();
  if (x.deterministic) {
    let t = x.det_idle_ns;
    for (let i: u32 = 0; i < x.pcpus; i++) t += percpu_of(i).icount;
    return t;
  }
  return <u64>host_now() - load<u64>(MACHINE_INFO_ADDRESS, MachineInfo.boot_ns);
}

export const MILLISECS: u64 = 1_000_000;
export const MICROSECS: u64 = 1_000;
export const SECONDS: u64 = 1_000_000_000;
