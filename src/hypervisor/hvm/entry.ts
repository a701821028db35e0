// Running an HVM vCPU: run_vcpu of traps/entry.ts with what an HVM container needs before guest code and after it.
import { CpuState, EXIT } from "../abi";
import { Vcpu, guest_kernel_mode } from "../domain";
import { run } from "../engine";
import { await_resume, is_stopped } from "../exclusive";
import { profile_handled_exit, profile_left_guest } from "../profile";
import { update_runstate_area } from "../sched/runstate";
import { vcpu_runnable } from "../sched/sched";
import { announce_entry } from "../shootdown";
import { PerCpu } from "../state";
import { count_exception, count_exit, count_run, time_exit, time_guest, time_stamp, timing } from "../stats";
import { update_secondary_time } from "../time/time_info";
import { FUEL_PER_INSN, fuel_for } from "../traps/fuel";
import { hvm_handle_exit } from "./exits";
import { hvm_intr_assist } from "./irq";

/** Areas in the kernel's address space that could not be written while the vCPU was in user mode. */
function update_areas(v: Vcpu): void {
  if (!guest_kernel_mode(v)) return;
  if (v.runstate_pending) v.runstate_pending = update_runstate_area(v) ? 0 : 1;
  if (v.time_pending) v.time_pending = update_secondary_time(v) ? 0 : 1;
}

/** Runs the vCPU, from `now` on, until something else is due. */
export function hvm_run_vcpu(p: PerCpu, v: Vcpu, now: u64): void {
  const cpu = v.cpu;
  const icount = load<u64>(cpu, CpuState.icount);
  const pending = cpu + CpuState.pending;
  store<i32>(cpu, fuel_for(p, v, now), CpuState.fuel);
  const softirq = changetype<usize>(p) + offsetof<PerCpu>("softirq");
  const in_guest = changetype<usize>(p) + offsetof<PerCpu>("in_guest");
  const ring = p.profile_ring;
  let before = icount;
  for (;;) {
    if (atomic.load<u32>(pending) != 0) atomic.store<u32>(pending, 0);
    if ((v.runstate_pending | v.time_pending) != 0) update_areas(v);
    hvm_intr_assist(v);
    announce_entry(p);
    if (atomic.load<u32>(softirq) != 0 || !vcpu_runnable(v)) {
      atomic.store<u32>(in_guest, 0);
      break;
    }
    if (is_stopped()) {
      atomic.store<u32>(in_guest, 0);
      await_resume();
      continue;
    }
    let time: u64 = timing() ? time_stamp() : 0;
    const reason = run(cpu);
    atomic.store<u32>(in_guest, 0);
    let after = load<u64>(cpu, CpuState.icount);
    if (after == before && reason != EXIT.PREEMPT && reason != EXIT.RENDEZVOUS) {
      // As one instruction: exceptions that lead to exceptions, on a stack of the IST, would else go on for ever.
      after += 1;
      store<u64>(cpu, after, CpuState.icount);
      store<i32>(cpu, load<i32>(cpu, CpuState.fuel) - FUEL_PER_INSN, CpuState.fuel);
    }
    p.icount += after - before;
    before = after;
    count_exit(reason);
    if (timing()) time = time_guest(time);
    if (ring != 0) profile_left_guest(ring, v, reason);
    if (reason == EXIT.PREEMPT) {
      // For an interrupt that was waited for it goes on at once.
      if (load<u32>(cpu, CpuState.irq_wanted) == 0 || load<i32>(cpu, CpuState.fuel) <= 0) break;
      continue;
    }
    if (reason == EXIT.EXCEPTION) count_exception(load<u32>(cpu, CpuState.exit_vector));
    hvm_handle_exit(v, reason);
    if (timing()) time_exit(reason, time);
    if (ring != 0) profile_handled_exit(ring);
    if (p.spoke_to != 0) break;
    if (load<i32>(cpu, CpuState.fuel) <= 0) break;
  }
  count_run(cpu, before - icount);
  p.ran_from = now;
  p.ran_insns = before - icount;
}
