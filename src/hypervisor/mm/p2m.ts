// The p2m of an HVM container (docs/decisions/0022-pvh.md): which frame each of its guest frame numbers (gfns) names. The
// engine walks it below the guest's page tables. Its root and its leaf pages are the hypervisor's; a leaf is made with the
// first entry that it is needed for and stays as long as the domain.
//
// An entry of RAM holds no reference of its own: the frame is the domain's (PGC_allocated), and whoever wants to use what a
// gfn names asks get_page_from_gfn, which looks at the owner. A grant mapping's reference is its maptrack entry's. A frame
// has one gfn at most, which the M2P gives.
import { ERRNO, P2M_R, P2M_ROOT_ENTRIES, P2M_W } from "../abi";
import { domain_crash } from "../crash";
import { Domain, is_null } from "../domain";
import { spin_lock, spin_unlock } from "../spinlock";
import { count_info_of, mfn_to_page, mfn_valid, page_to_mfn, PageInfo, PGC_allocated, PGC_xen_heap } from "./frame";
import { alloc_xenheap_page, alloc_xenheap_pages, free_xenheap_page, free_xenheap_pages } from "./heap";
import { get_gpfn_from_mfn, INVALID_M2P_ENTRY, set_gpfn_from_mfn } from "./m2p";
import { get_page, get_page_from_mfn, put_page, put_page_alloc_ref } from "./page";
import { flush_tlb_domain } from "./tlbflush";

/** What an entry is, in its bits 4 to 7: the domain's own frame; one that was granted to it, to write or only to read. */
export const p2m_ram_rw: u32 = 1;
export const p2m_grant_map_rw: u32 = 2;
export const p2m_grant_map_ro: u32 = 3;
const TYPE_SHIFT: u32 = 4;
const TYPE_MASK: u32 = 0xf;

const LEAF_SHIFT: u32 = 10;
const LEAF_ENTRIES: u32 = 1 << LEAF_SHIFT;
/** gfns are below this. */
export const P2M_GFNS: u64 = <u64>P2M_ROOT_ENTRIES << LEAF_SHIFT;
/** log2 of the root's pages. */
const ROOT_ORDER: u32 = 1;

/** Result of changes: done, and an entry that was there is gone. flush_tlb_domain is due. */
export const P2M_FLUSH: i32 = 1;

const NO_PAGE = changetype<PageInfo>(0);

// @ts-ignore: decorator
@inline
function p2m_lock(d: Domain): usize {
  return changetype<usize>(d) + offsetof<Domain>("p2m_lock");
}

/** Do the frame numbers that the domain gives and is given name guest-physical pages? */
// @ts-ignore: decorator
@inline
export function paging_mode_translate(d: Domain): bool {
  return d.is_hvm != 0;
}

/** An empty p2m for `d`. False: no memory. */
export function p2m_create(d: Domain): bool {
  d.p2m = alloc_xenheap_pages(ROOT_ORDER);
  return d.p2m != 0;
}

/** Frees it. Nobody can name the domain any more, and its vCPUs are gone. */
export function p2m_destroy(d: Domain): void {
  if (d.p2m == 0) return;
  for (let i: u32 = 0; i < P2M_ROOT_ENTRIES; i++) free_xenheap_page(load<u32>(d.p2m + (i << 2)));
  free_xenheap_pages(d.p2m, ROOT_ORDER);
  d.p2m = 0;
}

/** Address of the gfn's entry; 0: its leaf is not there, or the gfn is too large. */
function entry_at(d: Domain, gfn: u64): usize {
  if (gfn >= P2M_GFNS || d.p2m == 0) return 0;
  const leaf = <usize>atomic.load<u32>(d.p2m + ((<usize>gfn >> LEAF_SHIFT) << 2));
  return leaf == 0 ? 0 : leaf + ((<usize>gfn & (LEAF_ENTRIES - 1)) << 2);
}

/** The gfn's entry, 0: none. It may change at any time. */
export function p2m_entry(d: Domain, gfn: u64): u32 {
  const at = entry_at(d, gfn);
  return at == 0 ? 0 : atomic.load<u32>(at);
}

// @ts-ignore: decorator
@inline
function type_of(entry: u32): u32 {
  return (entry >> TYPE_SHIFT) & TYPE_MASK;
}

export function p2m_is_grant(entry: u32): bool {
  const t = type_of(entry);
  return t == p2m_grant_map_rw || t == p2m_grant_map_ro;
}

/** The frame that a frame number of `d` names, 0: none. It may change at any time: no reference is taken. */
export function gfn_to_mfn(d: Domain, gfn: u64): u32 {
  if (!paging_mode_translate(d)) return mfn_valid(gfn) ? <u32>gfn : 0;
  return p2m_entry(d, gfn) >> 12;
}

