// SCHEDOP_block and SCHEDOP_poll: giving up the CPU until an event (public/sched.h).
import { ERRNO, SchedPoll, VcpuInfo } from "../abi";
import { Domain, VPF_blocked, VPF_blocked_in_poll, Vcpu, domain_vcpu } from "../domain";
import { copy_from_guest, guest_handle_okay } from "../guest";
import { current, scratch } from "../percpu";
import { host_wait } from "../host";
import { evtchn_is_pending, evtchn_port_valid } from "../evtchn/evtchn";
import { hvm_local_events_need_delivery } from "../hvm/irq";
import { vcpu_set_poll_timer } from "../time/vtimer";
import { NOW } from "../time/clock";
import { request_schedule, vcpu_unblock } from "./sched";

/** Most ports of one poll. */
const MAX_POLL_PORTS: u32 = 128;

// @ts-ignore: decorator
@inline
function flags_of(v: Vcpu): usize {
  return changetype<usize>(v) + offsetof<Vcpu>("pause_flags");
}

/** Pending and not masked? */
export function local_events_need_delivery(v: Vcpu): bool {
  if (v.domain.is_hvm) return hvm_local_events_need_delivery(v);
  const info = v.vcpu_info;
  return atomic.load<u8>(info + VcpuInfo.evtchn_upcall_pending) != 0 && load<u8>(info, VcpuInfo.evtchn_upcall_mask) == 0;
}

/** SCHEDOP_block. For a TypeScript domain the thread itself sleeps. */
export function do_block(): i64 {
  const v = current;
  store<u8>(v.vcpu_info, 0, VcpuInfo.evtchn_upcall_mask);
  if (v.domain.is_ts) {
    const word = atomic.load<u32>(changetype<usize>(v) + offsetof<Vcpu>("wake_word"));
    if (!local_events_need_delivery(v)) host_wait(changetype<usize>(v) + offsetof<Vcpu>("wake_word"), word, -1);
    return 0;
  }
  atomic.or<u32>(flags_of(v), VPF_blocked);
  // An event that came before the flag was set has not unblocked us: look again.
  if (local_events_need_delivery(v)) atomic.and<u32>(flags_of(v), ~VPF_blocked);
  else request_schedule();
  return 0;
}

/** SCHEDOP_poll: until one of the ports is pending, or `timeout` (system time, 0: none). */
export function do_poll(arg: u64): i64 {
  const v = current;
  const s = scratch;
  if (copy_from_guest(s, arg, <u32>SchedPoll.SIZE) != 0) return -ERRNO.EFAULT;
  const ports = load<u64>(s, SchedPoll.ports);
  const n = load<u32>(s, SchedPoll.nr_ports);
  const timeout = load<u64>(s, SchedPoll.timeout);
  if (n > MAX_POLL_PORTS) return -ERRNO.EINVAL;
  if (!guest_handle_okay(ports, n << 2)) return -ERRNO.EFAULT;
  const d = v.domain;
  const wake = atomic.load<u32>(changetype<usize>(v) + offsetof<Vcpu>("wake_word"));
  atomic.add<u32>(changetype<usize>(d) + offsetof<Domain>("pollers"), 1);
  v.poll_evtchn = -1;
  atomic.or<u32>(flags_of(v), VPF_blocked | VPF_blocked_in_poll);
  let rc: i64 = 0;
  let ready = local_events_need_delivery(v);
  if (!ready) {
    if (copy_from_guest(s, ports, n << 2) != 0) rc = -ERRNO.EFAULT;
    for (let i: u32 = 0; rc == 0 && !ready && i < n; i++) {
      const port = load<u32>(s + (i << 2));
      if (!evtchn_port_valid(d, port)) rc = -ERRNO.EINVAL;
      else if (evtchn_is_pending(d, port)) ready = true;
      else if (n == 1) v.poll_evtchn = <i32>port;
    }
  }
  if (ready || rc != 0) {
    end_poll(v);
    return rc;
  }
  if (d.is_ts) {
    const now = NOW();
    if (timeout == 0 || timeout > now) {
      host_wait(changetype<usize>(v) + offsetof<Vcpu>("wake_word"), wake, timeout == 0 ? -1 : <f64>(timeout - now));
    }
    end_poll(v);
    return 0;
  }
  if (timeout != 0) vcpu_set_poll_timer(v, timeout);
  request_schedule();
  return 0;
}

/** The vCPU polls no more (whoever clears VPF_blocked_in_poll calls this once). */
function end_poll(v: Vcpu): void {
  v.poll_evtchn = 0;
  const old = atomic.and<u32>(flags_of(v), ~(VPF_blocked | VPF_blocked_in_poll));
  if (old & VPF_blocked_in_poll) atomic.sub<u32>(changetype<usize>(v.domain) + offsetof<Domain>("pollers"), 1);
}

/** The poll timer fired, or a port became pending. */
export function vcpu_end_poll(v: Vcpu): void {
  if (atomic.load<u32>(flags_of(v)) & VPF_blocked_in_poll) vcpu_unblock(v);
}

/** Port `port` of d became pending: wakes who polls it. */
export function evtchn_check_pollers(d: Domain, port: u32): void {
  if (atomic.load<u32>(changetype<usize>(d) + offsetof<Domain>("pollers")) == 0) return;
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) == 0 || v.poll_evtchn == 0) continue;
    if (v.poll_evtchn > 0 && <u32>v.poll_evtchn != port) continue;
    vcpu_end_poll(v);
  }
}
