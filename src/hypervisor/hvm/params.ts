// Parameters of an HVM domain (public/hvm/params.h): who may read and set which, and what that does (Xen's hvm_set_param).
import { ERRNO, HVMPTM, HVM_NR_PARAMS, HVM_PARAM, HVM_PARAM_CALLBACK_TYPE, SHUTDOWN, VcpuInfo } from "../abi";
import { Domain, domain_vcpu, is_null } from "../domain";
import { current } from "../percpu";
import { xfree, xzalloc } from "../mm/xmalloc";
import { vcpu_kick } from "../sched/sched";

const MAX_IOREQ_SERVER_PAGES: u64 = 64;

// @ts-ignore: decorator
@inline
function slot_of(d: Domain, index: u32): usize {
  return d.hvm_params + (<usize>index << 3);
}

export function hvm_param(d: Domain, index: u32): u64 {
  return load<u64>(slot_of(d, index));
}

/** False: no memory. */
export function hvm_domain_initialise(d: Domain): bool {
  d.hvm_params = xzalloc(HVM_NR_PARAMS * 8, 8);
  if (d.hvm_params == 0) return false;
  store<u64>(slot_of(d, HVM_PARAM.TRIPLE_FAULT_REASON), SHUTDOWN.reboot);
  return true;
}

export function hvm_domain_destroy(d: Domain): void {
  if (d.hvm_params != 0) xfree(d.hvm_params);
  d.hvm_params = 0;
}

/** Numbers that were parameters once. */
function is_deprecated(index: u32): bool {
  if (index >= HVM_PARAM.MEMORY_EVENT_CR0 && index <= HVM_PARAM.MEMORY_EVENT_INT3) return true;
  switch (index) {
    case 3:
    case 7:
    case 8:
    case HVM_PARAM.PAE_ENABLED:
    case HVM_PARAM.DM_DOMAIN:
    case HVM_PARAM.BUFIOREQ_EVTCHN:
    case HVM_PARAM.MEMORY_EVENT_SINGLE_STEP:
    case HVM_PARAM.MEMORY_EVENT_MSR:
      return true;
    default:
      return false;
  }
}

function guest_may_set(index: u32): bool {
  switch (index) {
    case HVM_PARAM.CALLBACK_IRQ:
    case HVM_PARAM.VM86_TSS:
    case HVM_PARAM.VM86_TSS_SIZED:
    case HVM_PARAM.ACPI_IOPORTS_LOCATION:
    case HVM_PARAM.VM_GENERATION_ID_ADDR:
    case HVM_PARAM.STORE_EVTCHN:
    case HVM_PARAM.CONSOLE_EVTCHN:
    case HVM_PARAM.X87_FIP_WIDTH:
      return true;
    default:
      return false;
  }
}

function guest_may_get(index: u32): bool {
  return guest_may_set(index) || index == HVM_PARAM.STORE_PFN || index == HVM_PARAM.CONSOLE_PFN || index == HVM_PARAM.ALTP2M;
}

function set_once(index: u32): bool {
  switch (index) {
    case HVM_PARAM.VIRIDIAN:
    case HVM_PARAM.IOREQ_SERVER_PFN:
    case HVM_PARAM.NR_IOREQ_SERVER_PAGES:
    case HVM_PARAM.ALTP2M:
    case HVM_PARAM.MCA_CAP:
      return true;
    default:
      return false;
  }
}

/** 0 or -errno: is it a value for that parameter? */
function check_value(index: u32, value: u64): i64 {
  switch (index) {
    case HVM_PARAM.TIMER_MODE:
      return value > HVMPTM.one_missed_tick_pending ? -ERRNO.EINVAL : 0;
    case HVM_PARAM.TRIPLE_FAULT_REASON:
      return value > SHUTDOWN.soft_reset ? -ERRNO.EINVAL : 0;
    case HVM_PARAM.NR_IOREQ_SERVER_PAGES:
      return value == 0 || value > MAX_IOREQ_SERVER_PAGES ? -ERRNO.EINVAL : 0;
    case HVM_PARAM.X87_FIP_WIDTH:
      return value != 0 && value != 4 && value != 8 ? -ERRNO.EINVAL : 0;
    case HVM_PARAM.VM86_TSS:
    case HVM_PARAM.IDENT_PT:
      return value >> 32 != 0 ? -ERRNO.EINVAL : 0;
    // Neither Viridian, a second p2m, nested virtualisation, nor local machine checks; and no ACPI power management device.
    case HVM_PARAM.VIRIDIAN:
    case HVM_PARAM.ALTP2M:
    case HVM_PARAM.NESTEDHVM:
    case HVM_PARAM.MCA_CAP:
      return value != 0 ? -ERRNO.EINVAL : 0;
    case HVM_PARAM.ACPI_IOPORTS_LOCATION:
    case HVM_PARAM.ACPI_S_STATE:
      return -ERRNO.ENODEV;
    default:
      return 0;
  }
}

/** How events are delivered: by a vector; the other ways need devices that a PVH domain has not. */
function hvm_set_callback_via(d: Domain, via: u64): void {
  const type = via >> 56;
  d.callback_vector = type == HVM_PARAM_CALLBACK_TYPE.VECTOR ? <u32>via & 0xff : 0;
  if (d.callback_vector == 0) return;
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (!is_null(v) && atomic.load<u8>(v.vcpu_info + VcpuInfo.evtchn_upcall_pending) != 0) vcpu_kick(v);
  }
}

export function hvm_set_param(d: Domain, index: u32, value: u64): i64 {
  if (is_deprecated(index)) return -ERRNO.EINVAL;
  if (!guest_may_set(index) && d == current.domain) return -ERRNO.EPERM;
  const old = hvm_param(d, index);
  if (set_once(index) && old != 0 && value != old) return -ERRNO.EEXIST;
  const rc = check_value(index, value);
  if (rc != 0) return rc;
  store<u64>(slot_of(d, index), value);
  if (index == HVM_PARAM.CALLBACK_IRQ) hvm_set_callback_via(d, value);
  return 0;
}

/** 0 and the value at *out (u64), or -errno. */
export function hvm_get_param(d: Domain, index: u32, out: usize): i64 {
  if (is_deprecated(index)) return -ERRNO.ENODATA;
  if (!guest_may_get(index) && d == current.domain) return -ERRNO.EPERM;
  store<u64>(out, hvm_param(d, index));
  return 0;
}
