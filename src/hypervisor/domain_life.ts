// Domains and vCPUs come and go: domain_create, vcpu_create, domain_kill, and freeing with the last reference. Ids only
// grow: a reboot is a new domain.
import { CpuState, ERRNO, SharedInfo, VIRQ, VcpuInfo } from "./abi";
import {
  DOMDYING_alive, DOMDYING_dead, DOMDYING_dying, DOMID_FIRST_RESERVED, DOMID_INVALID, Domain, LEGACY_MAX_VCPUS, RUNSTATE_offline,
  TF_kernel_mode, VPF_down, Vcpu, domain_vcpu,
} from "./domain";
import { domain_list_insert, domain_list_remove, put_domain } from "./domain_list";
import { evtchn_close_all, evtchn_destroy_final } from "./evtchn/evtchn";
import { send_global_virq, virq_handlers_forget } from "./evtchn/virq";
import { fpu_init } from "./fpu";
import { grant_table_create, grant_table_destroy, grant_table_relinquish } from "./grant/grant";
import { PBUF_SIZE } from "./hypercalls/console_io";
import { NR_hypercalls } from "./hypercalls/table";
import { hvm_domain_destroy, hvm_domain_initialise } from "./hvm/params";
import { hvm_vcpu_destroy, hvm_vcpu_initialise } from "./hvm/vcpu";
import { vlapic_kill } from "./hvm/vlapic";
import { alloc_xenheap_page } from "./mm/heap";
import { domain_mm_create, domain_mm_destroy, domain_relinquish_memory, put_page_and_type_writable, share_xen_page_with_guest, unshare_xen_page, vcpu_mm_create } from "./mm/domain";
import { virt_to_mfn } from "./mm/frame";
import { free_xenheap_page } from "./mm/page";
import { xfree, xzalloc } from "./mm/xmalloc";
import { BUG_ON } from "./log";
import { domain_pause } from "./pause";
import { cpupool_move_domain } from "./sched/cpupool";
import { sched_domain_create, sched_domain_destroy, sched_vcpu_create } from "./sched/init";
import { watchdogs_create, watchdogs_free, watchdogs_kill } from "./sched/watchdog";
import { LOCK_console, LOCK_domain, LOCK_evtchn, LOCK_evtchn_fifo, LOCK_p2m, LOCK_page_alloc, LOCK_shutdown, LOCK_virq } from "./locks";
import { spin_lock, spin_lock_init, spin_unlock } from "./spinlock";
import { Hypervisor, xen } from "./state";
import { init_debugregs } from "./traps/debugreg";
import { initial_cr0, initial_cr4 } from "./traps/emul-priv-op";
import { IoPorts } from "./traps/ioport";
import { FIRST_PS_PER_INSN } from "./traps/fuel";
import { PV_EFER } from "./traps/msr";
import { update_domain_wallclock, update_vcpu_system_time } from "./time/time_info";
import { vcpu_timers_create, vcpu_timers_free, vcpu_timers_kill } from "./time/vtimer";

/** Bytes of a Vcpu's own fields, rounded so that the CpuState behind it is aligned. */
const VCPU_SIZE: u32 = 1024;
const NO_DOMAIN = changetype<Domain>(0);
const NO_VCPU = changetype<Vcpu>(0);

function init_locks(d: Domain): void {
  const p = changetype<usize>(d);
  spin_lock_init(p + offsetof<Domain>("domain_lock"), LOCK_domain);
  spin_lock_init(p + offsetof<Domain>("p2m_lock"), LOCK_p2m);
  spin_lock_init(p + offsetof<Domain>("page_alloc_lock"), LOCK_page_alloc);
  spin_lock_init(p + offsetof<Domain>("evtchn_lock"), LOCK_evtchn);
  spin_lock_init(p + offsetof<Domain>("evtchn_fifo_lock"), LOCK_evtchn_fifo);
  spin_lock_init(p + offsetof<Domain>("shutdown_lock"), LOCK_shutdown);
  spin_lock_init(p + offsetof<Domain>("console_lock"), LOCK_console);
}

