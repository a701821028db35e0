// HYPERVISOR_platform_op (public/platform.h): firmware, power and microcode of the machine. There is none of that here:
// a control domain is told so, others are refused, in the order Xen checks.
import { ERRNO, XENPF_INTERFACE_VERSION } from "../abi";
import { copy_from_guest } from "../guest";
import { current, scratch } from "../percpu";

/** struct xen_platform_op begins with cmd and interface_version. */
const HEAD: u32 = 8;

export function do_platform_op(arg: u64): i64 {
  if (copy_from_guest(scratch, arg, HEAD) != 0) return -ERRNO.EFAULT;
  if (load<u32>(scratch, 4) != XENPF_INTERFACE_VERSION) return -ERRNO.EACCES;
  return current.domain.privileged ? -ERRNO.ENOSYS : -ERRNO.EPERM;
}
