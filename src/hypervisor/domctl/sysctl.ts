// HYPERVISOR_sysctl (public/sysctl.h, interface version 0x15): the machine as the control domain's tools see it.
import {
  CPU_FEATURESET, CPU_POLICY, DomctlGetdomaininfo, ERRNO, MachineInfo, MACHINE_INFO_ADDRESS, PHYSCAP, SYSCTL,
  Sysctl, SysctlAvailheap, SysctlCpuFeatureset, SysctlCpuLevellingCaps, SysctlCpuPolicy, SysctlCpuinfo, SysctlCputopo,
  SysctlCputopoinfo, SysctlDebugKeys, SysctlGetcpuinfo, SysctlGetdomaininfolist, SysctlMeminfo, SysctlNumainfo,
  SysctlPhysinfo, SysctlReadconsole, SysctlSchedId, XEN_INVALID_CORE_ID, XEN_INVALID_NODE_ID, XEN_INVALID_SOCKET_ID,
  XEN_SYSCTL_INTERFACE_VERSION,
} from "../abi";
import { Domain } from "../domain";
import { get_domain_from, put_domain } from "../domain_list";
import { copy_from_guest, copy_to_guest } from "../guest";
import { handle_keypress } from "../keyhandler";
import { free_frames, total_frames } from "../mm/heap";
import { xfree, xzalloc } from "../mm/xmalloc";
import { current, scratch } from "../percpu";
import { percpu_of, xen } from "../state";
import { CpuidResult, cpuid_policy_of } from "../traps/cpuid";
import { conring_clear, conring_read } from "../conring";
import { cpu_hotplug, cpupool_op } from "./cpupool_op";
import { give_leaves } from "./cpu_policy";
import { fill_domaininfo } from "./domaininfo";
import { pool_scheduler_op } from "./scheduler_op";

const NO_DOMAIN = changetype<Domain>(0);
/** Words of a feature set: one a CPUID feature register, in public/arch-x86/cpufeatureset.h's order. */
const NR_FEATURE_WORDS: u32 = 13;
const RESULT: u32 = 1320;

export function do_sysctl(arg: u64): i64 {
  const op = xzalloc(<u32>Sysctl.SIZE);
  if (op == 0) return -ERRNO.ENOMEM;
  let rc: i64 = -ERRNO.EFAULT;
  if (copy_from_guest(op, arg, <u32>Sysctl.SIZE) == 0) {
    rc = -ERRNO.EACCES;
    if (load<u32>(op, Sysctl.interface_version) == XEN_SYSCTL_INTERFACE_VERSION) {
      rc = operate(load<u32>(op, Sysctl.cmd), op + Sysctl.u);
      if (rc >= 0 && copy_to_guest(arg, op, <u32>Sysctl.SIZE) != 0) rc = -ERRNO.EFAULT;
    }
  }
  xfree(op);
  return rc;
}

function operate(cmd: u32, u: usize): i64 {
  if (!current.domain.privileged) return -ERRNO.EPERM;
  switch (cmd) {
    case SYSCTL.readconsole: return readconsole(u);
    case SYSCTL.physinfo: return physinfo(u);
    case SYSCTL.sched_id:
      store<u32>(u, xen().sched_id, SysctlSchedId.sched_id);
      return 0;
    case SYSCTL.getdomaininfolist: return getdomaininfolist(u);
    case SYSCTL.debug_keys: return debug_keys(u);
    case SYSCTL.getcpuinfo: return getcpuinfo(u);
    case SYSCTL.availheap: return availheap(u);
    case SYSCTL.cputopoinfo: return cputopoinfo(u);
    case SYSCTL.numainfo: return numainfo(u);
    case SYSCTL.pcitopoinfo: return -ERRNO.ENODEV;
    case SYSCTL.cpupool_op: return cpupool_op(u);
    case SYSCTL.scheduler_op: return pool_scheduler_op(u);
    case SYSCTL.cpu_hotplug: return cpu_hotplug(u);
    case SYSCTL.get_cpu_levelling_caps:
      // Every leaf is the hypervisor's to give.
      store<u32>(u, u32.MAX_VALUE, SysctlCpuLevellingCaps.caps);
      return 0;
    case SYSCTL.get_cpu_featureset: return get_cpu_featureset(u);
    case SYSCTL.get_cpu_policy: return get_cpu_policy(u);
    default: return -ERRNO.ENOSYS;
  }
}

function readconsole(u: usize): i64 {
  const count = load<u32>(u, SysctlReadconsole.count);
  const incremental = load<u8>(u, SysctlReadconsole.incremental) != 0;
  const n = conring_read(load<u64>(u, SysctlReadconsole.buffer), count, load<u32>(u, SysctlReadconsole.index), incremental, scratch);
  if (n < 0) return n;
  store<u32>(u, <u32>n, SysctlReadconsole.count);
  store<u32>(u, load<u32>(scratch), SysctlReadconsole.index);
  if (load<u8>(u, SysctlReadconsole.clear)) conring_clear();
  return 0;
}

