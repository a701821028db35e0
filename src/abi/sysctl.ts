/** sysctl, interface version 0x15 (public/sysctl.h). Structures other than Sysctl lie at Sysctl.u. */
import { struct } from './layout.ts';
import { XenctlBitmap } from './xen.ts';

export const XEN_SYSCTL_INTERFACE_VERSION = 0x15;

export const SYSCTL = {
  readconsole: 1,
  tbuf_op: 2,
  physinfo: 3,
  sched_id: 4,
  perfc_op: 5,
  getdomaininfolist: 6,
  debug_keys: 7,
  getcpuinfo: 8,
  availheap: 9,
  get_pmstat: 10,
  cpu_hotplug: 11,
  pm_op: 12,
  page_offline_op: 14,
  lockprof_op: 15,
  cputopoinfo: 16,
  numainfo: 17,
  cpupool_op: 18,
  scheduler_op: 19,
  coverage_op: 20,
  psr_cmt_op: 21,
  pcitopoinfo: 22,
  psr_alloc: 23,
  get_cpu_levelling_caps: 25,
  get_cpu_featureset: 26,
  livepatch_op: 27,
  get_cpu_policy: 29,
} as const;

/** u is the operation's own structure, at most 128 bytes. */
export const Sysctl = struct('xen_sysctl', [
  ['cmd', 'u32'],
  ['interface_version', 'u32'],
  ['u', 'u64', 16],
]);

export const SysctlReadconsole = struct('xen_sysctl_readconsole', [
  ['clear', 'u8'],
  ['incremental', 'u8'],
  ['pad0', 'u8'],
  ['pad1', 'u8'],
  ['index', 'u32'],
  ['buffer', 'u64'],
  ['count', 'u32'],
]);

export const SysctlPhysinfo = struct('xen_sysctl_physinfo', [
  ['threads_per_core', 'u32'],
  ['cores_per_socket', 'u32'],
  ['nr_cpus', 'u32'],
  ['max_cpu_id', 'u32'],
  ['nr_nodes', 'u32'],
  ['max_node_id', 'u32'],
  ['cpu_khz', 'u32'],
  ['capabilities', 'u32'],
  ['arch_capabilities', 'u32'],
  ['pad', 'u32'],
  ['total_pages', 'u64'],
  ['free_pages', 'u64'],
  ['scrub_pages', 'u64'],
  ['outstanding_pages', 'u64'],
  ['max_mfn', 'u64'],
  ['hw_cap', 'u32', 8],
]);
/** physinfo.capabilities. */
export const PHYSCAP = {
  hvm: 1 << 0,
  pv: 1 << 1,
  directio: 1 << 2,
  hap: 1 << 3,
  shadow: 1 << 4,
  iommu_hap_pt_share: 1 << 5,
  vmtrace: 1 << 6,
  vpmu: 1 << 7,
  gnttab_v1: 1 << 8,
  gnttab_v2: 1 << 9,
} as const;

export const SysctlSchedId = struct('xen_sysctl_sched_id', [['sched_id', 'u32']]);

export const SysctlGetdomaininfolist = struct('xen_sysctl_getdomaininfolist', [
  ['first_domain', 'u16'],
  ['max_domains', 'u32'],
  ['buffer', 'u64'],
  ['num_domains', 'u32'],
]);

export const SysctlDebugKeys = struct('xen_sysctl_debug_keys', [
  ['keys', 'u64'],
  ['nr_keys', 'u32'],
]);

export const SysctlCpuinfo = struct('xen_sysctl_cpuinfo', [['idletime', 'u64']]);
export const SysctlGetcpuinfo = struct('xen_sysctl_getcpuinfo', [
  ['max_cpus', 'u32'],
  ['info', 'u64'],
  ['nr_cpus', 'u32'],
]);

/** op SMT_ENABLE and SMT_DISABLE ask for all CPUs; `cpu` is not looked at then. */
export const CPU_HOTPLUG = { ONLINE: 0, OFFLINE: 1, SMT_ENABLE: 2, SMT_DISABLE: 3 } as const;
export const SysctlCpuHotplug = struct('xen_sysctl_cpu_hotplug', [
  ['cpu', 'u32'],
  ['op', 'u32'],
]);

