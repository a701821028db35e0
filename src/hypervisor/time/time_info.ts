// What guests read the time from: vcpu_time_info in each vcpu_info (and its copy), and the wall clock in shared_info.
// Both follow the version protocol of public/xen.h: odd while being written, a new value afterwards.
import { current } from "../percpu";
import { Domain, Vcpu, domain_vcpu, guest_kernel_mode } from "../domain";
import { SharedInfo, VcpuInfo, VcpuTimeInfo, CpuState } from "../abi";
import { NOW, SECONDS } from "./clock";
import { guest_write } from "../engine";
import { scratch } from "../percpu";
import { xen } from "../state";
import { guest_handle_okay } from "../guest";

/** vcpu_time_info.flags: the TSC never warps between vCPUs. */
const XEN_PVCLOCK_TSC_STABLE_BIT: u8 = 1;

/** 32.32 fraction such that ns = ((ticks << shift) * mul) >> 32, for a TSC of `khz`. */
export function tsc_to_system_shift(khz: u64): i32 {
  let shift: i32 = 0;
  let hz = khz * 1000;
  while (hz > 2 * SECONDS) {
    hz >>= 1;
    shift--;
  }
  while (hz <= SECONDS) {
    hz <<= 1;
    shift++;
  }
  return shift;
}
export function tsc_to_system_mul(khz: u64): u32 {
  const shift = tsc_to_system_shift(khz);
  const hz = shift >= 0 ? (khz * 1000) << shift : (khz * 1000) >> -shift;
  return <u32>((SECONDS << 32) / hz);
}

/** The guest's TSC at system time `ns`. */
export function tsc_at(v: Vcpu, ns: u64): u64 {
  const khz = <u64>xen().tsc_khz;
  const ticks = khz == 1_000_000 ? ns : (ns / 1_000_000) * khz + ((ns % 1_000_000) * khz) / 1_000_000;
  return ticks + load<u64>(v.cpu, CpuState.tsc_offset);
}

function bump(at: usize): void {
  atomic.store<u32>(at, atomic.load<u32>(at) + 1);
}

/** Writes the vCPU's time info; force: even if its basis did not change. */
export function update_vcpu_system_time(v: Vcpu): void {
  const khz = <u64>xen().tsc_khz;
  const now = NOW();
  const ti = v.vcpu_info + VcpuInfo.time;
  bump(ti + VcpuTimeInfo.version);
  store<u64>(ti, tsc_at(v, now), VcpuTimeInfo.tsc_timestamp);
  store<u64>(ti, now, VcpuTimeInfo.system_time);
  store<u32>(ti, tsc_to_system_mul(khz), VcpuTimeInfo.tsc_to_system_mul);
  store<i8>(ti, <i8>tsc_to_system_shift(khz), VcpuTimeInfo.tsc_shift);
  store<u8>(ti, XEN_PVCLOCK_TSC_STABLE_BIT, VcpuTimeInfo.flags);
  bump(ti + VcpuTimeInfo.version);
  if (v.time_info_guest != 0) v.time_pending = update_secondary_time(v) ? 0 : 1;
}

/** Copies the time info to the guest's second area, with the version protocol. False: not mapped now. */
export function update_secondary_time(v: Vcpu): bool {
  if (v != current || !guest_kernel_mode(v)) return false;
  if (!guest_handle_okay(v.time_info_guest, <u32>VcpuTimeInfo.SIZE)) return true;
  const s = scratch + 1024;
  memory.copy(s, v.vcpu_info + VcpuInfo.time, VcpuTimeInfo.SIZE);
  const version = load<u32>(s, VcpuTimeInfo.version);
  store<u32>(s, version | 1, VcpuTimeInfo.version);
  if (guest_write(v.cpu, v.time_info_guest, s, 4) != 0) return false;
  if (guest_write(v.cpu, v.time_info_guest, s, <u32>VcpuTimeInfo.SIZE) != 0) return false;
  store<u32>(s, (version | 1) + 1, VcpuTimeInfo.version);
  return guest_write(v.cpu, v.time_info_guest, s, 4) == 0;
}

/** Wall clock: shared_info's wc_* is the time of day at system time 0, plus the domain's offset. */
export function update_domain_wallclock(d: Domain): void {
  if (d.shared_info == 0) return;
  const at = d.shared_info;
  const ns = xen().wall_boot_ns + <u64>(<i64>d.time_offset_seconds * <i64>SECONDS);
  bump(at + SharedInfo.wc_version);
  const sec = ns / SECONDS;
  store<u32>(at, <u32>sec, SharedInfo.wc_sec);
  store<u32>(at, <u32>(ns % SECONDS), SharedInfo.wc_nsec);
  store<u32>(at, <u32>(sec >> 32), SharedInfo.wc_sec_hi);
  bump(at + SharedInfo.wc_version);
}

export function update_domain_time(d: Domain): void {
  update_domain_wallclock(d);
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) != 0 && v.vcpu_info != 0) update_vcpu_system_time(v);
  }
}
