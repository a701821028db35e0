// Domains and vCPUs as they lie in machine memory (Xen heap). Every field that two CPUs may touch is guarded by the
// lock named beside it, or atomic. No code here but accessors: life cycle is in domain_life.ts.
import { CpuState } from "./abi";
import { CpuPool } from "./sched/unit";

export const MAX_VIRT_CPUS: u32 = 128;
/** vcpu_info structures inside shared_info. */
export const LEGACY_MAX_VCPUS: u32 = 32;
export const DOMID_FIRST_RESERVED: u32 = 0x7ff0;
export const DOMID_SELF: u32 = 0x7ff0;
export const DOMID_IO: u32 = 0x7ff1;
export const DOMID_XEN: u32 = 0x7ff2;
export const DOMID_COW: u32 = 0x7ff3;
export const DOMID_INVALID: u32 = 0x7ff4;
export const DOMID_IDLE: u32 = 0x7fff;

/** Domain.is_dying. */
export const DOMDYING_alive: u32 = 0;
export const DOMDYING_dying: u32 = 1;
export const DOMDYING_dead: u32 = 2;

/** Vcpu.runstate (public/vcpu.h). */
export const RUNSTATE_running: u32 = 0;
export const RUNSTATE_runnable: u32 = 1;
export const RUNSTATE_blocked: u32 = 2;
export const RUNSTATE_offline: u32 = 3;

@unmanaged
export class Domain {
  domid: u32;
  /** References (atomic): the domain list holds one, every get_domain another; the struct is freed at 0. */
  refcnt: u32;
  /** Next in the domain list, ascending domid (Hypervisor.domlist_lock). */
  next: Domain;
  /** Non-zero: may use domctl, sysctl and name other domains. */
  privileged: u32;
  /** Non-zero: a TypeScript domain: its vCPU is a thread, guest handles are machine addresses. */
  is_ts: u32;
  /** Non-zero: an HVM container (PVH): the frame numbers it gives are gfns of its p2m, and its vCPUs have ring 0. */
  is_hvm: u32;
  /** A driver domain's thread (ts_domain.ts): its CPU slot (0: none), and the machine memory its guest handles lie in. */
  ts_slot: u32;
  ts_buffer: u32;
  ts_buffer_size: u32;
  /** Its device model: the domain that may act on this one (DOMID_INVALID: none). */
  target: u32;
  /** DOMDYING_* (domain_lock). */
  is_dying: u32;
  /** Pause requests of the control domain and of the hypervisor (atomic): vCPUs run only at 0. */
  pause_count: u32;
  /** Pauses made by domctl pausedomain (domain_lock). */
  controller_pause_count: u32;
  /** Created and not yet unpaused for the first time. */
  creation_finished: u32;
  /** sched_op shutdown: flag, code (~0: none), and "every vCPU has been descheduled" (shutdown_lock). */
  is_shutting_down: u32;
  shutdown_code: u32;
  is_shut_down: u32;
  /** The domain crashed by itself and its log has been written. */
  crash_reported: u32;

  /** vCPUs blocked in sched_op poll (atomic count). */
  pollers: u32;

  /** Locks: u64 each (spinlock.ts; docs/locks.md). */
  domain_lock: u64;
  page_alloc_lock: u64;
  evtchn_lock: u64;
  shutdown_lock: u64;

  // ── memory (owned by mm/; page_alloc_lock) ─────────────────────────────────────────────────────────────────
  /** First mfn of the domain's pages (linked through the frame table), 0: none. Domain heap, and Xen heap pages shared with it. */
  page_list: u32;
  xenpage_list: u32;
  tot_pages: u32;
  max_pages: u32;
  xenheap_pages: u32;
  outstanding_pages: u32;
  /** Frame table's relinquish progress. */
  relmem_state: u32;
  relmem_mfn: u32;
  /** Grows when a page-table entry of the domain was removed or lost rights (atomic); DESIGN section 3, TLB. */
  tlb_downgrade_gen: u32;
  /** It has, or had, frames of other domains in its page tables. Set before the first one is, never cleared (atomic). */
  maps_foreign: u32;
  /** vm_assist bits. */
  vm_assist: u32;
  /** struct e820entry[nr_e820], or 0 (domain_lock). */
  e820: usize;
  nr_e820: u32;
  /** The p2m's root (mm/p2m.ts), 0 for PV; p2m_lock guards changes. */
  p2m: usize;
  p2m_lock: u64;
  /** The highest gfn that it ever had, + 1 (p2m_lock). */
  p2m_end: u32;
  /** u64[HVM_NR_PARAMS] (hvm/params.ts), 0 for PV; and the vector of CALLBACK_IRQ, 0: none. */
  hvm_params: usize;
  callback_vector: u32;
  /** Page-table pages this domain has pinned etc.: mm's own state, or 0. */
  mm: usize;
  /** Physical address bits given to increase_reservation; 0: no limit. */
  physaddr_bitsize: u32;

