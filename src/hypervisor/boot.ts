// Boot: memory, shared state, special domains, idle vCPUs, dom0. On the thread that becomes dom0's.
import { CpuStats, MachineInfo, MACHINE_INFO_ADDRESS, XEN_SCHEDULER } from "./abi";
import { DOMID_IDLE, DOMID_IO, DOMID_XEN, Domain, Vcpu } from "./domain";
import { DomainConfig, alloc_domain_struct, alloc_vcpu, domain_create, vcpu_create } from "./domain_life";
import { host_random } from "./host";
import { BUG_ON, log_dec, log_end, log_start, log_str, log_text, panic } from "./log";
import { alloc_xenheap_page, alloc_xenheap_pages, free_frames, mm_boot, total_frames } from "./mm/heap";
import { share_m2p_with_privileged_guests } from "./mm/m2p";
import { xfree, xzalloc } from "./mm/xmalloc";
import { set_check_locks, set_current, set_scratch, set_shared, set_slot } from "./percpu";
import { cpupools_boot } from "./sched/cpupool";
import { SCHED_CPU_SIZE, SchedCpu } from "./sched/unit";
import { SHOOT_RING_SIZE } from "./shootdown";
import { LOCK_current, LOCK_domlist, LOCK_sched, LOCK_shootdown, LOCK_timer, LOCK_virq_handlers } from "./locks";
import { HELD_SIZE, spin_lock_init } from "./spinlock";
import { Hypervisor, MAX_PCPUS, PERCPU_STRIDE, PerCpu, percpu_of, xen } from "./state";

/** Idle spin of a new pCPU (ns). */
const FIRST_SPIN_NS: u32 = 20_000;

/** Most pCPUs that share a runqueue of credit2 (Xen's sched_credit2_max_cpus_runqueue). */
const RUNQUEUE_CPUS: u32 = 16;

function must(p: usize): usize {
  if (p == 0) panic("not enough machine memory to boot");
  return p;
}

/** Once, on the thread that becomes dom0's; its slot is behind the pCPUs'. */
export function boot_machine(pcpus: u32): void {
  // Before there is a heap, log lines are built behind the boot record.
  set_scratch(MACHINE_INFO_ADDRESS);
  set_slot(pcpus, 1);
  BUG_ON(offsetof<PerCpu>() > PERCPU_STRIDE, "PerCpu outgrew its stride");
  if (pcpus == 0 || pcpus > MAX_PCPUS) panic("the number of pCPUs must be 1 to 64");
  mm_boot();
  const x = changetype<Hypervisor>(must(xzalloc(offsetof<Hypervisor>(), 64)));
  set_shared(changetype<usize>(x));
  store<u32>(MACHINE_INFO_ADDRESS, changetype<usize>(x), MachineInfo.hypervisor);
  const base = changetype<usize>(x);
  spin_lock_init(base + offsetof<Hypervisor>("domlist_lock"), LOCK_domlist);
  spin_lock_init(base + offsetof<Hypervisor>("sched_lock"), LOCK_sched);
  spin_lock_init(base + offsetof<Hypervisor>("virq_lock"), LOCK_virq_handlers);
  x.pcpus = pcpus;
  x.slots = load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.slots);
  x.deterministic = load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.deterministic);
  x.timing = load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.timing);
  x.tsc_khz = load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.tsc_khz);
  if (x.tsc_khz == 0) x.tsc_khz = 1_000_000;
  x.wall_boot_ns = load<u64>(MACHINE_INFO_ADDRESS, MachineInfo.wall_boot_ns);
  x.next_domid = 1;
  x.sched_id = load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.sched_id);
  if (x.sched_id == 0) x.sched_id = XEN_SCHEDULER.CREDIT2;
  x.credit2_runqueue_cpus = load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.credit2_runqueue_cpus);
  if (x.credit2_runqueue_cpus == 0) x.credit2_runqueue_cpus = RUNQUEUE_CPUS;
  x.boot_random = host_random();
  x.conring = must(alloc_xenheap_pages(2));
  x.virq_handlers = must(xzalloc(24 * 4));
  x.stats = must(xzalloc(x.slots * <u32>CpuStats.SIZE, 64));
  store<u32>(MACHINE_INFO_ADDRESS, x.stats, MachineInfo.stats);
  store<u32>(MACHINE_INFO_ADDRESS, x.conring, MachineInfo.log_ring);
  x.percpu = must(xzalloc(x.slots * PERCPU_STRIDE, 64));
  x.dom_xen = special_domain(DOMID_XEN);
  x.dom_io = special_domain(DOMID_IO);
  x.dom_idle = special_domain(DOMID_IDLE);
  // Slots behind dom0's are made ready when a thread takes one (ts_domain.ts).
  for (let i: u32 = 0; i <= pcpus; i++) prepare_cpu(i);
  cpupools_boot();
  share_m2p_with_privileged_guests(x.dom_xen);
  set_scratch(percpu_of(pcpus).scratch);
  announce();
  create_dom0(x);
}

