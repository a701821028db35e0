// GNTTABOP_map_grant_ref, unmap_grant_ref, unmap_and_replace.
//
// A PV domain maps into its page tables, an HVM container into its p2m (host_map), or takes a device mapping, which is a
// reference only. A TypeScript
// domain has no page tables: a host mapping is a reference, dev_bus_addr the machine address it may then use.
import { GNTMAP, GNTST, GnttabMapGrantRef, GnttabUnmapAndReplace, GnttabUnmapGrantRef } from "../abi";
import { Domain, is_null } from "../domain";
import { get_domain_by_id, put_domain } from "../domain_list";
import { current } from "../percpu";
import { mfn_to_page, page_to_mfn, PageInfo, PGT_writable_page } from "../mm/frame";
import { get_page_again, put_page } from "../mm/page";
import { get_page_type, put_page_and_type } from "../mm/page_type";
import { mm_scratch, SCRATCH_GRANT_USE } from "../mm/scratch";
import { flush_tlb_domain, frame_modified } from "../mm/tlbflush";
import { get_maptrack_handle, Maptrack, MAPTRACK_INVALID, maptrack_entry, maptrack_limit, put_maptrack_handle } from "./maptrack";
import { create_grant_pv_mapping, replace_grant_pv_mapping } from "./pv_map";
import { create_grant_p2m_mapping, remove_grant_p2m_mapping } from "./p2m_map";
import { GrantUse, pin_grant_for_map, unpin_grant } from "./status";
import { GNTPIN_devr_inc, GNTPIN_devw_inc, GNTPIN_hstr_inc, GNTPIN_hstw_inc, table_of } from "./table";

function host_pin(flags: u32): u32 {
  return flags & GNTMAP.readonly ? GNTPIN_hstr_inc : GNTPIN_hstw_inc;
}
function device_pin(flags: u32): u32 {
  return flags & GNTMAP.readonly ? GNTPIN_devr_inc : GNTPIN_devw_inc;
}

/** The references of one mapping of either kind. False: the frame is in use as something that must not be written. */
function get_mapping_refs(pg: PageInfo, flags: u32): bool {
  if (!get_page_again(pg)) return false;
  if (flags & GNTMAP.readonly || get_page_type(pg, PGT_writable_page) == 0) return true;
  put_page(pg);
  return false;
}
function put_mapping_refs(pg: PageInfo, flags: u32): void {
  if (flags & GNTMAP.readonly) put_page(pg);
  else put_page_and_type(pg);
}

function create_host_mapping(host_addr: u64, mfn: u32, flags: u32): i32 {
  if (current.domain.is_ts) return GNTST.okay;
  return current.domain.is_hvm ? create_grant_p2m_mapping(host_addr, mfn, flags) : create_grant_pv_mapping(host_addr, mfn, flags);
}
/** The mapping is gone once this returns okay, from TLBs too. */
function end_host_mapping(host_addr: u64, mfn: u32, new_addr: u64, flags: u32): i32 {
  const d = current.domain;
  if (d.is_ts) return GNTST.okay;
  const rc = d.is_hvm ? remove_grant_p2m_mapping(host_addr, mfn, new_addr, flags) : replace_grant_pv_mapping(host_addr, mfn, new_addr, flags);
  if (rc == GNTST.okay) flush_tlb_domain(d);
  return rc;
}

/** Maps for the current domain; the caller holds a reference on the page, and keeps it. */
function map_page(pg: PageInfo, mfn: u32, host_addr: u64, flags: u32): i32 {
  const host = (flags & GNTMAP.host_map) != 0;
  if (host) {
    if (!get_mapping_refs(pg, flags)) return GNTST.general_error;
    const rc = create_host_mapping(host_addr, mfn, flags);
    if (rc != GNTST.okay) {
      put_mapping_refs(pg, flags);
      return rc;
    }
  }
  if (!(flags & GNTMAP.device_map) || get_mapping_refs(pg, flags)) return GNTST.okay;
  if (host) {
    if (end_host_mapping(host_addr, mfn, 0, flags) != GNTST.okay) return GNTST.general_error;
    put_mapping_refs(pg, flags);
  }
  return GNTST.general_error;
}