/** A struct Domain with its locks and one reference, not in the list: what special domains (DOMID_XEN, …) are. */
export function alloc_domain_struct(domid: u32): Domain {
  const d = changetype<Domain>(xzalloc(offsetof<Domain>(), 64));
  if (changetype<usize>(d) == 0) return d;
  d.domid = domid;
  d.refcnt = 1;
  d.target = DOMID_INVALID;
  d.shutdown_code = u32.MAX_VALUE;
  d.max_grant_version = 1;
  init_locks(d);
  return d;
}

/** What domain_create is told besides the id (struct xen_domctl_createdomain, checked by the caller). */
@unmanaged
export class DomainConfig {
  is_ts: u32;
  is_hvm: u32;
  privileged: u32;
  max_vcpus: u32;
  max_evtchn_port: u32;
  max_grant_frames: u32;
  max_maptrack_frames: u32;
  max_grant_version: u32;
  createflags: u32;
  ssidref: u32;
  cpupool: u32;
  emulation_flags: u32;
  handle_lo: u64;
  handle_hi: u64;
}

/** Makes a domain without vCPUs or memory, paused once. Null: no memory. */
export function domain_create(domid: u32, c: DomainConfig): Domain {
  const d = alloc_domain_struct(domid);
  if (changetype<usize>(d) == 0) return d;
  d.is_ts = c.is_ts;
  d.is_hvm = c.is_hvm;
  d.privileged = c.privileged;
  d.max_vcpus = c.max_vcpus;
  d.max_evtchn_port = c.max_evtchn_port;
  d.max_grant_frames = c.max_grant_frames;
  d.max_maptrack_frames = c.max_maptrack_frames;
  d.max_grant_version = c.max_grant_version;
  d.createflags = c.createflags;
  d.ssidref = c.ssidref;
  d.emulation_flags = c.emulation_flags;
  d.handle_lo = c.handle_lo;
  d.handle_hi = c.handle_hi;
  d.address_size = 64;
  if (!c.is_ts) {
    d.pause_count = 1;
    d.controller_pause_count = 1;
  }
  d.vcpu_table = xzalloc(c.max_vcpus << 2);
  d.hypercall_counts = xzalloc(NR_hypercalls << 3);
  d.pbuf = xzalloc(PBUF_SIZE);
  d.ioports = xzalloc(offsetof<IoPorts>());
  d.shared_info = alloc_xenheap_page();
  const ok =
    (!d.is_hvm || hvm_domain_initialise(d)) && d.vcpu_table != 0 && d.hypercall_counts != 0 && d.pbuf != 0 && d.ioports != 0 && d.shared_info != 0 && watchdogs_create(d) &&
    sched_domain_create(d, c.cpupool);
  if (!ok || domain_mm_create(d) != 0) {
    if (d.shared_info != 0) free_xenheap_page(d.shared_info);
    free_parts(d);
    xfree(changetype<usize>(d));
    return NO_DOMAIN;
  }
  d.shared_info_mfn = virt_to_mfn(d.shared_info);
  share_xen_page_with_guest(d.shared_info, d);
  if (grant_table_create(d) != 0) {
    unshare_xen_page(d.shared_info, d);
    free_xenheap_page(d.shared_info);
    d.shared_info = 0;
    domain_mm_destroy(d);
    free_parts(d);
    xfree(changetype<usize>(d));
    return NO_DOMAIN;
  }
  update_domain_wallclock(d);
  domain_list_insert(d);
  xen().domains_created += 1;
  return d;
}

/** Small blocks of a domain; those that were never made are 0. */
function free_parts(d: Domain): void {
  sched_domain_destroy(d);
  if (d.vcpu_table != 0) xfree(d.vcpu_table);
  if (d.hypercall_counts != 0) xfree(d.hypercall_counts);
  if (d.pbuf != 0) xfree(d.pbuf);
  if (d.ioports != 0) xfree(d.ioports);
  if (d.cpuid_leaves != 0) xfree(d.cpuid_leaves);
  hvm_domain_destroy(d);
  watchdogs_free(d);
}

