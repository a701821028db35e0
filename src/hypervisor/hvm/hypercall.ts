// Hypercalls of an HVM guest: vmcall or vmmcall at CPL 0 (Xen's hvm/hypercall.c).
import { CpuState, ERRNO, GPR } from "../abi";
import { Vcpu, get_gpr, set_gpr } from "../domain";
import { call_hypercall, NR_hypercalls } from "../hypercalls/table";
import { count_hypercall, time_hypercall, time_stamp, timing } from "../stats";

/** rip is behind the instruction. */
export function hvm_hypercall(v: Vcpu): void {
  const cpu = v.cpu;
  if (load<u32>(cpu, CpuState.cpl) != 0) {
    set_gpr(v, GPR.RAX, <u64>-ERRNO.EPERM);
    return;
  }
  const op = get_gpr(v, GPR.RAX);
  // The 32-bit ABI, with structures of its own, is not there.
  if (load<u32>(cpu, CpuState.mode) != 0) {
    set_gpr(v, GPR.RAX, <u64>-ERRNO.ENOSYS & 0xffff_ffff);
    return;
  }
  if (op >= NR_hypercalls) {
    set_gpr(v, GPR.RAX, <u64>-ERRNO.ENOSYS);
    return;
  }
  count_hypercall(v.domain, <u32>op);
  const start: u64 = timing() ? time_stamp() : 0;
  const rc = call_hypercall(
    <u32>op,
    get_gpr(v, GPR.RDI),
    get_gpr(v, GPR.RSI),
    get_gpr(v, GPR.RDX),
    get_gpr(v, GPR.R10),
    get_gpr(v, GPR.R8),
  );
  set_gpr(v, GPR.RAX, <u64>rc);
  if (timing()) time_hypercall(<u32>op, start);
}
