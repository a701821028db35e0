// What `xl list` shows: struct xen_domctl_getdomaininfo, for domctl getdomaininfo and sysctl getdomaininfolist.
import { ArchDomainconfig, CDF, DOMINF, DomctlGetdomaininfo, XEN_INVALID_MAX_VCPU_ID } from "../abi";
import { DOMDYING_dead, Domain, VPF_blocked, VPF_down, Vcpu, domain_vcpu } from "../domain";
import { mfn_to_gfn } from "../mm/p2m";
import { vcpu_cpu_time } from "../sched/runstate";
import { NOW } from "../time/clock";

/** Fills the struct at machine address u. */
export function fill_domaininfo(d: Domain, u: usize): void {
  memory.fill(u, 0, DomctlGetdomaininfo.SIZE);
  const now = NOW();
  let blocked = true;
  let running = false;
  let online: u32 = 0;
  let highest: u32 = XEN_INVALID_MAX_VCPU_ID;
  let time: u64 = 0;
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const v = domain_vcpu(d, i);
    if (changetype<usize>(v) == 0) continue;
    highest = i;
    time += vcpu_cpu_time(v, now);
    const flags = atomic.load<u32>(changetype<usize>(v) + offsetof<Vcpu>("pause_flags"));
    if (flags & VPF_down) continue;
    online++;
    if (!(flags & VPF_blocked)) blocked = false;
    if (v.is_running) running = true;
  }
  let flags: u32 = 0;
  if (d.is_dying == DOMDYING_dead) flags |= DOMINF.dying;
  if (d.is_shut_down) flags |= DOMINF.shutdown;
  if (d.controller_pause_count > 0) flags |= DOMINF.paused;
  if (blocked) flags |= DOMINF.blocked;
  if (running) flags |= DOMINF.running;
  if (d.debugger_attached) flags |= DOMINF.debugged;
  if (d.is_hvm) flags |= DOMINF.hvm_guest;
  if (d.is_hvm && (d.createflags & CDF.hap) != 0) flags |= DOMINF.hap;
  if (d.createflags & CDF.xs_domain) flags |= DOMINF.xs_domain;
  if (d.shutdown_code != u32.MAX_VALUE) flags |= (d.shutdown_code & DOMINF.shutdownmask) << DOMINF.shutdownshift;
  store<u16>(u, d.domid, DomctlGetdomaininfo.domain);
  store<u32>(u, flags, DomctlGetdomaininfo.flags);
  store<u64>(u, d.tot_pages, DomctlGetdomaininfo.tot_pages);
  store<u64>(u, d.max_pages, DomctlGetdomaininfo.max_pages);
  store<u64>(u, d.outstanding_pages, DomctlGetdomaininfo.outstanding_pages);
  store<u64>(u, mfn_to_gfn(d, d.shared_info_mfn), DomctlGetdomaininfo.shared_info_frame);
  store<u64>(u, time, DomctlGetdomaininfo.cpu_time);
  store<u32>(u, online, DomctlGetdomaininfo.nr_online_vcpus);
  store<u32>(u, highest, DomctlGetdomaininfo.max_vcpu_id);
  store<u32>(u, d.ssidref, DomctlGetdomaininfo.ssidref);
  store<u64>(u + DomctlGetdomaininfo.handle, d.handle_lo);
  store<u64>(u + DomctlGetdomaininfo.handle, d.handle_hi, 8);
  store<u32>(u, changetype<usize>(d.pool) != 0 ? d.pool.id : 0, DomctlGetdomaininfo.cpupool);
  store<u8>(u, d.is_hvm ? 33 : 32, DomctlGetdomaininfo.gpaddr_bits);
  store<u32>(u + DomctlGetdomaininfo.arch_config, d.emulation_flags, ArchDomainconfig.emulation_flags);
}