  // ── shared info, time ─────────────────────────────────────────────────────────────────────────────────────
  /** Machine address of shared_info (a Xen heap page shared with the domain), and its mfn. */
  shared_info: usize;
  shared_info_mfn: u32;
  /** settimeoffset, in seconds. */
  time_offset_seconds: i32;
  /** settscinfo: mode, kHz, incarnation. */
  tsc_mode: u32;
  tsc_khz: u32;
  tsc_incarnation: u32;
  vtsc_offset: u64;

  // ── vCPUs ─────────────────────────────────────────────────────────────────────────────────────────────────
  max_vcpus: u32;
  /** Vcpu[max_vcpus] pointers (u32 each). */
  vcpu_table: usize;
  /** domctl max_vcpus is at work (atomic). */
  making_vcpus: u32;
  /** domctl set_address_size: 64 (or 32, refused for now). */
  address_size: u32;

  // ── event channels (evtchn_lock; evtchn/) ─────────────────────────────────────────────────────────────────
  /** u32[128] addresses of groups of buckets of struct Evtchn. */
  evtchn_group: usize;
  /** Ports below this exist; limit set by the toolstack; highest ever given + 1. */
  valid_evtchns: u32;
  max_evtchn_port: u32;
  active_evtchns: u32;
  /** FIFO ABI state (struct EvtchnFifo), 0: 2-level. */
  evtchn_fifo: usize;
  /** Guards every FIFO queue of the domain. */
  evtchn_fifo_lock: u64;

  // ── grant tables (owned by grant/) ────────────────────────────────────────────────────────────────────────
  grant_table: usize;
  max_grant_frames: u32;
  max_maptrack_frames: u32;
  max_grant_version: u32;

  // ── control ───────────────────────────────────────────────────────────────────────────────────────────────
  /** 16 bytes: the handle (uuid) of createdomain. */
  handle_lo: u64;
  handle_hi: u64;
  ssidref: u32;
  createflags: u32;
  iommu_opts: u32;
  emulation_flags: u32;
  /** Port state of a PV domain (IoPorts, traps/ioport.ts). */
  ioports: usize;
  /** CPUID leaves set by the toolstack: struct xen_cpuid_leaf[nr_cpuid_leaves], or 0 (traps/cpuid.ts). */
  cpuid_leaves: usize;
  nr_cpuid_leaves: u32;
  /** Watchdog timers (Timer[2], sched_op watchdog) and which are in use (domain_lock). */
  watchdog_timers: usize;
  watchdog_inuse: u32;
  /** Its CPU pool and the scheduler's data (sched/unit.ts; sched_lock). */
  pool: CpuPool;
  sched: usize;
  /** Suspend event channel (domctl subscribe). */
  suspend_evtchn: u32;
  /** ioport / irq / mmio permissions are none for unprivileged domains; debugging flag. */
  debugger_attached: u32;
  /** u64[64]: hypercalls by number, for --stats. */
  hypercall_counts: usize;
  /** Nanoseconds of CPU used by vCPUs that are gone (none yet). */
  cpu_time: u64;
  /** Pirq and guest-visible misc: soft reset count. */
  soft_reset: u32;
  /** console_io line buffer (address of a 256-byte buffer, and fill). */
  pbuf: usize;
  pbuf_idx: u32;
  console_lock: u64;
  /** Budget of console_io: the time up to which it is used (see there). */
  console_time: u64;
}

