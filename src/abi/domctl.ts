/** domctl, interface version 0x15 (public/domctl.h). Structures other than Domctl lie at Domctl.u. */
import { ArchDomainconfig } from './arch-x86.ts';
import { struct } from './layout.ts';
import { XenctlBitmap } from './xen.ts';

export const XEN_DOMCTL_INTERFACE_VERSION = 0x15;

export const DOMCTL = {
  createdomain: 1,
  destroydomain: 2,
  pausedomain: 3,
  unpausedomain: 4,
  getdomaininfo: 5,
  setvcpuaffinity: 9,
  shadow_op: 10,
  max_mem: 11,
  setvcpucontext: 12,
  getvcpucontext: 13,
  getvcpuinfo: 14,
  max_vcpus: 15,
  scheduler_op: 16,
  setdomainhandle: 17,
  setdebugging: 18,
  irq_permission: 19,
  iomem_permission: 20,
  ioport_permission: 21,
  hypercall_init: 22,
  /** Inside the hypervisor only. */
  soft_reset_cont: 23,
  settimeoffset: 24,
  getvcpuaffinity: 25,
  real_mode_area: 26,
  resumedomain: 27,
  sendtrigger: 28,
  subscribe: 29,
  gethvmcontext: 33,
  sethvmcontext: 34,
  set_address_size: 35,
  get_address_size: 36,
  assign_device: 37,
  bind_pt_irq: 38,
  memory_mapping: 39,
  ioport_mapping: 40,
  set_ext_vcpucontext: 42,
  get_ext_vcpucontext: 43,
  set_opt_feature: 44,
  test_assign_device: 45,
  set_target: 46,
  deassign_device: 47,
  unbind_pt_irq: 48,
  get_device_group: 50,
  debug_op: 54,
  gethvmcontext_partial: 55,
  vm_event_op: 56,
  mem_sharing_op: 57,
  gettscinfo: 59,
  settscinfo: 60,
  getpageframeinfo3: 61,
  setvcpuextstate: 62,
  getvcpuextstate: 63,
  set_access_required: 64,
  audit_p2m: 65,
  set_virq_handler: 66,
  set_broken_page_p2m: 67,
  setnodeaffinity: 68,
  getnodeaffinity: 69,
  cacheflush: 71,
  get_vcpu_msrs: 72,
  set_vcpu_msrs: 73,
  setvnumainfo: 74,
  psr_cmt_op: 75,
  monitor_op: 77,
  psr_alloc: 78,
  soft_reset: 79,
  vuart_op: 81,
  get_cpu_policy: 82,
  set_cpu_policy: 83,
  vmtrace_op: 84,
  get_paging_mempool_size: 85,
  set_paging_mempool_size: 86,
  gdbsx_guestmemio: 1000,
  gdbsx_pausevcpu: 1001,
  gdbsx_unpausevcpu: 1002,
  gdbsx_domstatus: 1003,
} as const;

/** u is the operation's own structure, at most 128 bytes. */
export const Domctl = struct('xen_domctl', [
  ['cmd', 'u32'],
  ['interface_version', 'u32'],
  ['domain', 'u16'],
  ['_pad', 'u16', 3],
  ['u', 'u64', 16],
]);

export const DomctlCreatedomain = struct('xen_domctl_createdomain', [
  ['ssidref', 'u32'],
  ['handle', 'u8', 16],
  ['flags', 'u32'],
  ['iommu_opts', 'u32'],
  ['max_vcpus', 'u32'],
  ['max_evtchn_port', 'u32'],
  ['max_grant_frames', 'i32'],
  ['max_maptrack_frames', 'i32'],
  ['grant_opts', 'u32'],
  ['vmtrace_size', 'u32'],
  ['cpupool_id', 'u32'],
  ['arch', ArchDomainconfig],
]);

