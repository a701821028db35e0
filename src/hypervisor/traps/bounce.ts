// Bounce frames: how an exception, event or system call reaches the guest kernel (XEN-ABI 2.2; Xen's
// create_bounce_frame). Pushed on the kernel's stack, 16-byte aligned: SS RSP RFLAGS CS RIP [error] R11 RCX.
import { CpuState, GPR, HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START, RFLAGS, SEG, VMASST_TYPE, VcpuInfo } from "../abi";
import { Vcpu, get_gpr, in_kernel_mode, set_gpr } from "../domain";
import { guest_write, rflags_get } from "../engine";
import { scratch } from "../percpu";
import { domain_crash } from "../crash";
import { toggle_guest_mode } from "./mode";
import { get_sel, load_flat_kernel_segments } from "./segments";

/** Flags of a bounce. */
export const TBF_EXCEPTION_ERRCODE: u32 = 2;
export const TBF_INTERRUPT: u32 = 4;

/** The frame is built here in the scratch page. */
const FRAME: u32 = 2048;
/** Stacks that end this close above the hypervisor's range would grow into it. */
const SLACK: u64 = 60;

/** rflags as the guest sees them: IF is the event mask, IOPL the virtual one if it asked for that. */
export function guest_visible_rflags(v: Vcpu): u64 {
  let rf = rflags_get(v.cpu) & ~<u64>(RFLAGS.IF | RFLAGS.IOPL);
  if (load<u8>(v.vcpu_info, VcpuInfo.evtchn_upcall_mask) == 0) rf |= <u64>RFLAGS.IF;
  if ((v.domain.vm_assist >> VMASST_TYPE.architectural_iopl) & 1) rf |= <u64>v.iopl << 12;
  return rf;
}

/**
 * Enters the guest kernel at `rip`. The registers in CpuState are what it interrupts. Crashes the domain if its kernel
 * has no usable stack or no handler (rip 0).
 */
export function create_bounce_frame(v: Vcpu, rip: u64, flags: u32, error: u32): void {
  const cpu = v.cpu;
  let cs: u64 = get_sel(v, SEG.CS);
  let rsp = get_gpr(v, GPR.RSP);
  const old_rsp = rsp;
  const mask = load<u8>(v.vcpu_info, VcpuInfo.evtchn_upcall_mask);
  if (in_kernel_mode(v)) cs &= ~<u64>3;
  else {
    toggle_guest_mode(v);
    rsp = v.kernel_sp;
  }
  rsp &= ~<u64>15;
  if (rip == 0) {
    domain_crash(v.domain, "event or exception without a handler");
    return;
  }
  const f = scratch + FRAME;
  let n: u32 = 0;
  store<u64>(f, get_gpr(v, GPR.RCX));
  store<u64>(f + 8, get_gpr(v, GPR.R11));
  n = 16;
  if (flags & TBF_EXCEPTION_ERRCODE) {
    store<u64>(f + n, error);
    n += 8;
  }
  store<u64>(f + n, load<u64>(cpu, CpuState.rip));
  store<u64>(f + n, cs | (<u64>mask << 32), 8);
  store<u64>(f + n, guest_visible_rflags(v), 16);
  store<u64>(f + n, old_rsp, 24);
  store<u64>(f + n, get_sel(v, SEG.SS), 32);
  n += 40;
  const top = rsp;
  rsp -= n;
  if (top > HYPERVISOR_VIRT_START && rsp < HYPERVISOR_VIRT_END + SLACK) {
    domain_crash(v.domain, "kernel stack in the hypervisor's address range");
    return;
  }
  if (guest_write(cpu, rsp, f, n) != 0) {
    domain_crash(v.domain, "kernel stack is not mapped writable");
    return;
  }
  if (flags & TBF_INTERRUPT) store<u8>(v.vcpu_info, 1, VcpuInfo.evtchn_upcall_mask);
  set_gpr(v, GPR.RSP, rsp);
  store<u64>(cpu, rip, CpuState.rip);
  const clear = <u64>(RFLAGS.AC | RFLAGS.VM | RFLAGS.RF | RFLAGS.NT | RFLAGS.TF);
  store<u64>(cpu, load<u64>(cpu, CpuState.rflags) & ~clear, CpuState.rflags);
  store<u32>(cpu, 0, CpuState.int_shadow);
  load_flat_kernel_segments(v);
}