/** Vcpu.pause_flags bits (atomic): the vCPU is runnable only when all are clear and both pause counts are 0. */
export const VPF_blocked: u32 = 1;
export const VPF_down: u32 = 2;
export const VPF_blocked_in_poll: u32 = 4;

/** Bits of Vcpu.thread_flags. */
export const TF_kernel_mode: u32 = 1;

/** Vcpu.vgc_flags: which callbacks disable events (public/arch-x86/xen.h VGCF_*). */
export const VGCF_failsafe_disables_events: u32 = 4;
export const VGCF_syscall_disables_events: u32 = 8;

@unmanaged
export class Vcpu {
  domain: Domain;
  vcpu_id: u32;
  /** Address of the CpuState (64-byte aligned), in the same allocation. */
  cpu: usize;
  /** pCPU it runs on or is meant for (the scheduler's lock), and the one it last ran on, where its timers are. */
  processor: u32;
  last_processor: u32;
  is_idle: u32;
  is_initialised: u32;
  /** VCPUOP_initialise is at work on it, or has been (atomic). */
  initialising: u32;
  /** VPF_* (atomic). */
  pause_flags: u32;
  /** Pause requests (atomic). */
  pause_count: u32;
  /** A pCPU is executing it: set under the scheduler lock, cleared when its state is saved. */
  is_running: u32;
  /** Paused because its domain shut down. */
  paused_for_shutdown: u32;
  /** How often gdbsx_pausevcpu has paused it (domain_lock), and the vector it stopped the domain with for its debugger; 0 none. */
  controller_pause_count: u32;
  gdbsx_vcpu_event: u32;
  /** Its trap flag was set by the debugger (setvcpucontext): single steps are not the guest's even in user mode. */
  debugger_steps: u32;
  /** Its DR7 was set by the debugger (setvcpucontext): breakpoints of the debug registers are not the guest's. */
  debugger_watches: u32;
  /** Affinity: bit n = pCPU n (the scheduler's lock). */
  cpu_hard_affinity: u64;
  cpu_soft_affinity: u64;

  // ── guest-visible state (public/arch-x86/xen.h vcpu_guest_context) ────────────────────────────────────────
  /** TF_*. */
  thread_flags: u32;
  vgc_flags: u32;
  /** struct trap_info[256] as set_trap_table filled it. */
  trap_ctxt: usize;
  kernel_sp: u64;
  kernel_ss: u32;
  event_callback: u64;
  failsafe_callback: u64;
  syscall_callback: u64;
  syscall32_callback: u64;
  sysenter_callback: u64;
  syscall32_disables_events: u32;
  sysenter_disables_events: u32;
  nmi_pending: u32;
  nmi_masked: u32;
  /** Level set by physdev set_iopl (0..3), I/O bitmap set by set_iobitmap. */
  iopl: u32;
  iobmp: u64;
  iobmp_limit: u32;
  /** mfns of the kernel and user L4 (mm holds typed references on both); 0: none. */
  guest_table: u32;
  guest_table_user: u32;
  /** mfn of a table that this vCPU is still dropping a typed reference on (mm/old_table.ts); 0: none. */
  old_guest_table: u32;
  /** The domain's tlb_downgrade_gen when this vCPU last loaded CR3: user/kernel toggles keep both contexts of it. */
  tlb_generation: u32;
  /** GS bases of the side that is not active now; fs base lives in CpuState. */
  gs_base_kernel: u64;
  gs_base_user: u64;
  fs_base: u64;
  /** Guest's own view of cr0 (TS) and cr4 bits it may own, cr2 lives in vcpu_info. */
  guest_cr4: u64;
  /** GDT: number of entries and the frames are in CpuState.gdt_frames; LDT base and entries in CpuState. */
  gdt_ents: u32;
  /** Exception to inject before returning to the guest: vector + 1, 0 none. */
  pending_trap: u32;
  pending_error: u32;
  pending_has_error: u32;
  /** A bounce could not be delivered while in this state: crash. */
  in_bounce: u32;

