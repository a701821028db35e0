// HYPERVISOR_hvm_op (public/hvm/hvm_op.h): no domain is an HVM guest, so every call that names one names a wrong one.
import { ERRNO, HVMOP } from "../abi";
import { put_domain, rcu_lock_domain_by_any_id } from "../domain_list";
import { copy_from_guest } from "../guest";
import { scratch } from "../percpu";

/** struct xen_hvm_param: domid u16, pad u16, index u32, value u64. */
const PARAM_SIZE: u32 = 16;

export function do_hvm_op(cmd: u32, arg: u64): i64 {
  switch (cmd) {
    case HVMOP.set_param:
    case HVMOP.get_param: {
      if (copy_from_guest(scratch, arg, PARAM_SIZE) != 0) return -ERRNO.EFAULT;
      const d = rcu_lock_domain_by_any_id(load<u16>(scratch));
      if (changetype<usize>(d) == 0) return -ERRNO.ESRCH;
      put_domain(d);
      return -ERRNO.EINVAL;
    }
    default:
      return -ERRNO.ENOSYS;
  }
}
