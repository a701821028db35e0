/** The core of the interface (public/xen.h): hypercall numbers, shared pages, page-table operations, domain ids. */
import { ArchSharedInfo, ArchVcpuInfo } from './arch-x86.ts';
import { struct } from './layout.ts';

export const HYPERCALL = {
  set_trap_table: 0,
  mmu_update: 1,
  set_gdt: 2,
  stack_switch: 3,
  set_callbacks: 4,
  fpu_taskswitch: 5,
  sched_op_compat: 6,
  platform_op: 7,
  set_debugreg: 8,
  get_debugreg: 9,
  update_descriptor: 10,
  memory_op: 12,
  multicall: 13,
  update_va_mapping: 14,
  set_timer_op: 15,
  event_channel_op_compat: 16,
  xen_version: 17,
  console_io: 18,
  physdev_op_compat: 19,
  grant_table_op: 20,
  vm_assist: 21,
  update_va_mapping_otherdomain: 22,
  iret: 23,
  vcpu_op: 24,
  set_segment_base: 25,
  mmuext_op: 26,
  xsm_op: 27,
  nmi_op: 28,
  sched_op: 29,
  callback_op: 30,
  xenoprof_op: 31,
  event_channel_op: 32,
  physdev_op: 33,
  hvm_op: 34,
  sysctl: 35,
  domctl: 36,
  kexec_op: 37,
  tmem_op: 38,
  argo_op: 39,
  xenpmu_op: 40,
  dm_op: 41,
  hypfs_op: 42,
  /** On x86: do_mca. */
  arch_0: 48,
  /** On x86: paging_domctl_cont, inside the hypervisor only. */
  arch_1: 49,
} as const;

/** Slots of the hypercall page, 32 bytes each. */
export const NR_HYPERCALL_SLOTS = 128;

export const VIRQ = {
  TIMER: 0,
  DEBUG: 1,
  CONSOLE: 2,
  DOM_EXC: 3,
  TBUF: 4,
  DEBUGGER: 6,
  XENOPROF: 7,
  CON_RING: 8,
  PCPU_STATE: 9,
  MEM_EVENT: 10,
  ARGO: 11,
  ENOMEM: 12,
  XENPMU: 13,
  ARCH_0: 16,
  ARCH_7: 23,
} as const;
export const NR_VIRQS = 24;

/** Low two bits of mmu_update.ptr. */
export const MMU = {
  NORMAL_PT_UPDATE: 0,
  MACHPHYS_UPDATE: 1,
  PT_UPDATE_PRESERVE_AD: 2,
  PT_UPDATE_NO_TRANSLATE: 3,
} as const;

export const MMUEXT = {
  PIN_L1_TABLE: 0,
  PIN_L2_TABLE: 1,
  PIN_L3_TABLE: 2,
  PIN_L4_TABLE: 3,
  UNPIN_TABLE: 4,
  NEW_BASEPTR: 5,
  TLB_FLUSH_LOCAL: 6,
  INVLPG_LOCAL: 7,
  TLB_FLUSH_MULTI: 8,
  INVLPG_MULTI: 9,
  TLB_FLUSH_ALL: 10,
  INVLPG_ALL: 11,
  FLUSH_CACHE: 12,
  SET_LDT: 13,
  NEW_USER_BASEPTR: 15,
  CLEAR_PAGE: 16,
  COPY_PAGE: 17,
  FLUSH_CACHE_GLOBAL: 18,
  MARK_SUPER: 19,
  UNMARK_SUPER: 20,
} as const;

/** arg1: frame or linear address. arg2: number of entries, handle of a vCPU mask, or source frame. */
export const MmuextOp = struct('mmuext_op', [
  ['cmd', 'u32'],
  ['arg1', 'u64'],
  ['arg2', 'u64'],
]);

export const MmuUpdate = struct('mmu_update', [
  ['ptr', 'u64'],
  ['val', 'u64'],
]);

