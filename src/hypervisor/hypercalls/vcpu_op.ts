// HYPERVISOR_vcpu_op (public/vcpu.h).
import {
  ERRNO, HYPERCALL, SHUTDOWN, VCPUOP, VcpuGuestContext, VcpuInfo, VcpuRegisterRunstateMemoryArea,
  VcpuRegisterVcpuInfo, VcpuRunstateInfo, VcpuSetPeriodicTimer, VcpuSetSingleshotTimer,
} from "../abi";
import { Domain, MAX_VIRT_CPUS, VPF_down, Vcpu, domain_vcpu } from "../domain";
import { copy_from_guest, copy_to_guest, guest_handle_okay } from "../guest";
import { current, scratch } from "../percpu";
import { hypercall_create_continuation } from "./continuation";
import { MILLISECS, NOW } from "../time/clock";
import { vcpu_set_periodic_timer, vcpu_set_singleshot, vcpu_stop_singleshot } from "../time/vtimer";
import { update_secondary_time, update_vcpu_system_time } from "../time/time_info";
import { update_runstate_area, vcpu_runstate_get } from "../sched/runstate";
import { vcpu_kick, vcpu_sleep_nosync, vcpu_wake } from "../sched/sched";
import { domain_shutdown } from "../shutdown";
import { map_domain_page } from "../mm/frame";
import { get_page_and_type_writable } from "../mm/domain";
import { put_old_guest_table } from "../mm/old_table";
import { xfree, xzalloc } from "../mm/xmalloc";
import { spin_lock, spin_unlock } from "../spinlock";
import { set_vcpu_context } from "../vcpu_context";

/** Longest period that does not overflow a signed 64-bit time. */
const PERIOD_MAX: u64 = (1 << 62) - 1;

// @ts-ignore: decorator
@inline
function flags_of(v: Vcpu): usize {
  return changetype<usize>(v) + offsetof<Vcpu>("pause_flags");
}
// @ts-ignore: decorator
@inline
function domain_lock(d: Domain): usize {
  return changetype<usize>(d) + offsetof<Domain>("domain_lock");
}

function initialise(v: Vcpu, arg: u64): i64 {
  if (v.vcpu_info == 0) return -ERRNO.EINVAL;
  let rc: i64 = put_old_guest_table(current);
  if (rc == 0) rc = initialise_from(v, arg);
  if (rc != -ERRNO.ERESTART) return rc;
  return hypercall_create_continuation(HYPERCALL.vcpu_op, VCPUOP.initialise, v.vcpu_id, arg, 0, 0);
}

function initialise_from(v: Vcpu, arg: u64): i64 {
  const ctxt = xzalloc(<u32>VcpuGuestContext.SIZE);
  if (ctxt == 0) return -ERRNO.ENOMEM;
  let rc: i64 = -ERRNO.EFAULT;
  if (copy_from_guest(ctxt, arg, <u32>VcpuGuestContext.SIZE) == 0) {
    // Only one may do it; page-table validation is too long for a spinlock.
    if (atomic.cmpxchg<u32>(changetype<usize>(v) + offsetof<Vcpu>("initialising"), 0, 1) != 0) rc = -ERRNO.EEXIST;
    else {
      rc = v.is_initialised ? -ERRNO.EEXIST : set_vcpu_context(v, ctxt);
      if (rc != 0) atomic.store<u32>(changetype<usize>(v) + offsetof<Vcpu>("initialising"), 0);
    }
  }
  xfree(ctxt);
  return rc;
}

/** Makes it runnable. */
function vcpu_up(v: Vcpu): i64 {
  if (!v.is_initialised) return -ERRNO.EINVAL;
  if (atomic.and<u32>(flags_of(v), ~VPF_down) & VPF_down) vcpu_wake(v);
  return 0;
}

/** Stops it until it is brought up again; the last one's end is the domain's. */
export function vcpu_down(v: Vcpu): i64 {
  const d = v.domain;
  let others = false;
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const o = domain_vcpu(d, i);
    if (changetype<usize>(o) != 0 && o != v && !(atomic.load<u32>(flags_of(o)) & VPF_down)) others = true;
  }
  if (!others) {
    domain_shutdown(d, SHUTDOWN.poweroff);
    return 0;
  }
  if (!(atomic.or<u32>(flags_of(v), VPF_down) & VPF_down)) vcpu_sleep_nosync(v);
  return 0;
}

/** Moves v's vcpu_info into a page of the guest, for good. */
function map_vcpu_info(v: Vcpu, gfn: u64, offset: u32): i64 {
  if (offset > 4096 - <u32>VcpuInfo.SIZE || (offset & 7) != 0) return -ERRNO.ENXIO;
  if (v.vcpu_info_mfn != 0) return -ERRNO.EINVAL;
  // Nobody writes to the old one meanwhile: v is this vCPU, or down.
  if (v != current && !(atomic.load<u32>(flags_of(v)) & VPF_down)) return -ERRNO.EINVAL;
  const mfn = get_page_and_type_writable(v.domain, gfn);
  if (mfn == 0) return -ERRNO.EINVAL;
  const info = map_domain_page(mfn) + offset;
  memory.copy(info, v.vcpu_info, VcpuInfo.SIZE);
  v.vcpu_info = info;
  v.vcpu_info_mfn = mfn;
  // An event may have been noted in the old one: let the guest look at all.
  atomic.store<u8>(info + VcpuInfo.evtchn_upcall_pending, 1);
  atomic.store<u64>(info + VcpuInfo.evtchn_pending_sel, u64.MAX_VALUE);
  return 0;
}

