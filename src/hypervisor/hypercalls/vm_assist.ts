// HYPERVISOR_vm_assist: optional behaviours a PV guest turns on (public/xen.h VMASST_*).
import { ERRNO, VMASST_CMD, VMASST_TYPE } from "../abi";
import { Domain } from "../domain";
import { current } from "../percpu";
import { M2P_STRICT_BIT } from "../mm/vm_assist";

/** Types that 64-bit PV guests may set: 0 to 5 as bits of their own number, m2p_strict as a bit of ours. */
const VALID: u32 = 0x3f;
/** What HVM containers may set. */
const HVM_VALID: u32 = 1 << VMASST_TYPE.runstate_update_flag;

export function do_vm_assist(cmd: u32, type: u32): i64 {
  const d = current.domain;
  let bit: u32;
  if (type == VMASST_TYPE.m2p_strict && !d.is_hvm) bit = M2P_STRICT_BIT;
  else if (type < 32 && ((d.is_hvm ? HVM_VALID : VALID) >> type) & 1) bit = 1 << type;
  else return -ERRNO.EINVAL;
  const at = changetype<usize>(d) + offsetof<Domain>("vm_assist");
  switch (cmd) {
    case VMASST_CMD.enable:
      atomic.or<u32>(at, bit);
      return 0;
    case VMASST_CMD.disable:
      atomic.and<u32>(at, ~bit);
      return 0;
    default:
      return -ERRNO.ENOSYS;
  }
}