/** op: gnttab_map_grant_ref in machine memory; its results are filled in. */
export function map_grant_ref(op: usize): void {
  const flags = load<u32>(op, GnttabMapGrantRef.flags);
  const rc = map_one(op, flags);
  store<i16>(op, <i16>rc, GnttabMapGrantRef.status);
}

function map_one(op: usize, flags: u32): i32 {
  if (!(flags & (GNTMAP.device_map | GNTMAP.host_map))) return GNTST.bad_gntref;
  const ld = current.domain;
  const rd = get_domain_by_id(load<u16>(op, GnttabMapGrantRef.dom));
  if (is_null(rd)) return GNTST.bad_domain;
  let rc: i32 = GNTST.bad_domain;
  if (rd.is_dying == 0 && rd.grant_table != 0) {
    const lgt = table_of(ld);
    const handle = get_maptrack_handle(lgt);
    rc = GNTST.no_space;
    if (handle != MAPTRACK_INVALID) {
      rc = map_ref(op, flags, ld, rd, handle);
      if (rc != GNTST.okay) put_maptrack_handle(lgt, handle);
    }
  }
  put_domain(rd);
  return rc;
}

function map_ref(op: usize, flags: u32, ld: Domain, rd: Domain, handle: u32): i32 {
  const ref = load<u32>(op, GnttabMapGrantRef.ref);
  let pin: u32 = 0;
  if (flags & GNTMAP.host_map) pin += host_pin(flags);
  if (flags & GNTMAP.device_map) pin += device_pin(flags);
  const use = changetype<GrantUse>(mm_scratch(SCRATCH_GRANT_USE));
  let rc = pin_grant_for_map(rd, ref, ld.domid, (flags & GNTMAP.readonly) != 0, pin, use);
  if (rc != GNTST.okay) return rc;
  const pg = use.page;
  const mfn = page_to_mfn(pg);
  rc = map_page(pg, mfn, load<u64>(op, GnttabMapGrantRef.host_addr), flags);
  put_page(pg);
  if (rc != GNTST.okay) {
    unpin_grant(table_of(rd), ref, pin);
    return rc;
  }
  const mt = maptrack_entry(table_of(ld), handle);
  mt.ref = ref;
  mt.domid = rd.domid;
  mt.mfn = mfn;
  atomic.store<u32>(flags_of(mt), flags);
  store<u32>(op, handle, GnttabMapGrantRef.handle);
  store<u64>(op, <u64>mfn << 12, GnttabMapGrantRef.dev_bus_addr);
  return GNTST.okay;
}

function flags_of(mt: Maptrack): usize {
  return changetype<usize>(mt) + offsetof<Maptrack>("flags");
}

/** op: gnttab_unmap_grant_ref in machine memory. */
export function unmap_grant_ref(op: usize): void {
  const rc = unmap_common(
    load<u64>(op, GnttabUnmapGrantRef.host_addr), load<u64>(op, GnttabUnmapGrantRef.dev_bus_addr), 0,
    load<u32>(op, GnttabUnmapGrantRef.handle),
  );
  store<i16>(op, <i16>rc, GnttabUnmapGrantRef.status);
}

/** op: gnttab_unmap_and_replace in machine memory. */
export function unmap_and_replace(op: usize): void {
  const rc = unmap_common(
    load<u64>(op, GnttabUnmapAndReplace.host_addr), 0, load<u64>(op, GnttabUnmapAndReplace.new_addr),
    load<u32>(op, GnttabUnmapAndReplace.handle),
  );
  store<i16>(op, <i16>rc, GnttabUnmapAndReplace.status);
}

