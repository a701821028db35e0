// From a PV vCPU's registers to the table and back; and from a TypeScript domain's thread. Counts every call.
import { CpuState, ERRNO, GPR, HYPERCALL } from "../abi";
import { Vcpu, get_gpr, set_gpr } from "../domain";
import { current } from "../percpu";
import { rflags_get } from "../engine";
import { do_iret } from "../traps/iret";
import { count_hypercall, time_hypercall, time_stamp, timing } from "../stats";
import { NR_hypercalls, call_hypercall } from "./table";

/** A `syscall` of the guest kernel; rip is behind it. */
export function pv_hypercall(v: Vcpu): void {
  if (get_gpr(v, GPR.RAX) == HYPERCALL.iret) {
    count_hypercall(v.domain, HYPERCALL.iret);
    const start: u64 = timing() ? time_stamp() : 0;
    do_iret();
    if (timing()) time_hypercall(HYPERCALL.iret, start);
    return;
  }
  if (get_gpr(v, GPR.RAX) < NR_hypercalls) {
    // What the instruction itself does to them.
    set_gpr(v, GPR.RCX, load<u64>(v.cpu, CpuState.rip));
    set_gpr(v, GPR.R11, rflags_get(v.cpu));
  }
  hypercall_by_registers(v);
}

/** The call that rax names, with arguments as the 64-bit ABI has them in registers; its result goes to rax. */
export function hypercall_by_registers(v: Vcpu): void {
  const op = get_gpr(v, GPR.RAX);
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

/** What a driver domain needs. Its thread has no engine: nothing that could touch page tables is among it. */
function driver_domain_may(op: u32): bool {
  switch (op) {
    case HYPERCALL.event_channel_op:
    case HYPERCALL.grant_table_op:
    case HYPERCALL.xen_version:
    case HYPERCALL.console_io:
      return true;
    default:
      return false;
  }
}

/** Of a TypeScript domain: guest handles are machine addresses. */
export function ts_hypercall(op: u32, a1: u64, a2: u64, a3: u64, a4: u64, a5: u64): i64 {
  if (op >= NR_hypercalls || op == HYPERCALL.iret) return -ERRNO.ENOSYS;
  if (!current.domain.privileged && !driver_domain_may(op)) return -ERRNO.ENOSYS;
  count_hypercall(current.domain, op);
  const start: u64 = timing() ? time_stamp() : 0;
  const rc = call_hypercall(op, a1, a2, a3, a4, a5);
  if (timing()) time_hypercall(op, start);
  return rc;
}
