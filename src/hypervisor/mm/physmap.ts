// XENMEM_add_to_physmap, add_to_physmap_batch, remove_from_physmap: a translated domain says which of its frames, and of the
// frames that the hypervisor shares with it, are at which gfn (common/memory.c, x86's xenmem_add_to_physmap_one).
import { AddToPhysmap, AddToPhysmapBatch, ERRNO, HYPERCALL, RemoveFromPhysmap, XENMAPSPACE, XENMEM } from "../abi";
import { Domain, is_null } from "../domain";
import { put_domain } from "../domain_list";
import { gnttab_get_frame } from "../grant/table";
import { copy_from_guest, copy_to_guest, guest_handle_okay } from "../guest";
import { hypercall_create_continuation, hypercall_preempt_check } from "../hypercalls/continuation";
import { mfn_to_page, page_to_mfn, PageInfo } from "./frame";
import { get_gpfn_from_mfn } from "./m2p";
import {
  get_page_from_gfn, guest_physmap_remove_page, guest_remove_page, p2m_add, p2m_entry, P2M_FLUSH, P2M_GFNS, p2m_ram_rw, paging_mode_translate,
} from "./p2m";
import { get_page, put_page } from "./page";
import { get_any_domain, xsm_target } from "./privilege";
import { MEMOP_EXTENT_SHIFT } from "./reservation";
import { mm_scratch, SCRATCH_ARG, SCRATCH_WORD } from "./scratch";
import { flush_tlb_domain } from "./tlbflush";

/** The page that is to be put somewhere, with a reference; null: there is none. */
function find_page(d: Domain, space: u32, idx: u64): PageInfo {
  switch (space) {
    case XENMAPSPACE.shared_info: {
      const pg = mfn_to_page(d.shared_info_mfn);
      if (idx == 0 && get_page(pg, d)) return pg;
      break;
    }
    case XENMAPSPACE.grant_table: return gnttab_get_frame(d, idx);
    case XENMAPSPACE.gmfn: return get_page_from_gfn(d, idx);
  }
  return changetype<PageInfo>(0);
}

/** Makes room at `gfn` for `pg`: what was there is given up, if it is not the hypervisor's. 0, P2M_FLUSH or -errno. */
function make_room(d: Domain, gfn: u64, pg: PageInfo): i32 {
  const old = p2m_entry(d, gfn);
  if (old == 0 || old >> 12 == page_to_mfn(pg)) return 0;
  return guest_remove_page(d, gfn);
}

/** One page, which moves there. 0, P2M_FLUSH or -errno; what was done before an error is to be flushed too. */
function add_one(d: Domain, space: u32, idx: u64, gfn: u64): i32 {
  // No domain may have frames of others in its p2m other than by grants.
  if (space == XENMAPSPACE.gmfn_foreign) return -<i32>ERRNO.EPERM;
  if (gfn >= P2M_GFNS) return -<i32>ERRNO.EINVAL;
  const pg = find_page(d, space, idx);
  if (is_null(pg)) return -<i32>ERRNO.EINVAL;
  let rc: i32 = -<i32>ERRNO.EXDEV;
  // It has moved meanwhile?
  if (space != XENMAPSPACE.gmfn || get_gpfn_from_mfn(page_to_mfn(pg)) == idx) {
    rc = make_room(d, gfn, pg);
    if (rc >= 0) {
      const made = rc;
      rc = p2m_add(d, gfn, page_to_mfn(pg), 0, p2m_ram_rw);
      if (made == P2M_FLUSH) {
        if (rc >= 0) rc = P2M_FLUSH;
        else flush_tlb_domain(d);
      }
    }
  }
  put_page(pg);
  return rc;
}

/** 0, or why the caller may not do such a thing to `d`. */
function check(d: Domain): i64 {
  return paging_mode_translate(d) ? xsm_target(d) : -ERRNO.EACCES;
}

function again(op: u32, done: u64, arg: u64): i64 {
  return hypercall_create_continuation(HYPERCALL.memory_op, <u64>op | (done << MEMOP_EXTENT_SHIFT), arg, 0, 0, 0);
}