function physinfo(u: usize): i64 {
  const n = xen().pcpus;
  memory.fill(u, 0, SysctlPhysinfo.SIZE);
  store<u32>(u, 1, SysctlPhysinfo.threads_per_core);
  store<u32>(u, n, SysctlPhysinfo.cores_per_socket);
  store<u32>(u, online_cpus(), SysctlPhysinfo.nr_cpus);
  store<u32>(u, n - 1, SysctlPhysinfo.max_cpu_id);
  store<u32>(u, 1, SysctlPhysinfo.nr_nodes);
  store<u32>(u, xen().tsc_khz, SysctlPhysinfo.cpu_khz);
  store<u32>(u, PHYSCAP.hvm | PHYSCAP.pv | PHYSCAP.hap | PHYSCAP.gnttab_v1 | PHYSCAP.gnttab_v2, SysctlPhysinfo.capabilities);
  store<u64>(u, total_frames(), SysctlPhysinfo.total_pages);
  store<u64>(u, free_frames(), SysctlPhysinfo.free_pages);
  store<u64>(u, outstanding(), SysctlPhysinfo.outstanding_pages);
  store<u64>(u, load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.mem_frames) - 1, SysctlPhysinfo.max_mfn);
  for (let i: u32 = 0; i < 8; i++) store<u32>(u + SysctlPhysinfo.hw_cap + (i << 2), feature_word(true, i));
  return 0;
}

function online_cpus(): u32 {
  let n: u32 = 0;
  for (let i: u32 = 0; i < xen().pcpus; i++) if (!percpu_of(i).sched.offline) n++;
  return n;
}

/** Pages that domains have claimed and not got yet. */
function outstanding(): u64 {
  let n: u64 = 0;
  let d = get_domain_from(0);
  while (changetype<usize>(d) != 0) {
    n += d.outstanding_pages;
    const next = d.domid + 1;
    put_domain(d);
    d = get_domain_from(next);
  }
  return n;
}

function getdomaininfolist(u: usize): i64 {
  const most = load<u32>(u, SysctlGetdomaininfolist.max_domains);
  const buffer = load<u64>(u, SysctlGetdomaininfolist.buffer);
  const info = xzalloc(<u32>DomctlGetdomaininfo.SIZE);
  if (info == 0) return -ERRNO.ENOMEM;
  let n: u32 = 0;
  let id: u32 = load<u16>(u, SysctlGetdomaininfolist.first_domain);
  let rc: i64 = 0;
  while (n < most) {
    const d = get_domain_from(id);
    if (changetype<usize>(d) == 0) break;
    fill_domaininfo(d, info);
    id = d.domid + 1;
    put_domain(d);
    if (copy_to_guest(buffer + <u64>n * <u64>DomctlGetdomaininfo.SIZE, info, <u32>DomctlGetdomaininfo.SIZE) != 0) {
      rc = -ERRNO.EFAULT;
      break;
    }
    n++;
  }
  xfree(info);
  store<u32>(u, n, SysctlGetdomaininfolist.num_domains);
  return rc;
}

function debug_keys(u: usize): i64 {
  const n = load<u32>(u, SysctlDebugKeys.nr_keys);
  for (let i: u32 = 0; i < min<u32>(n, 256); i++) {
    if (copy_from_guest(scratch, load<u64>(u, SysctlDebugKeys.keys) + i, 1) != 0) return -ERRNO.EFAULT;
    handle_keypress(load<u8>(scratch));
  }
  return 0;
}

function getcpuinfo(u: usize): i64 {
  const n = min<u32>(load<u32>(u, SysctlGetcpuinfo.max_cpus), xen().pcpus);
  for (let i: u32 = 0; i < n; i++) {
    store<u64>(scratch, percpu_of(i).idle_ns, SysctlCpuinfo.idletime);
    if (copy_to_guest(load<u64>(u, SysctlGetcpuinfo.info) + (<u64>i << 3), scratch, 8) != 0) return -ERRNO.EFAULT;
  }
  store<u32>(u, n, SysctlGetcpuinfo.nr_cpus);
  return 0;
}

/** Free bytes of the heap whose addresses have min_bitwidth to max_bitwidth bits: all of it is below 4 GiB. */
function availheap(u: usize): i64 {
  const min_bits = load<u32>(u, SysctlAvailheap.min_bitwidth);
  const max_bits = load<u32>(u, SysctlAvailheap.max_bitwidth);
  const node = load<i32>(u, SysctlAvailheap.node);
  const all = (node == -1 || node == 0) && min_bits <= 32 && (max_bits == 0 || max_bits >= 32);
  store<u64>(u, all ? <u64>free_frames() << 12 : 0, SysctlAvailheap.avail_bytes);
  return 0;
}

