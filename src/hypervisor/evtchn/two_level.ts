// The 2-level ABI: pending and mask bits in shared_info, one selector bit a word in vcpu_info (public/xen.h).
import { EVTCHN_2L_NR_CHANNELS, SharedInfo, VcpuInfo } from "../abi";
import { Domain, Vcpu, domain_vcpu } from "../domain";
import { Evtchn } from "./struct";
import { mark_events_pending } from "./evtchn";

// @ts-ignore: decorator
@inline
function word(base: usize, port: u32): usize {
  return base + ((<usize>port >> 6) << 3);
}
// @ts-ignore: decorator
@inline
function bit(port: u32): u64 {
  return (<u64>1) << (<u64>port & 63);
}

/** The channel's bit becomes pending. Returns the vCPU to kick, or null. */
export function evtchn_2l_set_pending(d: Domain, v: Vcpu, port: u32): Vcpu {
  const b = bit(port);
  if (port >= EVTCHN_2L_NR_CHANNELS) return changetype<Vcpu>(0);
  if (atomic.or<u64>(word(d.shared_info + SharedInfo.evtchn_pending, port), b) & b) return changetype<Vcpu>(0);
  if (atomic.load<u64>(word(d.shared_info + SharedInfo.evtchn_mask, port)) & b) return changetype<Vcpu>(0);
  return select_word(v, port);
}

function select_word(v: Vcpu, port: u32): Vcpu {
  const s = (<u64>1) << (<u64>port >> 6);
  if (atomic.or<u64>(v.vcpu_info + VcpuInfo.evtchn_pending_sel, s) & s) return changetype<Vcpu>(0);
  return mark_events_pending(v);
}

/** Clears the mask; if the channel is pending its vCPU hears of it. */
export function evtchn_2l_unmask(d: Domain, v: Vcpu, port: u32): Vcpu {
  const b = bit(port);
  if (port >= EVTCHN_2L_NR_CHANNELS) return changetype<Vcpu>(0);
  if (!(atomic.and<u64>(word(d.shared_info + SharedInfo.evtchn_mask, port), ~b) & b)) return changetype<Vcpu>(0);
  if (!(atomic.load<u64>(word(d.shared_info + SharedInfo.evtchn_pending, port)) & b)) return changetype<Vcpu>(0);
  return select_word(v, port);
}

export function evtchn_2l_clear_pending(d: Domain, port: u32): void {
  if (port < EVTCHN_2L_NR_CHANNELS) atomic.and<u64>(word(d.shared_info + SharedInfo.evtchn_pending, port), ~bit(port));
}

export function evtchn_2l_is_pending(d: Domain, port: u32): bool {
  return port < EVTCHN_2L_NR_CHANNELS && (atomic.load<u64>(word(d.shared_info + SharedInfo.evtchn_pending, port)) & bit(port)) != 0;
}

export function evtchn_2l_is_masked(d: Domain, port: u32): bool {
  return port >= EVTCHN_2L_NR_CHANNELS || (atomic.load<u64>(word(d.shared_info + SharedInfo.evtchn_mask, port)) & bit(port)) != 0;
}

/** vCPU notified for a channel. */
export function notify_vcpu(d: Domain, chn: Evtchn): Vcpu {
  return domain_vcpu(d, chn.notify_vcpu_id);
}
