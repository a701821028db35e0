// References on frames: while a CPU holds one, the frame keeps its owner and is not freed (Xen's get_page, put_page).
import { Domain, is_null } from "../domain";
import { put_domain } from "../domain_list";
import { panic } from "../log";
import { spin_lock, spin_unlock } from "../spinlock";
import {
  count_info_of, mfn_to_page, mfn_valid, page_to_mfn, PageInfo, PGC_allocated, PGC_count_mask, PGC_xen_heap,
} from "./frame";
import { free_heap_frames } from "./heap";
import { INVALID_M2P_ENTRY, set_gpfn_from_mfn } from "./m2p";
import { tlb_clock_now } from "./tlbflush";

/** count_info of a page of the Xen heap: free it with the last reference (free_xenheap_page was called before). */
const PGC_orphan: u32 = 1 << 28;

function page_alloc_lock(d: Domain): usize {
  return changetype<usize>(d) + offsetof<Domain>("page_alloc_lock");
}

/** Counts stop short of what fits by more than all page tables' own references (get_page_light). */
const MAX_COUNT: u32 = PGC_count_mask - 16;

/** Takes a reference if the frame has any; returns its owner (null: none taken). */
export function page_get_owner_and_reference(pg: PageInfo): Domain {
  const at = count_info_of(pg);
  let x = atomic.load<u32>(at);
  for (;;) {
    const n = x & PGC_count_mask;
    if (n == 0 || n >= MAX_COUNT) return changetype<Domain>(0);
    const y = atomic.cmpxchg<u32>(at, x, x + 1);
    if (y == x) break;
    x = y;
  }
  return pg.owner;
}

/** Takes a reference on the frame if it belongs to `d`. */
export function get_page(pg: PageInfo, d: Domain): bool {
  const owner = page_get_owner_and_reference(pg);
  if (changetype<usize>(owner) == changetype<usize>(d) && !is_null(owner)) return true;
  if (!is_null(owner)) put_page(pg);
  return false;
}

/** The same by a frame number as a guest gives it; null if it is not a frame of `d`. */
export function get_page_from_mfn(mfn: u64, d: Domain): PageInfo {
  if (!mfn_valid(mfn)) return changetype<PageInfo>(0);
  const pg = mfn_to_page(<u32>mfn);
  return get_page(pg, d) ? pg : changetype<PageInfo>(0);
}

/** One more reference for a caller that holds one. False: too many. */
export function get_page_again(pg: PageInfo): bool {
  return !is_null(page_get_owner_and_reference(pg));
}

/** One more that cannot fail, for a caller that holds one: of a page table for itself, at most one (page_type.ts). */
export function get_page_light(pg: PageInfo): void {
  atomic.add<u32>(count_info_of(pg), 1);
}

/** Drops a reference; with the last one the frame is free. */
export function put_page(pg: PageInfo): void {
  const old = atomic.sub<u32>(count_info_of(pg), 1);
  if ((old & PGC_count_mask) == 1) free_page(pg);
  else if ((old & PGC_count_mask) == 0) panic("reference count of a frame below zero");
}

/** Drops the reference that PGC_allocated holds: the owner gives the frame up. False: it did before. */
export function put_page_alloc_ref(pg: PageInfo): bool {
  const old = atomic.and<u32>(count_info_of(pg), ~PGC_allocated);
  if (!(old & PGC_allocated)) return false;
  put_page(pg);
  return true;
}

function free_page(pg: PageInfo): void {
  const d = pg.owner;
  const mfn = page_to_mfn(pg);
  const xen_heap = (pg.count_info & PGC_xen_heap) != 0;
  if (is_null(d)) panic("a frame without owner had references");
  spin_lock(page_alloc_lock(d));
  list_unlink(d, pg, xen_heap);
  if (xen_heap) d.xenheap_pages--;
  else d.tot_pages--;
  const last = d.tot_pages + d.xenheap_pages == 0;
  pg.owner = changetype<Domain>(0);
  atomic.store<u32>(changetype<usize>(pg) + offsetof<PageInfo>("type_info"), 0);
  pg.tlbflush_timestamp = tlb_clock_now();
  spin_unlock(page_alloc_lock(d));
  set_gpfn_from_mfn(mfn, INVALID_M2P_ENTRY);
  if (xen_heap) {
    const old = atomic.and<u32>(count_info_of(pg), ~PGC_xen_heap);
    if ((old & PGC_orphan) != 0) free_heap_frames(mfn, 0, tlb_clock_now());
  } else free_heap_frames(mfn, 0, tlb_clock_now());
  if (last) put_domain(d);
}

/**
 * Gives back a page of the Xen heap. If it was shared with a domain (and unshared since), references that others still
 * hold keep it until they are dropped.
 */
export function free_xenheap_page(p: usize): void {
  if (p == 0) return;
  const pg = mfn_to_page(<u32>(p >> 12));
  const old = atomic.or<u32>(count_info_of(pg), PGC_orphan);
  if (old & PGC_xen_heap) return;
  free_heap_frames(<u32>(p >> 12), 0, pg.tlbflush_timestamp);
}

/** Takes the frame out of its owner's list. page_alloc_lock is held. */
export function list_unlink(d: Domain, pg: PageInfo, xen_heap: bool): void {
  if (pg.prev != 0) mfn_to_page(pg.prev).next = pg.next;
  else if (xen_heap) d.xenpage_list = pg.next;
  else d.page_list = pg.next;
  if (pg.next != 0) mfn_to_page(pg.next).prev = pg.prev;
  pg.next = 0;
  pg.prev = 0;
}

/** Puts the frame first in its owner's list. page_alloc_lock is held. */
export function list_link(d: Domain, pg: PageInfo, xen_heap: bool): void {
  const mfn = page_to_mfn(pg);
  const first = xen_heap ? d.xenpage_list : d.page_list;
  pg.next = first;
  pg.prev = 0;
  if (first != 0) mfn_to_page(first).prev = mfn;
  if (xen_heap) d.xenpage_list = mfn;
  else d.page_list = mfn;
}
