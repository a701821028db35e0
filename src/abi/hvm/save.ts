/** HVM contexts, domctl gethvmcontext and sethvmcontext (public/hvm/save.h, public/arch-x86/hvm/save.h). */
import { struct } from '../layout.ts';

/** Every record begins with one; `length` bytes follow. */
export const HvmSaveDescriptor = struct('hvm_save_descriptor', [
  ['typecode', 'u16'],
  ['instance', 'u16'],
  ['length', 'u32'],
]);
export const HVM_SAVE = { END: 0, HEADER: 1, CPU: 2, LAPIC: 5, LAPIC_REGS: 6, MTRR: 14, CPU_XSAVE: 16 } as const;
export const HVM_FILE_MAGIC = 0x54381286;
export const HVM_FILE_VERSION = 1;

export const HvmSaveHeader = struct('hvm_save_header', [
  ['magic', 'u32'],
  ['version', 'u32'],
  ['changeset', 'u64'],
  ['cpuid', 'u32'],
  ['gtsc_khz', 'u32'],
]);

export const HvmHwCpu = struct('hvm_hw_cpu', [
  ['fpu_regs', 'u8', 512],
  ['rax', 'u64'],
  ['rbx', 'u64'],
  ['rcx', 'u64'],
  ['rdx', 'u64'],
  ['rbp', 'u64'],
  ['rsi', 'u64'],
  ['rdi', 'u64'],
  ['rsp', 'u64'],
  ['r8', 'u64'],
  ['r9', 'u64'],
  ['r10', 'u64'],
  ['r11', 'u64'],
  ['r12', 'u64'],
  ['r13', 'u64'],
  ['r14', 'u64'],
  ['r15', 'u64'],
  ['rip', 'u64'],
  ['rflags', 'u64'],
  ['cr0', 'u64'],
  ['cr2', 'u64'],
  ['cr3', 'u64'],
  ['cr4', 'u64'],
  ['dr0', 'u64'],
  ['dr1', 'u64'],
  ['dr2', 'u64'],
  ['dr3', 'u64'],
  ['dr6', 'u64'],
  ['dr7', 'u64'],
  ['cs_sel', 'u32'],
  ['ds_sel', 'u32'],
  ['es_sel', 'u32'],
  ['fs_sel', 'u32'],
  ['gs_sel', 'u32'],
  ['ss_sel', 'u32'],
  ['tr_sel', 'u32'],
  ['ldtr_sel', 'u32'],
  ['cs_limit', 'u32'],
  ['ds_limit', 'u32'],
  ['es_limit', 'u32'],
  ['fs_limit', 'u32'],
  ['gs_limit', 'u32'],
  ['ss_limit', 'u32'],
  ['tr_limit', 'u32'],
  ['ldtr_limit', 'u32'],
  ['idtr_limit', 'u32'],
  ['gdtr_limit', 'u32'],
  ['cs_base', 'u64'],
  ['ds_base', 'u64'],
  ['es_base', 'u64'],
  ['fs_base', 'u64'],
  ['gs_base', 'u64'],
  ['ss_base', 'u64'],
  ['tr_base', 'u64'],
  ['ldtr_base', 'u64'],
  ['idtr_base', 'u64'],
  ['gdtr_base', 'u64'],
  ['cs_arbytes', 'u32'],
  ['ds_arbytes', 'u32'],
  ['es_arbytes', 'u32'],
  ['fs_arbytes', 'u32'],
  ['gs_arbytes', 'u32'],
  ['ss_arbytes', 'u32'],
  ['tr_arbytes', 'u32'],
  ['ldtr_arbytes', 'u32'],
  ['sysenter_cs', 'u64'],
  ['sysenter_esp', 'u64'],
  ['sysenter_eip', 'u64'],
  ['shadow_gs', 'u64'],
  ['msr_flags', 'u64'],
  ['msr_lstar', 'u64'],
  ['msr_star', 'u64'],
  ['msr_cstar', 'u64'],
  ['msr_syscall_mask', 'u64'],
  ['msr_efer', 'u64'],
  ['msr_tsc_aux', 'u64'],
  ['tsc', 'u64'],
  ['pending_event', 'u32'],
  ['error_code', 'u32'],
  /** Bit 0: fpu_regs are valid. */
  ['flags', 'u32'],
  ['pad0', 'u32'],
]);

/** struct segment_register's attributes of 32-bit flat code and data, and of a busy TSS. */
export const HVM_ARBYTES = { CODE32: 0xc9b, DATA32: 0xc93, TSS_BUSY: 0x8b } as const;

export const HvmHwLapic = struct('hvm_hw_lapic', [
  ['apic_base_msr', 'u64'],
  /** Bit 0: by APIC_BASE; bit 1: by SVR. */
  ['disabled', 'u32'],
  ['timer_divisor', 'u32'],
  ['tdt_msr', 'u64'],
]);
/** The APIC page, as far as it has registers. */
export const HvmHwLapicRegs = struct('hvm_hw_lapic_regs', [['data', 'u8', 1024]]);
export const HvmHwMtrr = struct('hvm_hw_mtrr', [
  ['msr_pat_cr', 'u64'],
  /** Base and mask of each variable range. */
  ['msr_mtrr_var', 'u64', 16],
  ['msr_mtrr_fixed', 'u64', 11],
  ['msr_mtrr_cap', 'u64'],
  ['msr_mtrr_def_type', 'u64'],
]);
/** XCR0 and an XSAVE image of x87 and SSE state (in Xen as long as the largest state that XCR0 had). */
export const HvmHwCpuXsave = struct('hvm_hw_cpu_xsave', [
  ['xfeature_mask', 'u64'],
  ['xcr0', 'u64'],
  ['xcr0_accum', 'u64'],
  ['fpu_sse', 'u8', 512],
  ['xstate_bv', 'u64'],
  ['xcomp_bv', 'u64'],
  ['reserved', 'u64', 6],
]);
