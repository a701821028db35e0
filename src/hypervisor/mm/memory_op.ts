// HYPERVISOR_memory_op (public/memory.h). What only translated domains (PVH, HVM) have is refused as Xen refuses it for
// a PV domain.
import {
  ArchSharedInfo, ERRNO, MachineInfo, MACHINE_INFO_ADDRESS, MemoryDomain, MemoryReservation, PodTarget, ReservedDeviceMemoryMap, SharedInfo,
  VnumaTopologyInfo, XENMEM,
} from "../abi";
import { Domain, is_null } from "../domain";
import { get_domain_by_id, put_domain } from "../domain_list";
import { copy_from_guest, copy_to_guest } from "../guest";
import { current } from "../percpu";
import { memory_exchange } from "./exchange";
import { claim_set } from "./heap";
import { machine_memory_map, machphys_mapping, machphys_mfn_list, memory_map, set_memory_map } from "./memory_map";
import { paging_mode_translate } from "./p2m";
import { add_to_physmap, add_to_physmap_batch, remove_from_physmap } from "./physmap";
import { get_any_domain, xsm_target } from "./privilege";
import { MEMOP_EXTENT_SHIFT, memory_reservation } from "./reservation";
import { acquire_resource } from "./resource";
import { mm_scratch, SCRATCH_ARG } from "./scratch";

function maximum_gpfn(d: Domain): i64 {
  if (paging_mode_translate(d)) return d.p2m_end == 0 ? 0 : <i64>(d.p2m_end - 1);
  if (d.shared_info == 0) return 0;
  const max_pfn = <i64>load<u64>(d.shared_info, SharedInfo.arch + ArchSharedInfo.max_pfn);
  return max_pfn == 0 ? 0 : max_pfn - 1;
}

function domain_stat(op: u32, arg: u64): i64 {
  const a = mm_scratch(SCRATCH_ARG);
  if (copy_from_guest(a, arg, <u32>MemoryDomain.SIZE) != 0) return -ERRNO.EFAULT;
  const d = get_any_domain(load<u16>(a, MemoryDomain.domid));
  if (is_null(d)) return -ERRNO.ESRCH;
  let rc: i64 = xsm_target(d);
  if (rc == 0) {
    if (op == XENMEM.current_reservation) rc = d.tot_pages;
    else if (op == XENMEM.maximum_reservation) rc = d.max_pages;
    else rc = maximum_gpfn(d);
  }
  put_domain(d);
  return rc;
}

/** Sets aside frames for a domain: nr_extents in all, those it has included; 0 ends the claim. */
function claim_pages(arg: u64): i64 {
  const r = mm_scratch(SCRATCH_ARG);
  if (copy_from_guest(r, arg, <u32>MemoryReservation.SIZE) != 0) return -ERRNO.EFAULT;
  const pages = load<u64>(r, MemoryReservation.nr_extents);
  if (
    load<u64>(r, MemoryReservation.extent_start) != 0 || load<u32>(r, MemoryReservation.extent_order) != 0 ||
    load<u32>(r, MemoryReservation.mem_flags) != 0
  ) return -ERRNO.EINVAL;
  const d = get_domain_by_id(load<u16>(r, MemoryReservation.domid));
  if (is_null(d)) return -ERRNO.EINVAL;
  const rc: i64 = current.domain.privileged ? set_claim(d, pages) : -ERRNO.EPERM;
  put_domain(d);
  return rc;
}

function set_claim(d: Domain, pages: u64): i64 {
  const has = <u64>d.tot_pages;
  if (pages == 0) {
    claim_set(d, 0);
    return 0;
  }
  // Only one claim at a time, and only for more than it has and no more than it may have.
  if (d.outstanding_pages != 0 || pages <= has || pages > <u64>d.max_pages) return -ERRNO.EINVAL;
  return claim_set(d, <u32>(pages - has)) ? 0 : -ERRNO.ENOMEM;
}

function reserved_device_memory_map(arg: u64): i64 {
  const a = mm_scratch(SCRATCH_ARG);
  if (copy_from_guest(a, arg, <u32>ReservedDeviceMemoryMap.SIZE) != 0) return -ERRNO.EFAULT;
  if (load<u32>(a, ReservedDeviceMemoryMap.flags) & ~1) return -ERRNO.EINVAL;
  store<u32>(a, 0, ReservedDeviceMemoryMap.nr_entries);
  return copy_to_guest(arg, a, <u32>ReservedDeviceMemoryMap.SIZE) != 0 ? -ERRNO.EFAULT : 0;
}

