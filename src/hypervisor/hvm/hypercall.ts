// Hypercalls of an HVM guest: vmcall or vmmcall at CPL 0 (Xen's hvm/hypercall.c).
import { CpuState, ERRNO, GPR } from "../abi";
import { Vcpu, set_gpr } from "../domain";
import { hypercall_by_registers } from "../hypercalls/dispatch";

/** rip is behind the instruction. */
export function hvm_hypercall(v: Vcpu): void {
  const cpu = v.cpu;
  if (load<u32>(cpu, CpuState.cpl) != 0) {
    set_gpr(v, GPR.RAX, <u64>-ERRNO.EPERM);
    return;
  }
  // The 32-bit ABI, with structures of its own, is not there.
  if (load<u32>(cpu, CpuState.mode) != 0) {
    set_gpr(v, GPR.RAX, <u64>-ERRNO.ENOSYS & 0xffff_ffff);
    return;
  }
  hypercall_by_registers(v);
}