/** createdomain.flags. */
export const CDF = {
  hvm: 1 << 0,
  hap: 1 << 1,
  s3_integrity: 1 << 2,
  oos_off: 1 << 3,
  xs_domain: 1 << 4,
  iommu: 1 << 5,
  nested_virt: 1 << 6,
  vpmu: 1 << 7,
  MAX: 1 << 7,
} as const;
/** createdomain.grant_opts: bits 0-3 the highest grant-table version. */
export const GRANT_version_mask = 0xf;

export const DomctlGetdomaininfo = struct('xen_domctl_getdomaininfo', [
  ['domain', 'u16'],
  ['pad1', 'u16'],
  ['flags', 'u32'],
  ['tot_pages', 'u64'],
  ['max_pages', 'u64'],
  ['outstanding_pages', 'u64'],
  ['shr_pages', 'u64'],
  ['paged_pages', 'u64'],
  ['shared_info_frame', 'u64'],
  ['cpu_time', 'u64'],
  ['nr_online_vcpus', 'u32'],
  ['max_vcpu_id', 'u32'],
  ['ssidref', 'u32'],
  ['handle', 'u8', 16],
  ['cpupool', 'u32'],
  ['gpaddr_bits', 'u8'],
  ['pad2', 'u8', 7],
  ['arch_config', ArchDomainconfig],
]);
export const XEN_INVALID_MAX_VCPU_ID = 0xffff_ffff;

/** getdomaininfo.flags; the reason of a shutdown is in bits 16-23. */
export const DOMINF = {
  dying: 1 << 0,
  hvm_guest: 1 << 1,
  shutdown: 1 << 2,
  paused: 1 << 3,
  blocked: 1 << 4,
  running: 1 << 5,
  debugged: 1 << 6,
  xs_domain: 1 << 7,
  hap: 1 << 8,
  shutdownmask: 255,
  shutdownshift: 16,
} as const;

export const DomctlGetpageframeinfo3 = struct('xen_domctl_getpageframeinfo3', [
  ['num', 'u64'],
  ['array', 'u64'],
]);
/** Bits 28-31 of an entry of that array (4.17: of the low 32 bits). */
export const PFINFO = {
  LTAB_SHIFT: 28,
  NOTAB: 0,
  L1TAB: 0x1000_0000,
  L2TAB: 0x2000_0000,
  L3TAB: 0x3000_0000,
  L4TAB: 0x4000_0000,
  LTABTYPE_MASK: 0x7000_0000,
  LPINTAB: 0x8000_0000,
  XTAB: 0xf000_0000,
  XALLOC: 0xe000_0000,
  BROKEN: 0xd000_0000,
  LTAB_MASK: 0xf000_0000,
} as const;

export const SHADOW_OP = {
  OFF: 0,
  ENABLE_TEST: 1,
  ENABLE_LOGDIRTY: 2,
  CLEAN: 11,
  PEEK: 12,
  GET_ALLOCATION: 30,
  SET_ALLOCATION: 31,
  ENABLE: 32,
} as const;
export const SHADOW_LOGDIRTY_FINAL = 1;
export const DomctlShadowOp = struct('xen_domctl_shadow_op', [
  ['op', 'u32'],
  ['mode', 'u32'],
  ['mb', 'u32'],
  ['dirty_bitmap', 'u64'],
  ['pages', 'u64'],
  ['fault_count', 'u32'],
  ['dirty_count', 'u32'],
]);

export const DomctlMaxMem = struct('xen_domctl_max_mem', [['max_memkb', 'u64']]);

/** setvcpucontext, getvcpucontext. */
export const DomctlVcpucontext = struct('xen_domctl_vcpucontext', [
  ['vcpu', 'u32'],
  ['ctxt', 'u64'],
]);

export const DomctlGetvcpuinfo = struct('xen_domctl_getvcpuinfo', [
  ['vcpu', 'u32'],
  ['online', 'u8'],
  ['blocked', 'u8'],
  ['running', 'u8'],
  ['cpu_time', 'u64'],
  ['cpu', 'u32'],
]);

export const DomctlNodeaffinity = struct('xen_domctl_nodeaffinity', [['nodemap', XenctlBitmap]]);

