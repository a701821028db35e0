// One row declares a hypercall: number, who may call it, and the function. Numbers: public/xen.h. A guest's argument
// count is what the function takes; a number without a row is -ENOSYS.
import { ERRNO, HYPERCALL } from "../abi";
import { do_mmu_update } from "../mm/mmu_update";
import { do_mmuext_op } from "../mm/mmuext";
import { do_update_va_mapping, do_update_va_mapping_otherdomain } from "../mm/update_va";
import { do_memory_op } from "../mm/memory_op";
import { do_set_gdt, do_update_descriptor } from "../mm/descriptor";
import { do_grant_table_op } from "../grant/grant";
import { do_event_channel_op } from "../evtchn/hypercall";
import { do_callback_op, do_nmi_op, do_set_callbacks, do_set_trap_table, do_stack_switch } from "../traps/callbacks";
import { do_fpu_taskswitch, do_get_debugreg, do_set_debugreg } from "../traps/debugreg";
import { do_set_segment_base } from "../traps/segments";
import { do_domctl } from "../domctl/domctl";
import { do_sysctl } from "../domctl/sysctl";
import { do_console_io } from "./console_io";
import { do_hvm_op } from "./hvm_op";
import { do_multicall } from "./multicall";
import { do_physdev_op } from "./physdev_op";
import { do_platform_op } from "./platform_op";
import { do_sched_op, do_sched_op_compat } from "./sched_op";
import { do_set_timer_op } from "./set_timer_op";
import { do_vcpu_op } from "./vcpu_op";
import { do_vm_assist } from "./vm_assist";
import { do_xen_version } from "./xen_version";
import { do_xenpmu_op } from "./xenpmu_op";
import { current } from "../percpu";

/** Highest number + 1. */
export const NR_hypercalls: u32 = 64;

/** PV guests only: a TypeScript domain has no such state, and an HVM container's vCPU has it in the engine. */
// @ts-ignore: decorator
@inline
function pv(): bool {
  return current.domain.is_ts == 0 && current.domain.is_hvm == 0;
}

/** Not an HVM container's: page tables that the hypervisor checks. */
// @ts-ignore: decorator
@inline
function not_hvm(): bool {
  return current.domain.is_hvm == 0;
}

const NOSYS: i64 = -ERRNO.ENOSYS;

/** Calls hypercall `op`. iret is not here: it sets every register itself (dispatch.ts). */
export function call_hypercall(op: u32, a1: u64, a2: u64, a3: u64, a4: u64, a5: u64): i64 {
  switch (op) {
    case HYPERCALL.set_trap_table: return pv() ? do_set_trap_table(a1) : NOSYS;
    case HYPERCALL.mmu_update: return not_hvm() ? do_mmu_update(a1, a2, a3, a4) : NOSYS;
    case HYPERCALL.set_gdt: return pv() ? do_set_gdt(a1, a2) : NOSYS;
    case HYPERCALL.stack_switch: return pv() ? do_stack_switch(a1, a2) : NOSYS;
    case HYPERCALL.set_callbacks: return pv() ? do_set_callbacks(a1, a2, a3) : NOSYS;
    case HYPERCALL.fpu_taskswitch: return pv() ? do_fpu_taskswitch(a1) : NOSYS;
    case HYPERCALL.sched_op_compat: return not_hvm() ? do_sched_op_compat(<u32>a1, a2) : NOSYS;
    case HYPERCALL.platform_op: return do_platform_op(a1);
    case HYPERCALL.set_debugreg: return pv() ? do_set_debugreg(a1, a2) : NOSYS;
    case HYPERCALL.get_debugreg: return pv() ? do_get_debugreg(a1) : NOSYS;
    case HYPERCALL.update_descriptor: return pv() ? do_update_descriptor(a1, a2) : NOSYS;
    case HYPERCALL.memory_op: return do_memory_op(a1, a2);
    case HYPERCALL.multicall: return do_multicall(a1, <u32>a2);
    case HYPERCALL.update_va_mapping: return pv() ? do_update_va_mapping(a1, a2, a3) : NOSYS;
    case HYPERCALL.set_timer_op: return do_set_timer_op(a1);
    case HYPERCALL.xen_version: return do_xen_version(<u32>a1, a2);
    case HYPERCALL.console_io: return do_console_io(<u32>a1, <u32>a2, a3);
    case HYPERCALL.grant_table_op: return do_grant_table_op(a1, a2, a3);
    case HYPERCALL.vm_assist: return do_vm_assist(<u32>a1, <u32>a2);
    case HYPERCALL.update_va_mapping_otherdomain: return pv() ? do_update_va_mapping_otherdomain(a1, a2, a3, a4) : NOSYS;
    case HYPERCALL.vcpu_op: return do_vcpu_op(<u32>a1, <u32>a2, a3);
    case HYPERCALL.set_segment_base: return pv() ? do_set_segment_base(a1, a2) : NOSYS;
    case HYPERCALL.mmuext_op: return not_hvm() ? do_mmuext_op(a1, a2, a3, a4) : NOSYS;
    case HYPERCALL.nmi_op: return pv() ? do_nmi_op(<u32>a1, a2) : NOSYS;
    case HYPERCALL.sched_op: return do_sched_op(<u32>a1, a2);
    case HYPERCALL.callback_op: return pv() ? do_callback_op(<u32>a1, a2) : NOSYS;
    case HYPERCALL.event_channel_op: return do_event_channel_op(<u32>a1, a2);
    case HYPERCALL.physdev_op: return pv() ? do_physdev_op(<u32>a1, a2) : NOSYS;
    case HYPERCALL.hvm_op: return do_hvm_op(<u32>a1, a2);
    case HYPERCALL.sysctl: return do_sysctl(a1);
    case HYPERCALL.domctl: return do_domctl(a1);
    case HYPERCALL.xenpmu_op: return current.domain.is_ts == 0 ? do_xenpmu_op(<u32>a1, a2) : NOSYS;
    // Not in a system without HVM guests, hotplug, tracing and so on (docs/SUPPORT.md): xsm_op (the built-in policy is all there is), the _compat forms
    // of event_channel_op and physdev_op, dm_op, kexec_op, tmem_op, argo_op, xenoprof_op, hypfs_op, mca.
    default: return NOSYS;
  }
}
