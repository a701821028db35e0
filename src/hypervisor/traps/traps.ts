// What happens when a PV guest leaves guest code: one function per exit reason. On return the vCPU may go on, is blocked,
// or its domain has been crashed.
import { CpuState, EVENT, EXIT, FLAT, GPR, RENDEZVOUS, RFLAGS, SEG, VEC, VGCF, VMASST_TYPE } from "../abi";
import { Vcpu, in_kernel_mode, set_gpr } from "../domain";
import { rflags_get } from "../engine";
import { domain_crash } from "../crash";
import { debugger_watches, debugger_watches_data, debugger_watches_steps, domain_pause_for_debugger } from "../debugger";
import { await_resume } from "../exclusive";
import { hvm_deliver } from "../hvm/inject";
import { code_from_frame, frame_modified } from "../mm/tlbflush";
import { ptwr_do_page_fault } from "../mm/ptwr";
import { pv_hypercall } from "../hypercalls/dispatch";
import { TBF_INTERRUPT, create_bounce_frame } from "./bounce";
import { breakpoint_due, guest_ts, set_guest_ts } from "./debugreg";
import { emulate_cpuid, emulate_forced_invalid_op } from "./emul-inv-op";
import { emulate_privileged_op } from "./emul-priv-op";
import { pv_inject_hw_exception, pv_inject_page_fault, pv_inject_sw_interrupt, trap_address, trap_dpl } from "./inject";
import { set_sel } from "./segments";

const PFEC_present: u32 = 1;
const PFEC_write: u32 = 2;
const PFEC_reserved: u32 = 8;
const PFEC_insn_fetch: u32 = 16;
/** Error-code bits of a descriptor-table fault. */
const EXT_IDT: u32 = 2;

// @ts-ignore: decorator
@inline
function advance(v: Vcpu): void {
  store<u64>(v.cpu, load<u64>(v.cpu, CpuState.rip) + <u64>load<u32>(v.cpu, CpuState.exit_len), CpuState.rip);
}

/** Handles exit `reason` of the current vCPU. */
export function handle_exit(v: Vcpu, reason: u32): void {
  switch (reason) {
    case EXIT.PREEMPT:
      break;
    case EXIT.SYSCALL:
      do_syscall(v);
      break;
    case EXIT.EXCEPTION:
      do_exception(v);
      break;
    case EXIT.CPUID:
      emulate_cpuid(v, load<u32>(v.cpu, CpuState.exit_len));
      break;
    case EXIT.PRIVILEGED:
      if (!emulate_privileged_op(v)) pv_inject_hw_exception(VEC.GP, 0);
      break;
    case EXIT.SOFTINT:
      do_soft_interrupt(v);
      break;
    case EXIT.SYSENTER:
      do_sysenter(v);
      break;
    case EXIT.VMCALL:
      // Not an instruction of a PV guest.
      pv_inject_hw_exception(VEC.UD, 0);
      break;
    case EXIT.RENDEZVOUS:
      rendezvous(v, load<u32>(v.cpu, CpuState.exit_vector), load<u32>(v.cpu, CpuState.exit_error));
      break;
    case EXIT.HLT:
      pv_inject_hw_exception(VEC.GP, 0);
      break;
    default:
      domain_crash(v.domain, "the engine stopped for an unknown reason");
  }
}

/** An instruction needs other pCPUs' agreement, about frame `mfn`; afterwards it is executed again. */
export function rendezvous(v: Vcpu, what: u32, mfn: u32): void {
  if (what == RENDEZVOUS.CODE_WRITTEN) frame_modified(mfn);
  else if (what == RENDEZVOUS.CODE_FIRST) code_from_frame(mfn);
  else if (what == RENDEZVOUS.EXCLUSIVE) await_resume();
  else if (what == RENDEZVOUS.WATCHED && breakpoint_due(v)) debug_exception(v);
}

/** #DB, with its reason in dr6: a debugger's, or the guest's own. */
export function debug_exception(v: Vcpu): void {
  if (debugger_watches_steps(v) || debugger_watches_data(v)) domain_pause_for_debugger(v, VEC.DB);
  else if (v.domain.is_hvm) hvm_deliver(v, VEC.DB, EVENT.EXCEPTION, 0, 0);
  else pv_inject_hw_exception(VEC.DB, 0);
}

