// What happens when an HVM guest leaves guest code, by exit reason (docs/decisions/0022-pvh.md). On return the vCPU may go on, is
// blocked, or its domain has been stopped.
import { CpuState, EVENT, EXIT, GPR, RFLAGS, SCHEDOP, VEC } from "../abi";
import { domain_crash } from "../crash";
import { debugger_watches, domain_pause_for_debugger } from "../debugger";
import { Vcpu, get_gpr, set_gpr } from "../domain";
import { do_sched_op } from "../hypercalls/sched_op";
import { vcpu_down } from "../hypercalls/vcpu_op";
import { scratch } from "../percpu";
import { CpuidResult, do_guest_cpuid } from "../traps/cpuid";
import { debug_exception, rendezvous } from "../traps/traps";
import { hvm_nested_page_fault } from "./emulate";
import { hvm_hypercall } from "./hypercall";
import { hvm_deliver, hvm_inject_gp, hvm_triple_fault } from "./inject";
import { hvm_io } from "./io";
import { hvm_local_events_need_delivery } from "./irq";
import { hvm_rdmsr, hvm_wrmsr } from "./msr";

/** In the scratch page. */
const CPUID_AT: u32 = 1280;
const MSR_AT: u32 = 1344;
const DR6_BS: u64 = 1 << 14;

// @ts-ignore: decorator
@inline
function advance(v: Vcpu): void {
  const rip = load<u64>(v.cpu, CpuState.rip) + <u64>load<u32>(v.cpu, CpuState.exit_len);
  store<u64>(v.cpu, load<u32>(v.cpu, CpuState.mode) != 0 ? rip & 0xffff_ffff : rip, CpuState.rip);
}

/** An instruction has been done for the vCPU: if it is stepped, #DB follows. */
function instruction_done(v: Vcpu): void {
  if (!(load<u64>(v.cpu, CpuState.rflags) & <u64>RFLAGS.TF)) return;
  const dr6 = v.cpu + CpuState.dr + (6 << 3);
  store<u64>(dr6, load<u64>(dr6) | DR6_BS);
  debug_exception(v);
}

/** Handles exit `reason` of the current vCPU. */
export function hvm_handle_exit(v: Vcpu, reason: u32): void {
  const cpu = v.cpu;
  switch (reason) {
    case EXIT.PREEMPT:
      break;
    case EXIT.EXCEPTION:
      hvm_exception(v);
      break;
    case EXIT.SOFTINT:
      soft_interrupt(v);
      break;
    case EXIT.CPUID:
      advance(v);
      do_guest_cpuid(v, changetype<CpuidResult>(scratch + CPUID_AT));
      instruction_done(v);
      break;
    case EXIT.VMCALL:
      advance(v);
      hvm_hypercall(v);
      break;
    case EXIT.HLT:
      hvm_hlt(v);
      break;
    case EXIT.IO:
      advance(v);
      hvm_io(v);
      instruction_done(v);
      break;
    case EXIT.MSR:
      msr_access(v, load<u32>(cpu, CpuState.exit_error) != 0);
      break;
    case EXIT.NPF:
      hvm_nested_page_fault(v);
      break;
    case EXIT.PRIVILEGED:
      // ins and outs, which the engine has not for HVM.
      hvm_inject_gp(v);
      break;
    case EXIT.RENDEZVOUS:
      rendezvous(v, load<u32>(cpu, CpuState.exit_vector), load<u32>(cpu, CpuState.exit_error));
      break;
    case EXIT.TRIPLE_FAULT:
      hvm_triple_fault(v);
      break;
    default:
      domain_crash(v.domain, "the engine stopped for an unknown reason");
  }
}

/** The guest's own, unless it is a breakpoint or step that a debugger in the control domain asked for. */
function hvm_exception(v: Vcpu): void {
  const cpu = v.cpu;
  const vector = load<u32>(cpu, CpuState.exit_vector);
  if (vector == VEC.DB) {
    debug_exception(v);
    return;
  }
  const has_error: u32 = load<u32>(cpu, CpuState.exit_has_error) != 0 ? 1 : 0;
  hvm_deliver(v, vector, EVENT.EXCEPTION, has_error, load<u32>(cpu, CpuState.exit_error));
}

/** int n, int3, into: the engine goes past it if it is delivered. */
function soft_interrupt(v: Vcpu): void {
  const vector = load<u32>(v.cpu, CpuState.exit_vector);
  if (vector == VEC.BP && debugger_watches(v)) {
    advance(v);
    domain_pause_for_debugger(v, VEC.BP);
    return;
  }
  hvm_deliver(v, vector, EVENT.SOFTWARE, 0, 0);
}

/** The vCPU waits for an interrupt; one that takes none wants to stop. rip is behind the instruction. */
function hvm_hlt(v: Vcpu): void {
  if (hvm_local_events_need_delivery(v)) return;
  if (load<u64>(v.cpu, CpuState.rflags) & <u64>RFLAGS.IF) do_sched_op(SCHEDOP.block, 0);
  else vcpu_down(v);
}

function msr_access(v: Vcpu, write: bool): void {
  const msr = <u32>get_gpr(v, GPR.RCX);
  if (write) {
    const x = (get_gpr(v, GPR.RDX) << 32) | (get_gpr(v, GPR.RAX) & 0xffff_ffff);
    if (!hvm_wrmsr(v, msr, x)) {
      hvm_inject_gp(v);
      return;
    }
    advance(v);
    instruction_done(v);
    return;
  }
  const out = scratch + MSR_AT;
  if (!hvm_rdmsr(v, msr, out)) {
    hvm_inject_gp(v);
    return;
  }
  set_gpr(v, GPR.RAX, load<u32>(out));
  set_gpr(v, GPR.RDX, load<u32>(out, 4));
  advance(v);
  instruction_done(v);
}