function special_domain(domid: u32): Domain {
  const d = alloc_domain_struct(domid);
  must(changetype<usize>(d));
  return d;
}

function prepare_cpu(i: u32): void {
  const p = percpu_of(i);
  p.slot = i;
  p.mc_entry = must(xzalloc(64));
  p.scratch = must(alloc_xenheap_page());
  p.shoot_ring = must(xzalloc(SHOOT_RING_SIZE));
  p.held = must(xzalloc(HELD_SIZE));
  p.shoot_sent = must(xzalloc(MAX_PCPUS << 2));
  p.spin_ns = FIRST_SPIN_NS;
  const base = changetype<usize>(p);
  spin_lock_init(base + offsetof<PerCpu>("timer_lock"), LOCK_timer);
  spin_lock_init(base + offsetof<PerCpu>("shoot_lock"), LOCK_shootdown);
  spin_lock_init(base + offsetof<PerCpu>("current_lock"), LOCK_current);
  p.sched = changetype<SchedCpu>(must(xzalloc(SCHED_CPU_SIZE, 8)));
  const v = alloc_vcpu(xen().dom_idle, i);
  must(changetype<usize>(v));
  v.is_idle = 1;
  v.processor = i;
  v.is_running = 1;
  p.idle_vcpu = v;
  p.current = v;
}

function announce(): void {
  log_text("Xenolith, a Xen 4.17 compatible hypervisor");
  log_start();
  log_str("System RAM: ");
  log_dec(<u64>load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.mem_frames) >> 8);
  log_str(" MiB, heap ");
  log_dec(<u64>total_frames() >> 8);
  log_str(" MiB (");
  log_dec(<u64>free_frames() >> 8);
  log_str(" MiB free), ");
  log_dec(xen().pcpus);
  log_str(" pCPU(s)");
  log_end();
}

/** dom0: privileged, a TypeScript domain, one vCPU: the thread this runs on. */
function create_dom0(x: Hypervisor): void {
  const c = changetype<DomainConfig>(must(xzalloc(offsetof<DomainConfig>())));
  c.is_ts = 1;
  c.privileged = 1;
  c.max_vcpus = 1;
  c.max_evtchn_port = u32.MAX_VALUE;
  c.max_grant_frames = 64;
  c.max_maptrack_frames = 1024;
  c.max_grant_version = 2;
  const d = domain_create(0, c);
  must(changetype<usize>(d));
  xfree(changetype<usize>(c));
  d.max_pages = u32.MAX_VALUE;
  const v = vcpu_create(d, 0);
  must(changetype<usize>(v));
  v.is_initialised = 1;
  v.is_running = 1;
  x.dom0 = d;
}

/** Per instance: takes its slot. A TypeScript domain's thread is dom0's, or the one that was attached to the slot. */
export function init_cpu_slot(slot: u32, kind: u32): void {
  set_slot(slot, kind);
  set_shared(load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.hypervisor));
  const p = percpu_of(slot);
  set_scratch(p.scratch);
  set_check_locks(load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.check_locks) != 0);
  if (kind == 0) {
    set_current(p.idle_vcpu);
    atomic.store<u32>(changetype<usize>(p) + offsetof<PerCpu>("online"), 1);
    return;
  }
  const v = slot == xen().pcpus ? changetype<Vcpu>(load<u32>(xen().dom0.vcpu_table)) : p.current;
  if (changetype<usize>(v) == 0) panic("no domain is attached to this CPU slot");
  set_current(v);
  p.current = v;
}
