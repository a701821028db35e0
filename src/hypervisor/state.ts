// State shared by every CPU: the Hypervisor struct, made once at boot, and one PerCpu struct per slot. Both lie in
// machine memory; `shared` (percpu.ts) holds the address of the first.
import { Domain, Vcpu } from "./domain";
import { shared, slot } from "./percpu";
import { CpuPool, SchedCpu } from "./sched/unit";

export const MAX_PCPUS: u32 = 64;

@unmanaged
export class Hypervisor {
  /** Locks (spinlock.ts): the domain list; the scheduler; global VIRQ handlers. */
  domlist_lock: u64;
  sched_lock: u64;
  virq_lock: u64;
  /** Domains in ascending domid (domlist_lock). */
  domain_list: Domain;
  /** Next domid to try (guarded by `creating`): ids only grow, and wrap at DOMID_FIRST_RESERVED. */
  next_domid: u32;
  pcpus: u32;
  slots: u32;
  /** PerCpu[slots]. */
  percpu: usize;
  /** dom0 and the domain that owns Xen's own frames. */
  dom0: Domain;
  dom_xen: Domain;
  dom_io: Domain;
  /** Domain that owns the idle vCPUs. */
  dom_idle: Domain;
  /** u32[24]: Domain that a global VIRQ goes to (0: dom0). */
  virq_handlers: usize;
  /** CPU pools in ascending id (sched_lock), and "an operation changes them" (atomic). */
  cpupools: CpuPool;
  cpupool_busy: u32;
  /** Scheduler of pool 0 (XEN_SCHEDULER), and most pCPUs of one of credit2's runqueues. */
  sched_id: u32;
  credit2_runqueue_cpus: u32;
  /** mfn of the GDT page with Xen's own ring 3 descriptors. */
  xen_gdt_mfn: u32;
  /** Log ring (conring.ts): address, producer and oldest byte (free running), and a lock of its own. */
  conring: usize;
  conring_prod: u32;
  conring_start: u32;
  conring_busy: u32;
  /** Deterministic time: nanoseconds added by idling (one pCPU). */
  det_idle_ns: u64;
  deterministic: u32;
  tsc_khz: u32;
  /** Wall clock of machine boot, ns since 1970 at boot. */
  wall_boot_ns: u64;
  /** CpuStats[slots] (stats.ts), and whether times are taken as well. */
  stats: usize;
  timing: u32;
  /** 4 KiB of zeros, never written. */
  zero_page: usize;
  /** Seed drawn at boot: handles, and scheduling tests. */
  boot_random: u64;
  /** Domains that were created so far. */
  domains_created: u32;
  /** A createdomain chooses its id (atomic). */
  creating: u32;
  /** Slot + 1 of the pCPU that is alone in guest code, 0: none (atomic; exclusive.ts). */
  exclusive: u32;
}

/** PerCpu.softirq bits. */
export const SOFTIRQ_TIMER: u32 = 1;
export const SOFTIRQ_SCHEDULE: u32 = 2;
export const SOFTIRQ_SHOOTDOWN: u32 = 4;

@unmanaged
export class PerCpu {
  slot: u32;
  /** Its vCPU now; other CPUs look at it, and write to it, under current_lock only. */
  current: Vcpu;
  current_lock: u64;
  idle_vcpu: Vcpu;
  /** SOFTIRQ_* (atomic). */
  softirq: u32;
  /** Incremented and notified to wake a sleeping pCPU (atomic). */
  wake_word: u32;
  /** 1 while idle (spinning or asleep); 2 while asleep in host_wait. */
  idle: u32;
  /** A TypeScript domain's wake word that changed without its thread being woken, 0: none (kick.ts). */
  owed_wake: usize;
  /** 1 while touching guest memory, in guest code or by the hypervisor's copies: it owes acknowledgements (shootdown.ts). */
  in_guest: u32;
  /** Of which domain: a Domain, which may be gone once in_guest is 0. Set before in_guest (atomic). */
  guest_domain: usize;
  /** How often in_guest was set, and the walk clock then (mm/tlbflush.ts). */
  entries: u32;
  walk_clock: u32;
  online: u32;
  /** Timer heap: lock, array of Timer addresses, length, capacity, and the earliest deadline (0: none). */
  timer_lock: u64;
  timer_heap: usize;
  timer_count: u32;
  timer_capacity: u32;
  timer_next: u64;
  /** The Timer whose function runs now, 0: none. */
  timer_running: usize;
  /** Shoot-downs asked of this pCPU (shootdown.ts): lock, ring of ShootRequest, how many are in it, overflow. */
  shoot_lock: u64;
  shoot_ring: usize;
  shoot_count: u32;
  shoot_overflow: u32;
  /** Requests asked and served so far (atomic). */
  shoot_asked: u32;
  shoot_done: u32;
  /** The scheduler's data (sched/unit.ts; sched_lock). */
  sched: SchedCpu;
  /** u32 for each pCPU: number of the request that this slot waits for. */
  shoot_sent: usize;
  /** Statistics: ns idle, ns in idle spinning, context switches. */
  idle_ns: u64;
  idle_since: u64;
  switches: u64;
  /** Guest instructions retired by vCPUs while on this pCPU. */
  icount: u64;
  /** When the current vCPU began to run, and how many instructions it ran (traps/fuel.ts); 0: that is accounted for. */
  ran_from: u64;
  ran_insns: u64;
  /** Idle spin: how long (ns) is worth it, from what spinning gained lately. */
  spin_ns: u32;
  /** Addresses of the spinlocks it holds, if they are checked (spinlock.ts). */
  held: usize;
  /** A page for the slot's own use (percpu.ts scratch). */
  scratch: usize;
  /** ProfileRing of this pCPU (profile.ts); 0: nobody profiles. */
  profile_ring: usize;
  /** Copy of the multicall entry that is being done. */
  mc_entry: usize;
  /** Deterministic time: vCPU of the TypeScript domain that was signalled from here and has not answered; 0: none. */
  spoke_to: usize;
}

// @ts-ignore: decorator
@inline
export function xen(): Hypervisor {
  return changetype<Hypervisor>(shared);
}

export function percpu_of(n: u32): PerCpu {
  return changetype<PerCpu>(xen().percpu + n * PERCPU_STRIDE);
}

/** This slot's. */
export function this_cpu(): PerCpu {
  return changetype<PerCpu>(xen().percpu + slot * PERCPU_STRIDE);
}

/** One PerCpu takes whole cache lines. */
export const PERCPU_STRIDE: u32 = 256;

/** Asks CPU n for SOFTIRQ_* bits and gets it out of guest code or sleep. */
export function raise_softirq(p: PerCpu, bits: u32): void {
  atomic.or<u32>(changetype<usize>(p) + offsetof<PerCpu>("softirq"), bits);
}
