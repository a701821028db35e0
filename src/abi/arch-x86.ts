/** x86-64 part of the interface (public/arch-x86/xen.h, xen-x86_64.h). */
import { struct } from './layout.ts';

/** Selectors of the flat segments that the hypervisor keeps in every PV guest's GDT. */
export const FLAT = {
  RING3_CS32: 0xe023,
  RING3_CS64: 0xe033,
  RING3_DS32: 0xe02b,
  RING3_DS64: 0,
  RING3_SS32: 0xe02b,
  RING3_SS64: 0xe02b,
  KERNEL_CS: 0xe033,
  KERNEL_DS: 0,
  KERNEL_SS: 0xe02b,
  USER_CS: 0xe033,
  USER_DS: 0,
  USER_SS: 0xe02b,
} as const;

/** The guest's own GDT entries end here: 14 pages; the hypervisor's follow. */
export const FIRST_RESERVED_GDT_PAGE = 14;
export const FIRST_RESERVED_GDT_BYTE = FIRST_RESERVED_GDT_PAGE * 4096;
export const FIRST_RESERVED_GDT_ENTRY = FIRST_RESERVED_GDT_BYTE / 8;

/** vCPUs that have a vcpu_info inside shared_info. */
export const XEN_LEGACY_MAX_VCPUS = 32;

/** Linear addresses that belong to the hypervisor in a PV guest: L4 slots 256 to 271. */
export const HYPERVISOR_VIRT_START = 0xffff_8000_0000_0000n;
export const HYPERVISOR_VIRT_END = 0xffff_8800_0000_0000n;
export const MACH2PHYS_VIRT_START = 0xffff_8000_0000_0000n;
export const MACH2PHYS_VIRT_END = 0xffff_8040_0000_0000n;

/** First argument of set_segment_base. */
export const SEGBASE = { FS: 0, GS_USER: 1, GS_KERNEL: 2, GS_USER_SEL: 3 } as const;

/** vcpu_guest_context.flags; in_syscall is iret_context.flags. */
export const VGCF = {
  i387_valid: 1 << 0,
  in_kernel: 1 << 2,
  failsafe_disables_events: 1 << 3,
  syscall_disables_events: 1 << 4,
  online: 1 << 5,
  in_syscall: 1 << 8,
} as const;

/** One entry of set_trap_table. flags: bits 0-1 DPL, bit 2 "mask events on delivery". A table ends at address 0. */
export const TrapInfo = struct('trap_info', [
  ['vector', 'u8'],
  ['flags', 'u8'],
  ['cs', 'u16'],
  ['address', 'u64'],
]);

/** What the iret hypercall finds at the guest's rsp. */
export const IretContext = struct('iret_context', [
  ['rax', 'u64'],
  ['r11', 'u64'],
  ['rcx', 'u64'],
  ['flags', 'u64'],
  ['rip', 'u64'],
  ['cs', 'u64'],
  ['rflags', 'u64'],
  ['rsp', 'u64'],
  ['ss', 'u64'],
]);

export const CpuUserRegs = struct('cpu_user_regs', [
  ['r15', 'u64'],
  ['r14', 'u64'],
  ['r13', 'u64'],
  ['r12', 'u64'],
  ['rbp', 'u64'],
  ['rbx', 'u64'],
  ['r11', 'u64'],
  ['r10', 'u64'],
  ['r9', 'u64'],
  ['r8', 'u64'],
  ['rax', 'u64'],
  ['rcx', 'u64'],
  ['rdx', 'u64'],
  ['rsi', 'u64'],
  ['rdi', 'u64'],
  ['error_code', 'u32'],
  ['entry_vector', 'u32'],
  ['rip', 'u64'],
  ['cs', 'u16'],
  ['_pad0', 'u16'],
  ['saved_upcall_mask', 'u8'],
  ['_pad1', 'u8', 3],
  ['rflags', 'u64'],
  ['rsp', 'u64'],
  ['ss', 'u16'],
  ['_pad2', 'u16', 3],
  ['es', 'u16'],
  ['_pad3', 'u16', 3],
  ['ds', 'u16'],
  ['_pad4', 'u16', 3],
  ['fs', 'u16'],
  ['_pad5', 'u16', 3],
  ['gs', 'u16'],
  ['_pad6', 'u16', 3],
]);

/** Start state of a PV vCPU: setvcpucontext, getvcpucontext, VCPUOP_initialise. */
export const VcpuGuestContext = struct('vcpu_guest_context', [
  ['fpu_ctxt', 'u8', 512],
  ['flags', 'u64'],
  ['user_regs', CpuUserRegs],
  ['trap_ctxt', TrapInfo, 256],
  ['ldt_base', 'u64'],
  ['ldt_ents', 'u64'],
  ['gdt_frames', 'u64', 16],
  ['gdt_ents', 'u64'],
  ['kernel_ss', 'u64'],
  ['kernel_sp', 'u64'],
  /** cr0..cr7; [1] is the user-mode page table, [3] the kernel's, both as frame << 12. */
  ['ctrlreg', 'u64', 8],
  ['debugreg', 'u64', 8],
  ['event_callback_eip', 'u64'],
  ['failsafe_callback_eip', 'u64'],
  ['syscall_callback_eip', 'u64'],
  ['vm_assist', 'u64'],
  ['fs_base', 'u64'],
  ['gs_base_kernel', 'u64'],
  ['gs_base_user', 'u64'],
]);

export const ArchVcpuInfo = struct('arch_vcpu_info', [
  ['cr2', 'u64'],
  ['pad', 'u64'],
]);

export const ArchSharedInfo = struct('arch_shared_info', [
  ['max_pfn', 'u64'],
  ['pfn_to_mfn_frame_list_list', 'u64'],
  ['nmi_reason', 'u64'],
  ['p2m_cr3', 'u64'],
  ['p2m_vaddr', 'u64'],
  ['p2m_generation', 'u64'],
]);

/** Part of createdomain and getdomaininfo. */
export const ArchDomainconfig = struct('xen_arch_domainconfig', [
  ['emulation_flags', 'u32'],
  ['misc_flags', 'u32'],
]);

/** Devices that the hypervisor emulates for an HVM domain (emulation_flags). */
export const X86_EMU = {
  LAPIC: 1 << 0,
  HPET: 1 << 1,
  PM: 1 << 2,
  RTC: 1 << 3,
  IOAPIC: 1 << 4,
  PIC: 1 << 5,
  VGA: 1 << 6,
  IOMMU: 1 << 7,
  PIT: 1 << 8,
  USE_PIRQ: 1 << 9,
  VPCI: 1 << 10,
  ALL: 0x7ff,
} as const;

/** misc_flags: unknown MSRs read as 0 instead of faulting. */
export const X86_MSR_RELAXED = 1;

export const CpuidLeaf = struct('xen_cpuid_leaf', [
  ['leaf', 'u32'],
  ['subleaf', 'u32'],
  ['a', 'u32'],
  ['b', 'u32'],
  ['c', 'u32'],
  ['d', 'u32'],
]);
export const CPUID_NO_SUBLEAF = 0xffff_ffff;

export const MsrEntry = struct('xen_msr_entry', [
  ['idx', 'u32'],
  ['flags', 'u32'],
  ['val', 'u64'],
]);

/** Bytes before an instruction that force its emulation: ud2 "xen". */
export const XEN_EMULATE_PREFIX = 0x6e_6578_0b0fn;

/** Port of the HVM debug console. */
export const HVM_DEBUGCONS_IOPORT = 0xe9;