function do_exception(v: Vcpu): void {
  const vector = load<u32>(v.cpu, CpuState.exit_vector);
  const error = load<u32>(v.cpu, CpuState.exit_error);
  switch (vector) {
    case VEC.PF:
      do_page_fault(v, error);
      return;
    case VEC.DB:
      debug_exception(v);
      return;
    case VEC.UD:
      if (emulate_forced_invalid_op(v)) return;
      break;
    case VEC.NM:
      // The guest's lazy FPU switching: TS is its own, and is cleared for it.
      if (guest_ts(v)) set_guest_ts(v, false);
      break;
    case VEC.NMI:
    case VEC.MC:
    case VEC.DF:
      domain_crash(v.domain, "the engine raised an exception that guest code cannot");
      return;
  }
  pv_inject_hw_exception(vector, error);
}

function do_page_fault(v: Vcpu, error: u32): void {
  const va = load<u64>(v.cpu, CpuState.cr2);
  const write_to_present = (error & (PFEC_present | PFEC_write | PFEC_reserved | PFEC_insn_fetch)) == (PFEC_present | PFEC_write);
  if (write_to_present && in_kernel_mode(v) && ptwr_do_page_fault(v, va, error)) return;
  pv_inject_page_fault(error, va);
}

/** `syscall`: a hypercall from the guest kernel, a system call from its user mode. */
function do_syscall(v: Vcpu): void {
  advance(v);
  const rip = load<u64>(v.cpu, CpuState.rip);
  if (in_kernel_mode(v)) {
    pv_hypercall(v);
    return;
  }
  set_gpr(v, GPR.RCX, rip);
  set_gpr(v, GPR.R11, rflags_get(v.cpu));
  const compat = load<u32>(v.cpu, CpuState.mode) != 0;
  let handler = v.syscall_callback;
  let flags: u32 = v.vgc_flags & VGCF.syscall_disables_events ? TBF_INTERRUPT : 0;
  if (compat && v.syscall32_callback != 0) {
    handler = v.syscall32_callback;
    flags = v.syscall32_disables_events ? TBF_INTERRUPT : 0;
  }
  if (handler == 0) {
    store<u64>(v.cpu, rip - 2, CpuState.rip);
    pv_inject_hw_exception(VEC.UD, 0);
    return;
  }
  // The frame's selectors are guesses: syscall does not say which the guest used.
  set_sel(v, SEG.CS, compat ? FLAT.RING3_CS32 : FLAT.RING3_CS64);
  set_sel(v, SEG.SS, FLAT.USER_SS);
  store<u64>(v.cpu, load<u64>(v.cpu, CpuState.rflags) & ~<u64>RFLAGS.DF, CpuState.rflags);
  create_bounce_frame(v, handler, flags, 0);
}

/** `sysenter`: neither the return address nor the stack is known to the hypervisor: the frame says rip 0, cs 3. */
function do_sysenter(v: Vcpu): void {
  const handler = v.sysenter_callback;
  if (handler == 0) {
    pv_inject_hw_exception(VEC.GP, 0);
    return;
  }
  store<u64>(v.cpu, 0, CpuState.rip);
  set_sel(v, SEG.CS, 3);
  set_sel(v, SEG.SS, FLAT.USER_SS);
  create_bounce_frame(v, handler, v.sysenter_disables_events ? TBF_INTERRUPT : 0, 0);
}

/** int3, into and int n. */
function do_soft_interrupt(v: Vcpu): void {
  const vector = load<u32>(v.cpu, CpuState.exit_vector);
  const length = load<u32>(v.cpu, CpuState.exit_len);
  if (length == 1 || (vector == 0x80 && trap_address(v, 0x80) != 0)) {
    // int3 and into need no privilege, and int 0x80 has a gate of its own.
    advance(v);
    if (vector == VEC.BP && debugger_watches(v)) domain_pause_for_debugger(v, VEC.BP);
    else pv_inject_sw_interrupt(vector);
    return;
  }
  const arch = (v.domain.vm_assist >> VMASST_TYPE.architectural_iopl) & 1;
  const cpl: u32 = in_kernel_mode(v) ? (arch ? 0 : 1) : 3;
  if (trap_address(v, vector) != 0 && trap_dpl(v, vector) >= cpl) {
    advance(v);
    pv_inject_sw_interrupt(vector);
  } else pv_inject_hw_exception(VEC.GP, (vector << 3) | EXT_IDT);
}