/** Flags of update_va_mapping. Bits from 3 up may hold the address of a vCPU mask (MULTI). */
export const UVMF = {
  NONE: 0,
  TLB_FLUSH: 1,
  INVLPG: 2,
  FLUSHTYPE_MASK: 3,
  MULTI: 0,
  LOCAL: 0,
  ALL: 1 << 2,
} as const;

export const CONSOLEIO = { write: 0, read: 1 } as const;

export const VMASST_CMD = { enable: 0, disable: 1 } as const;
/** Bit numbers. */
export const VMASST_TYPE = {
  '4gb_segments': 0,
  '4gb_segments_notify': 1,
  writable_pagetables: 2,
  pae_extended_cr3: 3,
  architectural_iopl: 4,
  runstate_update_flag: 5,
  m2p_strict: 32,
} as const;

export const DOMID = {
  FIRST_RESERVED: 0x7ff0,
  SELF: 0x7ff0,
  IO: 0x7ff1,
  XEN: 0x7ff2,
  COW: 0x7ff3,
  INVALID: 0x7ff4,
  IDLE: 0x7fff,
  MASK: 0x7fff,
} as const;

export const MulticallEntry = struct('multicall_entry', [
  ['op', 'u64'],
  ['result', 'u64'],
  ['args', 'u64', 6],
]);

/** Clock of a vCPU: ns = system_time + ((tsc - tsc_timestamp) << tsc_shift) * tsc_to_system_mul >> 32; odd version: being written. */
export const VcpuTimeInfo = struct('vcpu_time_info', [
  ['version', 'u32'],
  ['pad0', 'u32'],
  ['tsc_timestamp', 'u64'],
  ['system_time', 'u64'],
  ['tsc_to_system_mul', 'u32'],
  ['tsc_shift', 'i8'],
  ['flags', 'u8'],
  ['pad1', 'u8', 2],
]);
export const PVCLOCK = { TSC_STABLE_BIT: 1 << 0, GUEST_STOPPED: 1 << 1 } as const;

export const VcpuInfo = struct('vcpu_info', [
  ['evtchn_upcall_pending', 'u8'],
  ['evtchn_upcall_mask', 'u8'],
  ['evtchn_pending_sel', 'u64'],
  ['arch', ArchVcpuInfo],
  ['time', VcpuTimeInfo],
]);

export const SharedInfo = struct('shared_info', [
  ['vcpu_info', VcpuInfo, 32],
  ['evtchn_pending', 'u64', 64],
  ['evtchn_mask', 'u64', 64],
  ['wc_version', 'u32'],
  ['wc_sec', 'u32'],
  ['wc_nsec', 'u32'],
  ['wc_sec_hi', 'u32'],
  ['arch', ArchSharedInfo],
]);

/** What a PV kernel finds at rsi. console_* are those of a domU. */
export const StartInfo = struct('start_info', [
  ['magic', 'u8', 32],
  ['nr_pages', 'u64'],
  /** Machine address of the shared info page. */
  ['shared_info', 'u64'],
  ['flags', 'u32'],
  ['store_mfn', 'u64'],
  ['store_evtchn', 'u32'],
  ['console_mfn', 'u64'],
  ['console_evtchn', 'u32'],
  ['pt_base', 'u64'],
  ['nr_pt_frames', 'u64'],
  ['mfn_list', 'u64'],
  ['mod_start', 'u64'],
  ['mod_len', 'u64'],
  ['cmd_line', 'i8', 1024],
  ['first_p2m_pfn', 'u64'],
  ['nr_p2m_frames', 'u64'],
]);
export const MAX_GUEST_CMDLINE = 1024;

/** start_info.flags. */
export const SIF = {
  PRIVILEGED: 1 << 0,
  INITDOMAIN: 1 << 1,
  MULTIBOOT_MOD: 1 << 2,
  MOD_START_PFN: 1 << 3,
  VIRT_P2M_4TOOLS: 1 << 4,
  PM_MASK: 0xff00,
} as const;

/** A bitmap in guest memory, as domctl and sysctl take it. */
export const XenctlBitmap = struct('xenctl_bitmap', [
  ['bitmap', 'u64'],
  ['nr_bits', 'u32'],
]);