/** The frame number that names `d`'s frame: INVALID_M2P_ENTRY, none. */
export function mfn_to_gfn(d: Domain, mfn: u32): u64 {
  return paging_mode_translate(d) ? get_gpfn_from_mfn(mfn) : <u64>mfn;
}

/** The frame of `d` that a frame number of `d` names, with a reference. Null: none; what was granted to d is none of its own. */
export function get_page_from_gfn(d: Domain, gfn: u64): PageInfo {
  if (!paging_mode_translate(d)) return get_page_from_mfn(gfn, d);
  const at = entry_at(d, gfn);
  if (at == 0) return NO_PAGE;
  let entry = atomic.load<u32>(at);
  while (entry != 0 && !p2m_is_grant(entry)) {
    const pg = mfn_to_page(entry >> 12);
    const own = get_page(pg, d);
    const now = atomic.load<u32>(at);
    if (now == entry) return own ? pg : NO_PAGE;
    // The frame may have gone, and come back as another of d's, in between.
    if (own) put_page(pg);
    entry = now;
  }
  return NO_PAGE;
}

/** Makes the leaves for 2^order entries from `gfn` on. No lock is held. 0, -EINVAL or -ENOMEM. */
function make_leaves(d: Domain, gfn: u64, order: u32): i32 {
  const n: u64 = (<u64>1) << <u64>order;
  if (gfn >= P2M_GFNS || n > P2M_GFNS - gfn) return -<i32>ERRNO.EINVAL;
  const last = <u32>((gfn + n - 1) >> LEAF_SHIFT);
  for (let i = <u32>(gfn >> LEAF_SHIFT); i <= last; i++) {
    const at = d.p2m + (<usize>i << 2);
    if (atomic.load<u32>(at) != 0) continue;
    const leaf = alloc_xenheap_page();
    if (leaf == 0) return -<i32>ERRNO.ENOMEM;
    // Another CPU may have been faster.
    if (atomic.cmpxchg<u32>(at, 0, <u32>leaf) != 0) free_xenheap_page(leaf);
  }
  return 0;
}

/** An entry of the domain's own frame is going away: so does what the M2P says of the frame. p2m_lock is held. */
function forget_gfn(d: Domain, mfn: u32, gfn: u64): void {
  const pg = mfn_to_page(mfn);
  // A dying domain's frame may be another's by now.
  if (!get_page(pg, d)) return;
  if (get_gpfn_from_mfn(mfn) == gfn) set_gpfn_from_mfn(mfn, INVALID_M2P_ENTRY);
  put_page(pg);
}

/** Takes the frame, d's own, away from the gfn that it had, unless that is `gfn`. p2m_lock is held. */
function leave_old_gfn(d: Domain, mfn: u32, gfn: u64): bool {
  const old = get_gpfn_from_mfn(mfn);
  if (old == gfn) return false;
  const at = entry_at(d, old);
  if (at == 0) return false;
  const entry = atomic.load<u32>(at);
  if (entry >> 12 != mfn || p2m_is_grant(entry)) return false;
  atomic.store<u32>(at, 0);
  return true;
}

/** May 2^order frames from `mfn` on be in entries of `type`? p2m_lock is held. */
function may_add(d: Domain, mfn: u32, order: u32, type: u32): bool {
  for (let i: u32 = 0; i < 1 << order; i++) {
    const pg = mfn_to_page(mfn + i);
    // A frame that d has given up leaves the p2m for good, before the reference that keeps it is dropped.
    if (type == p2m_ram_rw && (!(atomic.load<u32>(count_info_of(pg)) & PGC_allocated) || changetype<usize>(pg.owner) != changetype<usize>(d)))
      return false;
  }
  return true;
}

/** Is one of 2^order entries from `gfn` on a grant mapping? p2m_lock is held. */
function has_grant(d: Domain, gfn: u64, order: u32): bool {
  for (let i: u64 = 0; i < (<u64>1) << <u64>order; i++) {
    if (p2m_is_grant(p2m_entry(d, gfn + i))) return true;
  }
  return false;
}

/**
 * Makes 2^order gfns from `gfn` on name the frames from `mfn` on, on which the caller has references or which are d's own.
 * Frames that had been there have no gfn any more, but are still d's. 0, P2M_FLUSH or -errno. No lock is held.
 */