export const DomctlVcpuaffinity = struct('xen_domctl_vcpuaffinity', [
  ['vcpu', 'u32'],
  ['flags', 'u32'],
  ['cpumap_hard', XenctlBitmap],
  ['cpumap_soft', XenctlBitmap],
]);
export const VCPUAFFINITY = { HARD: 1 << 0, SOFT: 1 << 1, FORCE: 1 << 2 } as const;

export const DomctlMaxVcpus = struct('xen_domctl_max_vcpus', [['max', 'u32']]);

export const XEN_SCHEDULER = { CREDIT: 5, CREDIT2: 6, ARINC653: 7, RTDS: 8, NULL: 9 } as const;
export const DOMCTL_SCHEDOP = { putinfo: 0, getinfo: 1, putvcpuinfo: 2, getvcpuinfo: 3 } as const;

/** u: DomctlSchedCredit (also credit2), DomctlSchedRtds, or DomctlSchedV for the vCPU operations. */
export const DomctlSchedulerOp = struct('xen_domctl_scheduler_op', [
  ['sched_id', 'u32'],
  ['cmd', 'u32'],
  ['u', 'u64', 2],
]);
export const DomctlSchedCredit = struct('xen_domctl_sched_credit', [
  ['weight', 'u16'],
  ['cap', 'u16'],
]);
export const DomctlSchedRtds = struct('xen_domctl_sched_rtds', [
  ['period', 'u32'],
  ['budget', 'u32'],
  ['flags', 'u32'],
]);
export const SCHEDRT_extra = 1;
export const DomctlSchedV = struct('xen_domctl_sched_v', [
  ['vcpus', 'u64'],
  ['nr_vcpus', 'u32'],
  ['padding', 'u32'],
]);
export const DomctlSchedparamVcpu = struct('xen_domctl_schedparam_vcpu', [
  ['u', DomctlSchedRtds],
  ['vcpuid', 'u32'],
]);

export const DomctlSetdomainhandle = struct('xen_domctl_setdomainhandle', [['handle', 'u8', 16]]);
export const DomctlSetdebugging = struct('xen_domctl_setdebugging', [['enable', 'u8']]);
export const DomctlIrqPermission = struct('xen_domctl_irq_permission', [
  ['pirq', 'u32'],
  ['allow_access', 'u8'],
  ['pad', 'u8', 3],
]);
export const DomctlIomemPermission = struct('xen_domctl_iomem_permission', [
  ['first_mfn', 'u64'],
  ['nr_mfns', 'u64'],
  ['allow_access', 'u8'],
]);
export const DomctlIoportPermission = struct('xen_domctl_ioport_permission', [
  ['first_port', 'u32'],
  ['nr_ports', 'u32'],
  ['allow_access', 'u8'],
]);
export const DomctlHypercallInit = struct('xen_domctl_hypercall_init', [['gmfn', 'u64']]);
export const DomctlSettimeoffset = struct('xen_domctl_settimeoffset', [['time_offset_seconds', 'i64']]);

/** gethvmcontext, sethvmcontext. */
export const DomctlHvmcontext = struct('xen_domctl_hvmcontext', [
  ['size', 'u32'],
  ['buffer', 'u64'],
]);
export const DomctlHvmcontextPartial = struct('xen_domctl_hvmcontext_partial', [
  ['type', 'u32'],
  ['instance', 'u32'],
  ['bufsz', 'u64'],
  ['buffer', 'u64'],
]);

/** size: 32 or 64. */
export const DomctlAddressSize = struct('xen_domctl_address_size', [['size', 'u32']]);

export const SENDTRIGGER = { NMI: 0, RESET: 1, INIT: 2, POWER: 3, SLEEP: 4 } as const;
export const DomctlSendtrigger = struct('xen_domctl_sendtrigger', [
  ['trigger', 'u32'],
  ['vcpu', 'u32'],
]);