  // ── shared pages ──────────────────────────────────────────────────────────────────────────────────────────
  /** Machine address of this vCPU's vcpu_info (in shared_info, or the page it registered). */
  vcpu_info: usize;
  vcpu_info_mfn: u32;
  /** One of its own for vCPUs that have none in shared_info, until they register one. */
  vcpu_info_dummy: usize;
  /** Guest handle of the runstate area (0: none) and of the secondary time area. */
  runstate_guest: u64;
  time_info_guest: u64;
  runstate_pending: u32;
  time_pending: u32;
  version_seqcount: u32;

  // ── runstate ──────────────────────────────────────────────────────────────────────────────────────────────
  runstate: u32;
  runstate_entry_time: u64;
  runstate_time0: u64;
  runstate_time1: u64;
  runstate_time2: u64;
  runstate_time3: u64;

  // ── timers (per-pCPU heap, time/timer.ts): deadlines in ns of system time, 0: off ──────────────────────────
  periodic_period: u64;
  periodic_last: u64;
  periodic_timer: usize;
  singleshot_timer: usize;
  poll_timer: usize;
  /** Port polled by sched_op poll: >0 one port, -1 several, 0 none. */
  poll_evtchn: i32;

  // ── speed (traps/fuel.ts): smoothed ps an instruction, the last measurements, and the one under way ─────────
  ps_per_insn: u32;
  ps_before0: u32;
  ps_before1: u32;
  lesson_insns: u64;
  lesson_ns: u64;

  // ── event channels ────────────────────────────────────────────────────────────────────────────────────────
  /** u32[24]: port bound to each VIRQ; 0 none. */
  virq_to_evtchn: usize;
  virq_lock: u64;
  /** FIFO control block of this vCPU (struct EvtchnFifoVcpu), 0: none. */
  evtchn_fifo: usize;

  // ── scheduler (its lock) ──────────────────────────────────────────────────────────────────────────────────
  /** The scheduler's data (sched/unit.ts). */
  sched: usize;
  /** A TypeScript domain's vCPU: word its thread waits on; incremented and notified on every upcall. */
  wake_word: u32;
  /** TypeScript domains: value of wake_word up to which its events are handled (written by the domain). */
  wake_handled: u32;
  /** TypeScript domains: not 0 while the thread's sleep is a short one that guests that run on need not end (written by the domain). */
  wake_later: u32;

  /** Of an HVM domain: its local APIC (hvm/vlapic.ts). */
  vlapic: usize;
  /** The rest of an HVM vCPU: HvmVcpu (hvm/vcpu.ts); 0 for PV. */
  hvm: usize;

  /** In a multicall: MCF_* and the entry (copied to machine memory) that is being done. */
  mc_flags: u32;
  mc_entry: usize;
  /** Counters: exits by reason u64[16] (address), bounced exceptions. */
  exit_counts: usize;
  mm: usize;
}

/** Address of vCPU `id`'s struct, or null. */
export function domain_vcpu(d: Domain, id: u32): Vcpu {
  if (id >= d.max_vcpus) return changetype<Vcpu>(0);
  return changetype<Vcpu>(load<u32>(d.vcpu_table + (id << 2)));
}

/** True for a null Domain or Vcpu pointer. */
// @ts-ignore: decorator
@inline
export function is_null<T>(p: T): bool {
  return changetype<usize>(p) == 0;
}

/** In kernel mode (TF_kernel_mode)? */
// @ts-ignore: decorator
@inline
export function in_kernel_mode(v: Vcpu): bool {
  return (v.thread_flags & TF_kernel_mode) != 0;
}

/** Does it run its kernel: CPL 0 of an HVM vCPU, else as in_kernel_mode? */
export function guest_kernel_mode(v: Vcpu): bool {
  return v.domain.is_hvm ? load<u32>(v.cpu, CpuState.cpl) == 0 : in_kernel_mode(v);
}

/** General register n (0 rax … 15 r15) of the vCPU. */
// @ts-ignore: decorator
@inline
export function get_gpr(v: Vcpu, n: u32): u64 {
  return load<u64>(v.cpu + CpuState.gpr + (<usize>n << 3));
}
// @ts-ignore: decorator
@inline
export function set_gpr(v: Vcpu, n: u32, x: u64): void {
  store<u64>(v.cpu + CpuState.gpr + (<usize>n << 3), x);
}
