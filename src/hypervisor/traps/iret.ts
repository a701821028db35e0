// The iret hypercall: a PV kernel returns to user mode, or to itself, with the frame on its stack (arch-x86/xen-x86_64.h,
// iret_context).
import { CpuState, GPR, IretContext, RFLAGS, VGCF, VMASST_TYPE, VcpuInfo } from "../abi";
import { get_gpr, set_gpr } from "../domain";
import { guest_read, rflags_set } from "../engine";
import { current, scratch } from "../percpu";
import { domain_crash } from "../crash";
import { pv_inject_hw_exception } from "./inject";
import { toggle_guest_mode } from "./mode";
import { load_return_segments } from "./segments";

/** Flags a return may set; IF is always set and IOPL always 0 in the real register. */
const RETURN_FLAGS: u64 = 0x25_4dd5;

/** Sets every register itself, rax too: the dispatcher must not touch them afterwards. */
export function do_iret(): void {
  const v = current;
  const f = scratch;
  if (guest_read(v.cpu, get_gpr(v, GPR.RSP), f, <u32>IretContext.SIZE) != 0) {
    domain_crash(v.domain, "iret: the frame is not readable");
    return;
  }
  const cs = load<u16>(f, IretContext.cs);
  const rflags = load<u64>(f, IretContext.rflags);
  const user = (cs & 3) == 3;
  if (user && v.guest_table_user == 0) {
    domain_crash(v.domain, "iret to user mode without a user page table");
    return;
  }
  const flags = load<u64>(f, IretContext.flags);
  const rip = load<u64>(f, IretContext.rip);
  set_gpr(v, GPR.RAX, load<u64>(f, IretContext.rax));
  if (flags & VGCF.in_syscall) {
    // The guest asks for sysret, which leaves these in rcx and r11.
    set_gpr(v, GPR.RCX, rip);
    set_gpr(v, GPR.R11, rflags);
  } else {
    set_gpr(v, GPR.RCX, load<u64>(f, IretContext.rcx));
    set_gpr(v, GPR.R11, load<u64>(f, IretContext.r11));
  }
  set_gpr(v, GPR.RSP, load<u64>(f, IretContext.rsp));
  const ss = load<u16>(f, IretContext.ss);
  if (user) toggle_guest_mode(v);
  if ((v.domain.vm_assist >> VMASST_TYPE.architectural_iopl) & 1) v.iopl = <u32>(rflags >> 12) & 3;
  store<u8>(v.vcpu_info, rflags & <u64>RFLAGS.IF ? 0 : 1, VcpuInfo.evtchn_upcall_mask);
  v.nmi_masked = 0;
  rflags_set(v.cpu, (rflags & RETURN_FLAGS) | <u64>RFLAGS.IF | 2);
  store<u64>(v.cpu, rip, CpuState.rip);
  // The hardware's iretq is what faults on a bad selector: the guest sees that with the new registers in place.
  const fault = load_return_segments(v, cs | 3, ss | 3);
  if (fault != 0) pv_inject_hw_exception(fault >> 16, fault & 0xffff);
}