function unmap_common(host_addr: u64, dev_bus_addr: u64, new_addr: u64, handle: u32): i32 {
  const ld = current.domain;
  const lgt = table_of(ld);
  if (handle >= maptrack_limit(lgt)) return GNTST.bad_handle;
  const mt = maptrack_entry(lgt, handle);
  const flags = atomic.load<u32>(flags_of(mt));
  if (flags == 0) return GNTST.bad_handle;
  const rd = get_domain_by_id(mt.domid);
  if (is_null(rd)) return GNTST.bad_domain;
  const rc = unmap_ref(host_addr, dev_bus_addr, new_addr, flags, mt, handle, ld, rd);
  put_domain(rd);
  return rc;
}

/** What of `flags` an unmap asks for. A TypeScript domain has no addresses: all of it. */
function unmap_what(host_addr: u64, dev_bus_addr: u64, flags: u32, ld: Domain): u32 {
  if (ld.is_ts) return flags & (GNTMAP.host_map | GNTMAP.device_map);
  return flags & ((host_addr != 0 ? GNTMAP.host_map : 0) | (dev_bus_addr != 0 ? GNTMAP.device_map : 0));
}

function unmap_ref(
  host_addr: u64, dev_bus_addr: u64, new_addr: u64, flags: u32, mt: Maptrack, handle: u32, ld: Domain, rd: Domain,
): i32 {
  const mfn = mt.mfn;
  const ref = mt.ref;
  const what = unmap_what(host_addr, dev_bus_addr, flags, ld);
  if (what & GNTMAP.device_map && !ld.is_ts && dev_bus_addr != <u64>mfn << 12) return GNTST.bad_dev_addr;
  // Of two CPUs that unmap the same, one gets it.
  if (atomic.cmpxchg<u32>(flags_of(mt), flags, flags & ~what) != flags) return GNTST.bad_handle;
  if (what & GNTMAP.host_map) {
    const rc = end_host_mapping(host_addr, mfn, new_addr, flags);
    if (rc != GNTST.okay) {
      atomic.or<u32>(flags_of(mt), what);
      return rc;
    }
  }
  end_mapping(what, flags, mfn, ref, rd, ld.is_ts != 0, true);
  if (!((flags & ~what) & (GNTMAP.host_map | GNTMAP.device_map))) put_maptrack_handle(table_of(ld), handle);
  return GNTST.okay;
}

/** Drops what a mapping of kinds `what` held: references (of host mappings only if `host_refs`) and pins. */
function end_mapping(what: u32, flags: u32, mfn: u32, ref: u32, rd: Domain, is_ts: bool, host_refs: bool): void {
  const pg = mfn_to_page(mfn);
  let pin: u32 = 0;
  if (what & GNTMAP.host_map) pin += host_pin(flags);
  if (what & GNTMAP.device_map) pin += device_pin(flags);
  // A TypeScript domain wrote without the engine seeing it.
  if (is_ts && what != 0 && !(flags & GNTMAP.readonly)) frame_modified(mfn);
  if (what & GNTMAP.host_map && host_refs) put_mapping_refs(pg, flags);
  if (what & GNTMAP.device_map) put_mapping_refs(pg, flags);
  unpin_grant(table_of(rd), ref, pin);
}

/**
 * A dying domain loses a mapping by handle. References of a PV domain's host mappings are held by its page tables, and
 * go with them. (What is left in a p2m is nobody's to follow any more.)
 */
export function release_mapping(d: Domain, handle: u32): void {
  const mt = maptrack_entry(table_of(d), handle);
  const what = atomic.xchg<u32>(flags_of(mt), 0);
  if (!(what & (GNTMAP.host_map | GNTMAP.device_map))) return;
  const rd = get_domain_by_id(mt.domid);
  // Its pages are referred to by us, so the granting domain is still there.
  if (!is_null(rd)) {
    end_mapping(what & (GNTMAP.host_map | GNTMAP.device_map), what, mt.mfn, mt.ref, rd, d.is_ts != 0, d.is_ts != 0 || d.is_hvm != 0);
    put_domain(rd);
  }
  put_maptrack_handle(table_of(d), handle);
}