/** A null handle asks how many there are. */
function cputopoinfo(u: usize): i64 {
  const at = load<u64>(u, SysctlCputopoinfo.cputopo);
  const have = xen().pcpus;
  if (at == 0) {
    store<u32>(u, have, SysctlCputopoinfo.num_cpus);
    return 0;
  }
  const n = min<u32>(load<u32>(u, SysctlCputopoinfo.num_cpus), have);
  for (let i: u32 = 0; i < n; i++) {
    const offline = percpu_of(i).sched.offline != 0;
    store<u32>(scratch, offline ? XEN_INVALID_CORE_ID : i, SysctlCputopo.core);
    store<u32>(scratch, offline ? XEN_INVALID_SOCKET_ID : 0, SysctlCputopo.socket);
    store<u32>(scratch, offline ? XEN_INVALID_NODE_ID : 0, SysctlCputopo.node);
    if (copy_to_guest(at + <u64>i * <u64>SysctlCputopo.SIZE, scratch, <u32>SysctlCputopo.SIZE) != 0) return -ERRNO.EFAULT;
  }
  store<u32>(u, n, SysctlCputopoinfo.num_cpus);
  return 0;
}

/** One node. */
function numainfo(u: usize): i64 {
  const mem = load<u64>(u, SysctlNumainfo.meminfo);
  const distance = load<u64>(u, SysctlNumainfo.distance);
  const room = load<u32>(u, SysctlNumainfo.num_nodes);
  if (mem != 0 && room > 0) {
    store<u64>(scratch, <u64>total_frames() << 12, SysctlMeminfo.memsize);
    store<u64>(scratch, <u64>free_frames() << 12, SysctlMeminfo.memfree);
    if (copy_to_guest(mem, scratch, <u32>SysctlMeminfo.SIZE) != 0) return -ERRNO.EFAULT;
  }
  if (distance != 0 && room > 0) {
    // The distance of a node to itself, as ACPI's SLIT has it.
    store<u32>(scratch, 10);
    if (copy_to_guest(distance, scratch, 4) != 0) return -ERRNO.EFAULT;
  }
  store<u32>(u, mem == 0 && distance == 0 ? 1 : min<u32>(room, 1), SysctlNumainfo.num_nodes);
  return 0;
}

/** Word n of the feature set of one kind of domain. */
function feature_word(hvm: bool, n: u32): u32 {
  const r = changetype<CpuidResult>(scratch + RESULT);
  switch (n) {
    case 0: cpuid_policy_of(hvm, 1, 0, r); return r.d;
    case 1: cpuid_policy_of(hvm, 1, 0, r); return r.c;
    case 2: cpuid_policy_of(hvm, 0x8000_0001, 0, r); return r.d;
    case 3: cpuid_policy_of(hvm, 0x8000_0001, 0, r); return r.c;
    case 4: cpuid_policy_of(hvm, 0xd, 1, r); return r.a;
    case 5: cpuid_policy_of(hvm, 7, 0, r); return r.b;
    case 6: cpuid_policy_of(hvm, 7, 0, r); return r.c;
    case 7: cpuid_policy_of(hvm, 0x8000_0007, 0, r); return r.d;
    case 8: cpuid_policy_of(hvm, 0x8000_0008, 0, r); return r.b;
    case 9: cpuid_policy_of(hvm, 7, 0, r); return r.d;
    case 10: cpuid_policy_of(hvm, 7, 1, r); return r.a;
    case 11: cpuid_policy_of(hvm, 0x8000_0021, 0, r); return r.a;
    case 12: cpuid_policy_of(hvm, 7, 1, r); return r.b;
    default: return 0;
  }
}

function get_cpu_featureset(u: usize): i64 {
  const index = load<u32>(u, SysctlCpuFeatureset.index);
  if (index > CPU_FEATURESET.hvm_max) return -ERRNO.EINVAL;
  const hvm = index == CPU_FEATURESET.hvm || index == CPU_FEATURESET.hvm_max;
  const at = load<u64>(u, SysctlCpuFeatureset.features);
  const room = load<u32>(u, SysctlCpuFeatureset.nr_features);
  if (at == 0) {
    store<u32>(u, NR_FEATURE_WORDS, SysctlCpuFeatureset.nr_features);
    return 0;
  }
  const n = min<u32>(room, NR_FEATURE_WORDS);
  for (let i: u32 = 0; i < n; i++) {
    store<u32>(scratch, feature_word(hvm, i));
    if (copy_to_guest(at + (<u64>i << 2), scratch, 4) != 0) return -ERRNO.EFAULT;
  }
  store<u32>(u, n, SysctlCpuFeatureset.nr_features);
  return room < NR_FEATURE_WORDS ? -ERRNO.ENOBUFS : 0;
}

function get_cpu_policy(u: usize): i64 {
  const index = load<u32>(u, SysctlCpuPolicy.index);
  if (load<u32>(u, SysctlCpuPolicy._rsvd) != 0) return -ERRNO.EINVAL;
  if (index > CPU_POLICY.hvm_default) return -ERRNO.EINVAL;
  const hvm = index == CPU_POLICY.hvm_max || index == CPU_POLICY.hvm_default;
  const n = give_leaves(NO_DOMAIN, hvm, load<u64>(u, SysctlCpuPolicy.leaves), load<u32>(u, SysctlCpuPolicy.nr_leaves));
  if (n < 0) return n;
  store<u32>(u, <u32>n, SysctlCpuPolicy.nr_leaves);
  store<u32>(u, 0, SysctlCpuPolicy.nr_msrs);
  return 0;
}