export const SysctlAvailheap = struct('xen_sysctl_availheap', [
  ['min_bitwidth', 'u32'],
  ['max_bitwidth', 'u32'],
  ['node', 'i32'],
  ['avail_bytes', 'u64'],
]);

export const SysctlCputopo = struct('xen_sysctl_cputopo', [
  ['core', 'u32'],
  ['socket', 'u32'],
  ['node', 'u32'],
]);
/** What cputopoinfo says of a CPU that is offline. */
export const XEN_INVALID_CORE_ID = 0xffff_ffff;
export const XEN_INVALID_SOCKET_ID = 0xffff_ffff;
export const XEN_INVALID_NODE_ID = 0xffff_ffff;
export const SysctlCputopoinfo = struct('xen_sysctl_cputopoinfo', [
  ['num_cpus', 'u32'],
  ['cputopo', 'u64'],
]);

export const SysctlMeminfo = struct('xen_sysctl_meminfo', [
  ['memsize', 'u64'],
  ['memfree', 'u64'],
]);
export const SysctlNumainfo = struct('xen_sysctl_numainfo', [
  ['num_nodes', 'u32'],
  ['meminfo', 'u64'],
  ['distance', 'u64'],
]);

export const CPUPOOL_OP = {
  CREATE: 1,
  DESTROY: 2,
  INFO: 3,
  ADDCPU: 4,
  RMCPU: 5,
  MOVEDOMAIN: 6,
  FREEINFO: 7,
} as const;
export const CPUPOOL_PAR_ANY = 0xffff_ffff;
export const SysctlCpupoolOp = struct('xen_sysctl_cpupool_op', [
  ['op', 'u32'],
  ['cpupool_id', 'u32'],
  ['sched_id', 'u32'],
  ['domid', 'u32'],
  ['cpu', 'u32'],
  ['n_dom', 'u32'],
  ['cpumap', XenctlBitmap],
]);

export const SYSCTL_SCHEDOP = { putinfo: 0, getinfo: 1 } as const;
/** u: SysctlCreditSchedule, SysctlCredit2Schedule, or a handle of an ARINC653 schedule. */
export const SysctlSchedulerOp = struct('xen_sysctl_scheduler_op', [
  ['cpupool_id', 'u32'],
  ['sched_id', 'u32'],
  ['cmd', 'u32'],
  ['u', 'u64', 2],
]);
export const SysctlCreditSchedule = struct('xen_sysctl_credit_schedule', [
  ['tslice_ms', 'u32'],
  ['ratelimit_us', 'u32'],
  ['vcpu_migr_delay_us', 'u32'],
]);
export const SysctlCredit2Schedule = struct('xen_sysctl_credit2_schedule', [['ratelimit_us', 'u32']]);
export const SCHED_RATELIMIT = { MAX: 500_000, MIN: 100 } as const;
export const CSCHED_TSLICE = { MAX: 1000, MIN: 1 } as const;
export const CSCHED_MGR_DLY_MAX_US = 100_000;

export const SysctlCpuLevellingCaps = struct('xen_sysctl_cpu_levelling_caps', [['caps', 'u32']]);

export const CPU_FEATURESET = { raw: 0, host: 1, pv: 2, hvm: 3, pv_max: 4, hvm_max: 5 } as const;
export const SysctlCpuFeatureset = struct('xen_sysctl_cpu_featureset', [
  ['index', 'u32'],
  ['nr_features', 'u32'],
  ['features', 'u64'],
]);

export const CPU_POLICY = { raw: 0, host: 1, pv_max: 2, hvm_max: 3, pv_default: 4, hvm_default: 5 } as const;
export const SysctlCpuPolicy = struct('xen_sysctl_cpu_policy', [
  ['index', 'u32'],
  ['nr_leaves', 'u32'],
  ['nr_msrs', 'u32'],
  ['_rsvd', 'u32'],
  ['leaves', 'u64'],
  ['msrs', 'u64'],
]);

export const SysctlPcitopoinfo = struct('xen_sysctl_pcitopoinfo', [
  ['num_devs', 'u32'],
  ['devs', 'u64'],
  ['nodes', 'u64'],
]);