function get_vnumainfo(arg: u64): i64 {
  const a = mm_scratch(SCRATCH_ARG);
  if (copy_from_guest(a, arg, <u32>VnumaTopologyInfo.SIZE) != 0) return -ERRNO.EFAULT;
  if (load<u16>(a, VnumaTopologyInfo.pad) != 0) return -ERRNO.EINVAL;
  const d = get_any_domain(load<u16>(a, VnumaTopologyInfo.domid));
  if (is_null(d)) return -ERRNO.ESRCH;
  const denied = xsm_target(d);
  put_domain(d);
  // No domain has a virtual NUMA topology.
  return denied != 0 ? denied : -ERRNO.EOPNOTSUPP;
}

/** Populate on demand: no domain has pages of that kind, nor a target for them that would differ from what it has. */
function pod_target(op: u32, arg: u64): i64 {
  const a = mm_scratch(SCRATCH_ARG);
  if (copy_from_guest(a, arg, <u32>PodTarget.SIZE) != 0) return -ERRNO.EFAULT;
  const d = get_any_domain(load<u16>(a, PodTarget.domid));
  if (is_null(d)) return -ERRNO.ESRCH;
  let rc: i64 = 0;
  if (!current.domain.privileged) rc = -ERRNO.EPERM;
  else if (!paging_mode_translate(d)) rc = -ERRNO.EINVAL;
  // One that has no pages yet would get a reserve to make them of.
  else if (op == XENMEM.set_pod_target && d.tot_pages == 0 && load<u64>(a, PodTarget.target_pages) != 0) rc = -ERRNO.EOPNOTSUPP;
  if (rc == 0) {
    store<u64>(a, d.tot_pages, PodTarget.tot_pages);
    store<u64>(a, 0, PodTarget.pod_cache_pages);
    store<u64>(a, 0, PodTarget.pod_entries);
    if (copy_to_guest(arg, a, <u32>PodTarget.SIZE) != 0) rc = -ERRNO.EFAULT;
  }
  put_domain(d);
  return rc;
}

/** Xen's arch_memory_op compares the whole command, extents included. */
function is_arch_op(op: u32): bool {
  switch (op) {
    case XENMEM.maximum_ram_page:
    case XENMEM.current_reservation:
    case XENMEM.maximum_reservation:
    case XENMEM.maximum_gpfn:
    case XENMEM.exchange:
    case XENMEM.remove_from_physmap:
    case XENMEM.claim_pages:
    case XENMEM.get_vnumainfo:
    case XENMEM.reserved_device_memory_map: return false;
  }
  return true;
}

/** cmd: XENMEM.*, and from bit 6 on what an earlier part of the call did; arg: handle of the command's structure. */
export function do_memory_op(cmd: u64, arg: u64): i64 {
  const op = <u32>cmd & ((1 << <u32>MEMOP_EXTENT_SHIFT) - 1);
  const start = cmd >> MEMOP_EXTENT_SHIFT;
  switch (op) {
    case XENMEM.increase_reservation:
    case XENMEM.decrease_reservation:
    case XENMEM.populate_physmap: return memory_reservation(op, arg, start);
    case XENMEM.acquire_resource: return acquire_resource(arg, start);
  }
  // The others are never continued by extents; those that Xen continues bound the number.
  if (start != 0) {
    if (op != XENMEM.add_to_physmap && op != XENMEM.add_to_physmap_batch) return is_arch_op(op) ? -ERRNO.ENOSYS : -ERRNO.EINVAL;
    if (start > 0xffff) return -ERRNO.EDOM;
  }
  // The machine's memory is no concern of a domain that sees none of it.
  if (paging_mode_translate(current.domain) && (op == XENMEM.machine_memory_map || op == XENMEM.machphys_mapping)) return -ERRNO.ENOSYS;
  switch (op) {
    case XENMEM.maximum_ram_page: return load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.mem_frames);
    case XENMEM.current_reservation:
    case XENMEM.maximum_reservation:
    case XENMEM.maximum_gpfn: return domain_stat(op, arg);
    case XENMEM.exchange: return memory_exchange(arg);
    case XENMEM.machphys_mfn_list: return machphys_mfn_list(arg);
    case XENMEM.machphys_mapping: return machphys_mapping(arg);
    case XENMEM.memory_map: return memory_map(arg);
    case XENMEM.machine_memory_map: return machine_memory_map(arg);
    case XENMEM.set_memory_map: return set_memory_map(arg);
    case XENMEM.add_to_physmap: return add_to_physmap(arg, start);
    case XENMEM.add_to_physmap_batch: return add_to_physmap_batch(arg, start);
    case XENMEM.remove_from_physmap: return remove_from_physmap(arg);
    case XENMEM.set_pod_target:
    case XENMEM.get_pod_target: return pod_target(op, arg);
    case XENMEM.get_sharing_freed_pages:
    case XENMEM.get_sharing_shared_pages: return 0;
    case XENMEM.claim_pages: return claim_pages(arg);
    case XENMEM.get_vnumainfo: return get_vnumainfo(arg);
    case XENMEM.reserved_device_memory_map: return reserved_device_memory_map(arg);
  }
  return -ERRNO.ENOSYS;
}