export const DomctlExtVcpucontext = struct('xen_domctl_ext_vcpucontext', [
  ['vcpu', 'u32'],
  ['size', 'u32'],
  ['syscall32_callback_eip', 'u64'],
  ['sysenter_callback_eip', 'u64'],
  ['syscall32_callback_cs', 'u16'],
  ['sysenter_callback_cs', 'u16'],
  ['syscall32_disables_events', 'u8'],
  ['sysenter_disables_events', 'u8'],
  ['mcg_cap', 'u64'],
  ['vmce_mci_ctl2_bank0', 'u64'],
  ['vmce_mci_ctl2_bank1', 'u64'],
  ['vmce_mcg_ext_ctl', 'u64'],
]);

export const DomctlSetTarget = struct('xen_domctl_set_target', [['target', 'u16']]);

/** get_cpu_policy, set_cpu_policy. */
export const DomctlCpuPolicy = struct('xen_domctl_cpu_policy', [
  ['nr_leaves', 'u32'],
  ['nr_msrs', 'u32'],
  ['leaves', 'u64'],
  ['msrs', 'u64'],
  ['err_leaf', 'u32'],
  ['err_subleaf', 'u32'],
  ['err_msr', 'u32'],
]);

export const DomctlSubscribe = struct('xen_domctl_subscribe', [['port', 'u32']]);
export const DomctlDebugOp = struct('xen_domctl_debug_op', [
  ['op', 'u32'],
  ['vcpu', 'u32'],
]);

/** gdbsx_guestmemio. */
export const DomctlGdbsxMemio = struct('xen_domctl_gdbsx_memio', [
  ['pgd3val', 'u64'],
  ['gva', 'u64'],
  ['uva', 'u64'],
  ['len', 'u32'],
  ['gwr', 'u8'],
  ['remain', 'u32'],
]);
/** gdbsx_pausevcpu, gdbsx_unpausevcpu. */
export const DomctlGdbsxPauseunpVcpu = struct('xen_domctl_gdbsx_pauseunp_vcpu', [['vcpu', 'u32']]);
export const DomctlGdbsxDomstatus = struct('xen_domctl_gdbsx_domstatus', [
  ['paused', 'u8'],
  ['vcpu_id', 'u32'],
  ['vcpu_ev', 'u32'],
]);

/** gettscinfo, settscinfo. */
export const DomctlTscInfo = struct('xen_domctl_tsc_info', [
  ['tsc_mode', 'u32'],
  ['gtsc_khz', 'u32'],
  ['incarnation', 'u32'],
  ['pad', 'u32'],
  ['elapsed_nsec', 'u64'],
]);
/** tsc_mode. */
export const TSC_MODE = { DEFAULT: 0, ALWAYS_EMULATE: 1, NEVER_EMULATE: 2 } as const;

export const DomctlSetVirqHandler = struct('xen_domctl_set_virq_handler', [['virq', 'u32']]);

export const DomctlVcpuextstate = struct('xen_domctl_vcpuextstate', [
  ['vcpu', 'u32'],
  ['xfeature_mask', 'u64'],
  ['size', 'u64'],
  ['buffer', 'u64'],
]);

export const DomctlVcpuMsr = struct('xen_domctl_vcpu_msr', [
  ['index', 'u32'],
  ['reserved', 'u32'],
  ['value', 'u64'],
]);
export const DomctlVcpuMsrs = struct('xen_domctl_vcpu_msrs', [
  ['vcpu', 'u32'],
  ['msr_count', 'u32'],
  ['msrs', 'u64'],
]);

export const DomctlVnuma = struct('xen_domctl_vnuma', [
  ['nr_vnodes', 'u32'],
  ['nr_vmemranges', 'u32'],
  ['nr_vcpus', 'u32'],
  ['pad', 'u32'],
  ['vdistance', 'u64'],
  ['vcpu_to_vnode', 'u64'],
  ['vnode_to_pnode', 'u64'],
  ['vmemrange', 'u64'],
]);

export const DomctlPagingMempool = struct('xen_domctl_paging_mempool', [['size', 'u64']]);