/** `start`: pages of a range that were done before a continuation. */
export function add_to_physmap(arg: u64, start: u64): i64 {
  const a = mm_scratch(SCRATCH_ARG);
  if (copy_from_guest(a, arg, <u32>AddToPhysmap.SIZE) != 0) return -ERRNO.EFAULT;
  const space = load<u32>(a, AddToPhysmap.space);
  const idx = load<u64>(a, AddToPhysmap.idx);
  const gfn = load<u64>(a, AddToPhysmap.gpfn);
  const size = <u64>load<u16>(a, AddToPhysmap.size);
  // Only a batch has room for the other domain.
  if (space == XENMAPSPACE.gmfn_foreign) return -ERRNO.ENOSYS;
  const d = get_any_domain(load<u16>(a, AddToPhysmap.domid));
  if (is_null(d)) return -ERRNO.ESRCH;
  let rc = check(d);
  let i = start;
  let flush = false;
  let preempted = false;
  const range = space == XENMAPSPACE.gmfn_range;
  if (rc == 0 && range && (idx + size < idx || gfn + size < gfn)) rc = -ERRNO.EOVERFLOW;
  for (const n: u64 = range ? size : 1; rc == 0 && i < n && !preempted; ) {
    const one = add_one(d, range ? XENMAPSPACE.gmfn : space, idx + i, gfn + i);
    if (one < 0) rc = one;
    else {
      if (one == P2M_FLUSH) flush = true;
      i++;
      preempted = i < n && hypercall_preempt_check();
    }
  }
  if (flush) flush_tlb_domain(d);
  put_domain(d);
  return preempted ? again(XENMEM.add_to_physmap, i, arg) : rc;
}

/** `start`: entries that were done before a continuation. */
export function add_to_physmap_batch(arg: u64, start: u64): i64 {
  const a = mm_scratch(SCRATCH_ARG);
  if (copy_from_guest(a, arg, <u32>AddToPhysmapBatch.SIZE) != 0) return -ERRNO.EFAULT;
  const space = <u32>load<u16>(a, AddToPhysmapBatch.space);
  if (space == XENMAPSPACE.gmfn_range) return -ERRNO.EOPNOTSUPP;
  const d = get_any_domain(load<u16>(a, AddToPhysmapBatch.domid));
  if (is_null(d)) return -ERRNO.ESRCH;
  let rc: i64 = check(d);
  if (rc == 0 && space == XENMAPSPACE.dev_mmio) rc = -ERRNO.EACCES;
  if (rc == 0) {
    rc = batch(
      d, space, start, <u64>load<u16>(a, AddToPhysmapBatch.size), load<u64>(a, AddToPhysmapBatch.idxs), load<u64>(a, AddToPhysmapBatch.gpfns),
      load<u64>(a, AddToPhysmapBatch.errs),
    );
  }
  put_domain(d);
  return rc > 0 ? again(XENMEM.add_to_physmap_batch, <u64>rc, arg) : rc;
}

/** Entries [start, size) of a batch. 0, -errno, or how far it has come. */
function batch(d: Domain, space: u32, start: u64, size: u64, idxs: u64, gfns: u64, errs: u64): i64 {
  if (size < start || (size == start && start != 0)) return -ERRNO.EILSEQ;
  const n = <u32>size;
  if (!guest_handle_okay(idxs, n << 3) || !guest_handle_okay(gfns, n << 3) || !guest_handle_okay(errs, n << 2)) return -ERRNO.EFAULT;
  const word = mm_scratch(SCRATCH_WORD);
  let rc: i64 = 0;
  let flush = false;
  for (let i = start; i < size && rc == 0; ) {
    rc = -ERRNO.EFAULT;
    if (copy_from_guest(word, idxs + (i << 3), 8) != 0) break;
    const idx = load<u64>(word);
    if (copy_from_guest(word, gfns + (i << 3), 8) != 0) break;
    const one = add_one(d, space, idx, load<u64>(word));
    if (one == P2M_FLUSH) flush = true;
    store<i32>(word, min<i32>(one, 0));
    if (copy_to_guest(errs + (i << 2), word, 4) != 0) break;
    i++;
    rc = i < size && hypercall_preempt_check() ? <i64>i : 0;
  }
  if (flush) flush_tlb_domain(d);
  return rc;
}

export function remove_from_physmap(arg: u64): i64 {
  const a = mm_scratch(SCRATCH_ARG);
  if (copy_from_guest(a, arg, <u32>RemoveFromPhysmap.SIZE) != 0) return -ERRNO.EFAULT;
  const gfn = load<u64>(a, RemoveFromPhysmap.gpfn);
  const d = get_any_domain(load<u16>(a, RemoveFromPhysmap.domid));
  if (is_null(d)) return -ERRNO.ESRCH;
  let rc = check(d);
  if (rc == 0) {
    const pg = get_page_from_gfn(d, gfn);
    rc = is_null(pg) ? -ERRNO.ENOENT : <i64>guest_physmap_remove_page(d, gfn, page_to_mfn(pg));
    if (!is_null(pg)) put_page(pg);
  }
  put_domain(d);
  return rc;
}
