/** memory_op (public/memory.h). Handles are guest addresses. */
import { struct, union } from './layout.ts';

export const XENMEM = {
  increase_reservation: 0,
  decrease_reservation: 1,
  maximum_ram_page: 2,
  current_reservation: 3,
  maximum_reservation: 4,
  machphys_mfn_list: 5,
  populate_physmap: 6,
  add_to_physmap: 7,
  memory_map: 9,
  machine_memory_map: 10,
  exchange: 11,
  machphys_mapping: 12,
  set_memory_map: 13,
  maximum_gpfn: 14,
  remove_from_physmap: 15,
  set_pod_target: 16,
  get_pod_target: 17,
  get_sharing_freed_pages: 18,
  get_sharing_shared_pages: 19,
  paging_op: 20,
  access_op: 21,
  sharing_op: 22,
  add_to_physmap_batch: 23,
  claim_pages: 24,
  machphys_compat_mfn_list: 25,
  get_vnumainfo: 26,
  reserved_device_memory_map: 27,
  acquire_resource: 28,
} as const;

/** xen_memory_reservation.mem_flags: bits 0-7 address width, 8-15 node + 1. */
export const XENMEMF = { populate_on_demand: 1 << 16, exact_node_request: 1 << 17, vnode: 1 << 18 } as const;

export const MemoryReservation = struct('xen_memory_reservation', [
  ['extent_start', 'u64'],
  ['nr_extents', 'u64'],
  ['extent_order', 'u32'],
  ['mem_flags', 'u32'],
  ['domid', 'u16'],
]);

/** `in` and `out` of the header: what is given up, what is wanted. */
export const MemoryExchange = struct('xen_memory_exchange', [
  ['in', MemoryReservation],
  ['out', MemoryReservation],
  ['nr_exchanged', 'u64'],
]);

/** Argument of current_reservation, maximum_reservation, maximum_gpfn. */
export const MemoryDomain = struct('xen_memory_domain', [['domid', 'u16']]);

export const MachphysMfnList = struct('xen_machphys_mfn_list', [
  ['max_extents', 'u32'],
  ['extent_start', 'u64'],
  ['nr_extents', 'u32'],
]);

export const MachphysMapping = struct('xen_machphys_mapping', [
  ['v_start', 'u64'],
  ['v_end', 'u64'],
  ['max_mfn', 'u64'],
]);

export const XENMAPSPACE = {
  shared_info: 0,
  grant_table: 1,
  gmfn: 2,
  gmfn_range: 3,
  gmfn_foreign: 4,
  dev_mmio: 5,
} as const;
/** Or-ed into idx with XENMAPSPACE.grant_table: the status frames of version 2. */
export const XENMAPIDX_grant_table_status = 0x8000_0000;

export const AddToPhysmap = struct('xen_add_to_physmap', [
  ['domid', 'u16'],
  ['size', 'u16'],
  ['space', 'u32'],
  ['idx', 'u64'],
  ['gpfn', 'u64'],
]);

export const AddToPhysmapBatch = struct('xen_add_to_physmap_batch', [
  ['domid', 'u16'],
  ['space', 'u16'],
  ['size', 'u16'],
  ['foreign_domid', 'u16'],
  ['idxs', 'u64'],
  ['gpfns', 'u64'],
  ['errs', 'u64'],
]);

export const RemoveFromPhysmap = struct('xen_remove_from_physmap', [
  ['domid', 'u16'],
  ['gpfn', 'u64'],
]);

export const MemoryMap = struct('xen_memory_map', [
  ['nr_entries', 'u32'],
  ['buffer', 'u64'],
]);

export const ForeignMemoryMap = struct('xen_foreign_memory_map', [
  ['domid', 'u16'],
  ['map', MemoryMap],
]);

/** An entry of the memory maps above (packed: 20 bytes, size at 8, type at 16). */
export const E820Entry = struct('e820entry', [
  ['addr_lo', 'u32'],
  ['addr_hi', 'u32'],
  ['size_lo', 'u32'],
  ['size_hi', 'u32'],
  ['type', 'u32'],
]);
export const E820 = { RAM: 1, RESERVED: 2, ACPI: 3, NVS: 4, UNUSABLE: 5 } as const;

export const PodTarget = struct('xen_pod_target', [
  ['target_pages', 'u64'],
  ['tot_pages', 'u64'],
  ['pod_cache_pages', 'u64'],
  ['pod_entries', 'u64'],
  ['domid', 'u16'],
]);

export const ReservedDeviceMemoryMap = struct('xen_reserved_device_memory_map', [
  ['flags', 'u32'],
  ['nr_entries', 'u32'],
  ['buffer', 'u64'],
  ['dev', 'u32'],
]);

export const XENMEM_resource = { ioreq_server: 0, grant_table: 1, vmtrace_buf: 2 } as const;
export const XENMEM_resource_grant_table_id = { shared: 0, status: 1 } as const;

export const MemAcquireResource = struct('xen_mem_acquire_resource', [
  ['domid', 'u16'],
  ['type', 'u16'],
  ['id', 'u32'],
  ['nr_frames', 'u32'],
  ['pad', 'u32'],
  ['frame', 'u64'],
  ['frame_list', 'u64'],
]);

export const Vmemrange = struct('xen_vmemrange', [
  ['start', 'u64'],
  ['end', 'u64'],
  ['flags', 'u32'],
  ['nid', 'u32'],
]);

export const VnumaTopologyInfo = struct('xen_vnuma_topology_info', [
  ['domid', 'u16'],
  ['pad', 'u16'],
  ['nr_vnodes', 'u32'],
  ['nr_vcpus', 'u32'],
  ['nr_vmemranges', 'u32'],
  ['vdistance', 'u64'],
  ['vcpu_to_vnode', 'u64'],
  ['vmemrange', 'u64'],
]);

/** The largest argument structure of any memory_op. */
export const MemoryOpArgument = union('memory_op_argument', [
  ['reservation', MemoryReservation],
  ['exchange', MemoryExchange],
  ['acquire_resource', MemAcquireResource],
  ['pod_target', PodTarget],
  ['add_to_physmap_batch', AddToPhysmapBatch],
  ['vnuma', VnumaTopologyInfo],
]);