/** A free id: the first one above all that were given, after a wrap the lowest that is free. DOMID_INVALID: none. */
export function next_domid(): u32 {
  const x = xen();
  for (let tries: u32 = 0; tries < DOMID_FIRST_RESERVED; tries++) {
    const id = x.next_domid;
    x.next_domid = id + 1 >= DOMID_FIRST_RESERVED ? 1 : id + 1;
    if (!domid_in_use(id)) return id;
  }
  return DOMID_INVALID;
}

export function domid_in_use(id: u32): bool {
  const lock = changetype<usize>(xen()) + offsetof<Hypervisor>("domlist_lock");
  spin_lock(lock);
  let d = xen().domain_list;
  while (changetype<usize>(d) != 0 && d.domid < id) d = d.next;
  const found = changetype<usize>(d) != 0 && d.domid == id;
  spin_unlock(lock);
  return found;
}

/** vCPU `id` of d, down and not initialised. Null: no memory. */
export function vcpu_create(d: Domain, id: u32): Vcpu {
  const v = alloc_vcpu(d, id);
  if (changetype<usize>(v) == 0) return v;
  v.cpu_hard_affinity = u64.MAX_VALUE;
  v.cpu_soft_affinity = u64.MAX_VALUE;
  v.trap_ctxt = alloc_xenheap_page();
  v.virq_to_evtchn = xzalloc(24 * 4);
  if (id >= LEGACY_MAX_VCPUS) v.vcpu_info_dummy = xzalloc(VcpuInfo.SIZE);
  if (v.trap_ctxt == 0 || v.virq_to_evtchn == 0 || (id >= LEGACY_MAX_VCPUS && v.vcpu_info_dummy == 0) || !vcpu_timers_create(v)) {
    vcpu_free(v);
    return NO_VCPU;
  }
  spin_lock_init(changetype<usize>(v) + offsetof<Vcpu>("virq_lock"), LOCK_virq);
  v.vcpu_info = id < LEGACY_MAX_VCPUS ? d.shared_info + SharedInfo.vcpu_info + <usize>id * VcpuInfo.SIZE : v.vcpu_info_dummy;
  store<u8>(v.vcpu_info, 1, VcpuInfo.evtchn_upcall_mask);
  v.pause_flags = d.is_ts ? 0 : VPF_down;
  v.thread_flags = TF_kernel_mode;
  init_cpu(v);
  if (d.is_hvm && !hvm_vcpu_initialise(v)) {
    vcpu_free(v);
    return NO_VCPU;
  }
  vcpu_mm_create(v);
  update_vcpu_system_time(v);
  if (!sched_vcpu_create(v)) {
    vcpu_free(v);
    return NO_VCPU;
  }
  return v;
}

/** Architectural state of a new vCPU (its registers come from its context). */
function init_cpu(v: Vcpu): void {
  const cpu = v.cpu;
  store<u32>(cpu, 3, CpuState.cpl);
  store<u64>(cpu, initial_cr0(), CpuState.cr0);
  store<u64>(cpu, initial_cr4(), CpuState.cr4);
  store<u64>(cpu, PV_EFER, CpuState.efer);
  store<u64>(cpu, 1, CpuState.xcr0);
  store<u64>(cpu, 1, CpuState.fz);
  store<u64>(cpu, 0x202, CpuState.rflags);
  store<u32>(cpu, v.domain.domid, CpuState.domain);
  fpu_init(cpu);
  init_debugregs(v);
}

/** The struct with its CpuState only; idle vCPUs are no more than that. */
export function alloc_vcpu(d: Domain, id: u32): Vcpu {
  BUG_ON(offsetof<Vcpu>() > VCPU_SIZE, "Vcpu outgrew its place");
  const v = changetype<Vcpu>(xzalloc(VCPU_SIZE + <u32>CpuState.SIZE, 64));
  if (changetype<usize>(v) == 0) return v;
  v.domain = d;
  v.vcpu_id = id;
  v.cpu = changetype<usize>(v) + VCPU_SIZE;
  v.runstate = RUNSTATE_offline;
  v.ps_per_insn = FIRST_PS_PER_INSN;
  v.ps_before0 = FIRST_PS_PER_INSN;
  v.ps_before1 = FIRST_PS_PER_INSN;
  return v;
}