function register_vcpu_info(v: Vcpu, arg: u64): i64 {
  if (v.domain.is_ts) return -ERRNO.EOPNOTSUPP;
  if (copy_from_guest(scratch, arg, <u32>VcpuRegisterVcpuInfo.SIZE) != 0) return -ERRNO.EFAULT;
  const gfn = load<u64>(scratch, VcpuRegisterVcpuInfo.mfn);
  const offset = load<u32>(scratch, VcpuRegisterVcpuInfo.offset);
  const d = v.domain;
  spin_lock(domain_lock(d));
  const rc = map_vcpu_info(v, gfn, offset);
  spin_unlock(domain_lock(d));
  if (rc == 0) update_vcpu_system_time(v);
  return rc;
}

function register_runstate(v: Vcpu, arg: u64): i64 {
  if (copy_from_guest(scratch, arg, <u32>VcpuRegisterRunstateMemoryArea.SIZE) != 0) return -ERRNO.EFAULT;
  const at = load<u64>(scratch);
  if (v.domain.is_ts || !guest_handle_okay(at, <u32>VcpuRunstateInfo.SIZE)) return -ERRNO.EFAULT;
  v.runstate_guest = at;
  if (v == current) update_runstate_area(v);
  else {
    vcpu_runstate_get(v, scratch, NOW());
    copy_to_guest(at, scratch, <u32>VcpuRunstateInfo.SIZE);
  }
  return 0;
}

function register_time(v: Vcpu, arg: u64): i64 {
  if (copy_from_guest(scratch, arg, 8) != 0) return -ERRNO.EFAULT;
  const at = load<u64>(scratch);
  if (v.domain.is_ts || !guest_handle_okay(at, 32)) return -ERRNO.EFAULT;
  v.time_info_guest = at;
  if (v == current) update_secondary_time(v);
  else v.time_pending = 1;
  return 0;
}

export function do_vcpu_op(cmd: u32, vcpuid: u32, arg: u64): i64 {
  const d = current.domain;
  if (vcpuid >= MAX_VIRT_CPUS) return -ERRNO.ENOENT;
  const v = domain_vcpu(d, vcpuid);
  if (changetype<usize>(v) == 0) return -ERRNO.ENOENT;
  const s = scratch;
  switch (cmd) {
    case VCPUOP.initialise:
      // An HVM domain has one vCPU, which runs.
      if (d.is_hvm) return -ERRNO.EEXIST;
      return d.is_ts ? -ERRNO.EOPNOTSUPP : initialise(v, arg);
    case VCPUOP.up:
      return vcpu_up(v);
    case VCPUOP.down:
      return d.is_ts ? -ERRNO.EOPNOTSUPP : vcpu_down(v);
    case VCPUOP.is_up:
      return atomic.load<u32>(flags_of(v)) & VPF_down ? 0 : 1;
    case VCPUOP.get_runstate_info:
      vcpu_runstate_get(v, s, NOW());
      return copy_to_guest(arg, s, <u32>VcpuRunstateInfo.SIZE) != 0 ? -ERRNO.EFAULT : 0;
    case VCPUOP.set_periodic_timer: {
      if (copy_from_guest(s, arg, <u32>VcpuSetPeriodicTimer.SIZE) != 0) return -ERRNO.EFAULT;
      const period = load<u64>(s, VcpuSetPeriodicTimer.period_ns);
      if (period < MILLISECS || period > PERIOD_MAX) return -ERRNO.EINVAL;
      vcpu_set_periodic_timer(v, period);
      return 0;
    }
    case VCPUOP.stop_periodic_timer:
      vcpu_set_periodic_timer(v, 0);
      return 0;
    case VCPUOP.set_singleshot_timer: {
      if (v != current) return -ERRNO.EINVAL;
      if (copy_from_guest(s, arg, 12) != 0) return -ERRNO.EFAULT;
      const timeout = load<u64>(s, VcpuSetSingleshotTimer.timeout_abs_ns);
      // VCPU_SSHOTTMR_future has no effect, as in Xen 4.17: a timeout in the past fires at once.
      vcpu_set_singleshot(v, timeout);
      return 0;
    }
    case VCPUOP.stop_singleshot_timer:
      if (v != current) return -ERRNO.EINVAL;
      vcpu_stop_singleshot(v);
      return 0;
    case VCPUOP.register_vcpu_info:
      return register_vcpu_info(v, arg);
    case VCPUOP.register_runstate_memory_area:
      return register_runstate(v, arg);
    case VCPUOP.register_vcpu_time_memory_area:
      return register_time(v, arg);
    case VCPUOP.send_nmi:
      send_nmi(v);
      return 0;
    case VCPUOP.get_physid:
      // Only of a pinned vCPU of the hardware domain.
      return -ERRNO.EINVAL;
    default:
      return -ERRNO.ENOSYS;
  }
}

/** The NMI waits until the vCPU returns to its guest. */
export function send_nmi(v: Vcpu): void {
  if (atomic.xchg<u32>(changetype<usize>(v) + offsetof<Vcpu>("nmi_pending"), 1) == 0) vcpu_kick(v);
}
