// HYPERVISOR_hvm_op (public/hvm/hvm_op.h): parameters of HVM domains, and what an HVM guest asks of its vCPUs. Domains without a
// device model need no more.
import { ERRNO, HVMOP, HVM_NR_PARAMS, HvmEvtchnUpcallVector, HvmGetTime, HvmParam } from "../abi";
import { Domain, domain_vcpu, is_null } from "../domain";
import { put_domain, rcu_lock_domain_by_any_id } from "../domain_list";
import { copy_from_guest, copy_to_guest } from "../guest";
import { hvm_assert_evtchn_irq } from "../hvm/irq";
import { hvm_get_param, hvm_set_param } from "../hvm/params";
import { hvm_vcpu } from "../hvm/vcpu";
import { is_privileged_for } from "../mm/privilege";
import { flush_tlb_domain } from "../mm/tlbflush";
import { current, scratch } from "../percpu";
import { NOW } from "../time/clock";

/** Vectors below are exceptions'. */
const FIRST_VECTOR: u32 = 16;

function param(arg: u64, set: bool): i64 {
  const a = scratch;
  if (copy_from_guest(a, arg, <u32>HvmParam.SIZE) != 0) return -ERRNO.EFAULT;
  const index = load<u32>(a, HvmParam.index);
  if (index >= HVM_NR_PARAMS) return -ERRNO.EINVAL;
  const d = rcu_lock_domain_by_any_id(load<u16>(a, HvmParam.domid));
  if (is_null(d)) return -ERRNO.ESRCH;
  let rc: i64 = -ERRNO.EINVAL;
  if (d.is_hvm) {
    rc = is_privileged_for(current.domain, d) ? 0 : -ERRNO.EPERM;
    if (rc == 0) rc = set ? hvm_set_param(d, index, load<u64>(a, HvmParam.value)) : hvm_get_param(d, index, a + HvmParam.value);
    if (rc == 0 && !set && copy_to_guest(arg, a, <u32>HvmParam.SIZE) != 0) rc = -ERRNO.EFAULT;
  }
  put_domain(d);
  return rc;
}

/** The vCPU's events come by an interrupt of its local APIC from now on. */
function set_evtchn_upcall_vector(d: Domain, arg: u64): i64 {
  if (!d.is_hvm) return -ERRNO.EINVAL;
  if (copy_from_guest(scratch, arg, <u32>HvmEvtchnUpcallVector.SIZE) != 0) return -ERRNO.EFAULT;
  const vector = <u32>load<u8>(scratch, HvmEvtchnUpcallVector.vector);
  if (vector < FIRST_VECTOR) return -ERRNO.EINVAL;
  const v = domain_vcpu(d, load<u32>(scratch, HvmEvtchnUpcallVector.vcpu));
  if (is_null(v)) return -ERRNO.ENOENT;
  hvm_vcpu(v).evtchn_upcall_vector = vector;
  hvm_assert_evtchn_irq(v);
  return 0;
}

function flush_tlbs(d: Domain, arg: u64): i64 {
  if (!d.is_hvm) return -ERRNO.ENOSYS;
  if (arg != 0) return -ERRNO.EINVAL;
  flush_tlb_domain(d);
  return 0;
}

/** System time. */
function get_time(d: Domain, arg: u64): i64 {
  if (!d.is_hvm) return -ERRNO.ENOSYS;
  store<u64>(scratch, NOW(), HvmGetTime.now);
  return copy_to_guest(arg, scratch, <u32>HvmGetTime.SIZE) != 0 ? -ERRNO.EFAULT : 0;
}

export function do_hvm_op(cmd: u32, arg: u64): i64 {
  const d = current.domain;
  switch (cmd) {
    case HVMOP.set_param:
      return param(arg, true);
    case HVMOP.get_param:
      return param(arg, false);
    case HVMOP.set_evtchn_upcall_vector:
      return set_evtchn_upcall_vector(d, arg);
    case HVMOP.flush_tlbs:
      return flush_tlbs(d, arg);
    case HVMOP.get_time:
      return get_time(d, arg);
    // pagetable_dying is about shadow page tables; the rest about devices, memory events and a second p2m.
    default:
      return -ERRNO.ENOSYS;
  }
}
