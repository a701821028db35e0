// The vm_assist bits that memory management looks at (public/xen.h VMASST_TYPE_*), as the CPU half keeps them in
// Domain.vm_assist: types 0 to 5 are their own bits, m2p_strict (type 32) is M2P_STRICT_BIT.
import { Domain } from "../domain";

/** Bit of Domain.vm_assist for VMASST_TYPE_m2p_strict, whose number does not fit 32 bits. */
export const M2P_STRICT_BIT: u32 = 1 << 31;

// @ts-ignore: decorator
@inline
export function vm_assist_m2p_strict(d: Domain): bool {
  return (d.vm_assist & M2P_STRICT_BIT) != 0;
}