function vcpu_free(v: Vcpu): void {
  xfree(v.sched);
  if (v.trap_ctxt != 0) free_xenheap_page(v.trap_ctxt);
  if (v.virq_to_evtchn != 0) xfree(v.virq_to_evtchn);
  if (v.vcpu_info_dummy != 0) xfree(v.vcpu_info_dummy);
  vcpu_timers_free(v);
  hvm_vcpu_destroy(v);
  xfree(changetype<usize>(v));
}

/** Goes back to the vcpu_info in shared_info (the guest's page is given back). */
function unmap_vcpu_info(v: Vcpu): void {
  if (v.vcpu_info_mfn == 0) return;
  const mfn = v.vcpu_info_mfn;
  v.vcpu_info = v.vcpu_id < LEGACY_MAX_VCPUS ? v.domain.shared_info + SharedInfo.vcpu_info + <usize>v.vcpu_id * VcpuInfo.SIZE : v.vcpu_info_dummy;
  v.vcpu_info_mfn = 0;
  put_page_and_type_writable(mfn);
}

/**
 * Destroys d as far as it goes now: 0 when done, -ERESTART if it is to be called again, -EINVAL if it cannot be destroyed,
 * -EBUSY while a thread runs it.
 * domctl_lock is not held; the caller has a reference.
 */
export function domain_kill(d: Domain): i64 {
  if (d.domid == 0 || d.domid >= DOMID_FIRST_RESERVED) return -ERRNO.EINVAL;
  // The thread of a TypeScript domain must have ended before.
  if (d.ts_slot != 0) return -ERRNO.EBUSY;
  const lock = changetype<usize>(d) + offsetof<Domain>("domain_lock");
  spin_lock(lock);
  const was = d.is_dying;
  if (was == DOMDYING_alive) atomic.store<u32>(changetype<usize>(d) + offsetof<Domain>("is_dying"), DOMDYING_dying);
  spin_unlock(lock);
  if (was == DOMDYING_dead) return 0;
  if (was == DOMDYING_alive) {
    domain_pause(d);
    watchdogs_kill(d);
    for (let i: u32 = 0; i < d.max_vcpus; i++) {
      const v = domain_vcpu(d, i);
      if (changetype<usize>(v) == 0) continue;
      vcpu_timers_kill(v);
      vlapic_kill(v);
      v.runstate_guest = 0;
      v.time_info_guest = 0;
    }
    virq_handlers_forget(d);
    evtchn_close_all(d);
    // Its pool can go while it lingers.
    cpupool_move_domain(d, 0);
  }
  let rc = grant_table_relinquish(d);
  if (rc != 0) return rc;
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) != 0) unmap_vcpu_info(v);
  }
  rc = domain_relinquish_memory(d);
  if (rc != 0) return rc;
  // Only one caller gets here first: the list's reference is dropped once.
  if (atomic.cmpxchg<u32>(changetype<usize>(d) + offsetof<Domain>("is_dying"), DOMDYING_dying, DOMDYING_dead) != DOMDYING_dying) return 0;
  unshare_xen_page(d.shared_info, d);
  send_global_virq(VIRQ.DOM_EXC);
  put_domain(d);
  return 0;
}

/** The last reference is gone. */
export function domain_destroy_final(d: Domain): void {
  domain_list_remove(d);
  grant_table_destroy(d);
  evtchn_destroy_final(d);
  sched_domain_destroy(d);
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) != 0) vcpu_free(v);
  }
  free_xenheap_page(d.shared_info);
  domain_mm_destroy(d);
  free_parts(d);
  xfree(changetype<usize>(d));
}
