// Kernel and user mode of a 64-bit PV vCPU: both run at CPL 3; TF_kernel_mode, the L4 table and the GS base tell them
// apart (arch-x86/xen-x86_64.h).
import { CpuState, SEG } from "../abi";
import { Domain, TF_kernel_mode, Vcpu, in_kernel_mode } from "../domain";
import { tlb_switch } from "../engine";
import { update_runstate_area } from "../sched/runstate";
import { update_secondary_time } from "../time/time_info";

// @ts-ignore: decorator
@inline
function gs_base(v: Vcpu): usize {
  return v.cpu + CpuState.segbase + (SEG.GS << 3);
}

// @ts-ignore: decorator
@inline
function root_of(v: Vcpu): u32 {
  return (in_kernel_mode(v) ? v.guest_table : v.guest_table_user) << 12;
}

/** CR3 was loaded, or the vCPU has just been put on this pCPU: activates its L4 by the staleness rules. */
export function update_cr3(v: Vcpu): void {
  v.tlb_generation = atomic.load<u32>(changetype<usize>(v.domain) + offsetof<Domain>("tlb_downgrade_gen"));
  tlb_switch(v.cpu, root_of(v), v.tlb_generation);
}

/** Swaps user for kernel mode or back: L4 and GS base. The caller has checked that the other side has an L4. */
export function toggle_guest_mode(v: Vcpu): void {
  const gs = load<u64>(gs_base(v));
  if (in_kernel_mode(v)) {
    v.gs_base_kernel = gs;
    store<u64>(gs_base(v), v.gs_base_user);
  } else {
    v.gs_base_user = gs;
    store<u64>(gs_base(v), v.gs_base_kernel);
  }
  v.thread_flags ^= TF_kernel_mode;
  tlb_switch(v.cpu, root_of(v), v.tlb_generation);
  // Areas that were not mapped while the user's table was active.
  if (in_kernel_mode(v)) {
    if (v.runstate_pending) v.runstate_pending = update_runstate_area(v) ? 0 : 1;
    if (v.time_pending) v.time_pending = update_secondary_time(v) ? 0 : 1;
  }
}