export function p2m_add(d: Domain, gfn: u64, mfn: u32, order: u32, type: u32): i32 {
  let rc = make_leaves(d, gfn, order);
  if (rc != 0) return rc;
  const n: u64 = (<u64>1) << <u64>order;
  const low = P2M_R | (type == p2m_grant_map_ro ? 0 : P2M_W) | (type << TYPE_SHIFT);
  spin_lock(p2m_lock(d));
  const over_grant = has_grant(d, gfn, order);
  const ok = !over_grant && may_add(d, mfn, order, type);
  for (let i: u64 = 0; i < n && ok; i++) {
    const frame = mfn + <u32>i;
    const at = entry_at(d, gfn + i);
    const old = atomic.load<u32>(at);
    if (old != 0) {
      if (old >> 12 != frame) forget_gfn(d, old >> 12, gfn + i);
      rc = P2M_FLUSH;
    }
    if (type == p2m_ram_rw && leave_old_gfn(d, frame, gfn + i)) rc = P2M_FLUSH;
    atomic.store<u32>(at, (frame << 12) | low);
    if (type == p2m_ram_rw) set_gpfn_from_mfn(frame, gfn + i);
  }
  if (ok && gfn + n > <u64>d.p2m_end) d.p2m_end = <u32>(gfn + n);
  spin_unlock(p2m_lock(d));
  if (ok) return rc;
  // It would be lost track of: as Xen does.
  if (over_grant) domain_crash(d, "a grant mapping is in the way of a page");
  return -<i32>ERRNO.EINVAL;
}

/**
 * Takes a gfn's entry away if it is of `type` and names frame `mfn`; `give_up`: and d's own reference on the frame, on which
 * the caller has another. P2M_FLUSH; -ENOENT: there is none, -EILSEQ: it is another.
 */
export function p2m_remove(d: Domain, gfn: u64, mfn: u32, type: u32, give_up: bool): i32 {
  let rc = P2M_FLUSH;
  spin_lock(p2m_lock(d));
  const at = entry_at(d, gfn);
  const entry = at == 0 ? 0 : atomic.load<u32>(at);
  if (entry == 0) rc = -<i32>ERRNO.ENOENT;
  else if (entry >> 12 != mfn || type_of(entry) != type) rc = -<i32>ERRNO.EILSEQ;
  else {
    atomic.store<u32>(at, 0);
    if (type == p2m_ram_rw) forget_gfn(d, mfn, gfn);
    // Under the lock, or the frame might be given another gfn first.
    if (give_up) put_page_alloc_ref(mfn_to_page(mfn));
  }
  spin_unlock(p2m_lock(d));
  return rc;
}

/** The frame, whose last reference but the caller's is gone, has no gfn any more. The caller flushes when it has no lock. */
export function p2m_forget_frame(d: Domain, mfn: u32): void {
  spin_lock(p2m_lock(d));
  leave_old_gfn(d, mfn, INVALID_M2P_ENTRY);
  set_gpfn_from_mfn(mfn, INVALID_M2P_ENTRY);
  spin_unlock(p2m_lock(d));
}

/** Flushes what p2m_add or p2m_remove say is to be flushed; 0 or their -errno. No lock is held. */
export function p2m_flush(d: Domain, rc: i32): i32 {
  if (rc != P2M_FLUSH) return rc;
  flush_tlb_domain(d);
  return 0;
}

/** Like p2m_add of RAM, and flushes. For a PV domain its own p2m is its own affair. 0 or -errno. */
export function guest_physmap_add_page(d: Domain, gfn: u64, mfn: u32, order: u32): i32 {
  return paging_mode_translate(d) ? p2m_flush(d, p2m_add(d, gfn, mfn, order, p2m_ram_rw)) : 0;
}

/** Like p2m_remove, and flushes: before the caller drops its reference on the frame, nobody reaches it by the gfn any more. */
export function guest_physmap_remove_page(d: Domain, gfn: u64, mfn: u32): i32 {
  return paging_mode_translate(d) ? p2m_flush(d, p2m_remove(d, gfn, mfn, p2m_ram_rw, false)) : 0;
}

// @ts-ignore: decorator
@inline
export function is_special_page(pg: PageInfo): bool {
  return (atomic.load<u32>(count_info_of(pg)) & PGC_xen_heap) != 0;
}

/**
 * The domain gives up the page that a gfn names. P2M_FLUSH (the caller flushes; a frame that is free by then is in no TLB
 * when it is used again), or -errno: there is none, or it is not d's own.
 */
export function guest_remove_page(d: Domain, gfn: u64): i32 {
  const entry = p2m_entry(d, gfn);
  if (entry == 0) return -<i32>ERRNO.ENOENT;
  const pg = mfn_to_page(entry >> 12);
  if (p2m_is_grant(entry) || !get_page(pg, d)) return -<i32>ERRNO.ENXIO;
  // Pages that the hypervisor shares with the domain are only not mapped any more.
  const rc = p2m_remove(d, gfn, page_to_mfn(pg), p2m_ram_rw, !is_special_page(pg));
  put_page(pg);
  return rc;
}
