// Long hypercalls: they look now and then whether something else is due, and go on later by being called again with what
// is left: the guest's rip goes back to its instruction, or the multicall entry is rewritten.
import { CpuState, GPR, MulticallEntry } from "../abi";
import { set_gpr } from "../domain";
import { count_preempt_check, current, slot_kind } from "../percpu";
import { raise_softirq, SOFTIRQ_TIMER, this_cpu } from "../state";
import { local_events_need_delivery } from "../sched/poll";
import { sched_deadline } from "../sched/sched";
import { NOW } from "../time/clock";

/** Bits of Vcpu.mc_flags. */
export const MCF_in_multicall: u32 = 1;
export const MCF_call_preempted: u32 = 2;

/** Length of the instruction that calls: `syscall`, or an HVM container's `vmcall` or `vmmcall`. */
const SYSCALL_LENGTH: u64 = 2;
const VMCALL_LENGTH: u64 = 3;

/** Looks between two looks at the clock, which costs as much as a small piece of work. */
const CLOCK_EVERY: u32 = 16;

/**
 * Should a long operation of the current vCPU make way? Never on a TypeScript domain's thread, which runs nothing else. Work
 * in the hypervisor takes no fuel, so timers and the end of the time slice are looked for here.
 */
export function hypercall_preempt_check(): bool {
  if (slot_kind != 0) return false;
  const p = this_cpu();
  if (count_preempt_check() % CLOCK_EVERY == 0) {
    const now = NOW();
    // The pCPU's loop looks at both when it is there.
    if ((p.timer_next != 0 && p.timer_next <= now) || sched_deadline() <= now) raise_softirq(p, SOFTIRQ_TIMER);
  }
  return p.softirq != 0 || local_events_need_delivery(current);
}

/** Arranges for the hypercall to be made again with these arguments; returns what the present call is to return. */
export function hypercall_create_continuation(op: u32, a1: u64, a2: u64, a3: u64, a4: u64, a5: u64): i64 {
  const v = current;
  if (v.mc_flags & MCF_in_multicall) {
    const e = v.mc_entry;
    store<u64>(e, a1, MulticallEntry.args);
    store<u64>(e, a2, MulticallEntry.args + 8);
    store<u64>(e, a3, MulticallEntry.args + 16);
    store<u64>(e, a4, MulticallEntry.args + 24);
    store<u64>(e, a5, MulticallEntry.args + 32);
    v.mc_flags |= MCF_call_preempted;
    return 0;
  }
  store<u64>(v.cpu, load<u64>(v.cpu, CpuState.rip) - (v.domain.is_hvm ? VMCALL_LENGTH : SYSCALL_LENGTH), CpuState.rip);
  set_gpr(v, GPR.RDI, a1);
  set_gpr(v, GPR.RSI, a2);
  set_gpr(v, GPR.RDX, a3);
  set_gpr(v, GPR.R10, a4);
  set_gpr(v, GPR.R8, a5);
  return op;
}
