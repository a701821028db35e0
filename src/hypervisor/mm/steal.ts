// Taking a page away from its owner (Xen's steal_page), for exchange and grant transfer.
import { ERRNO } from "../abi";
import { Domain } from "../domain";
import { panic } from "../log";
import { spin_lock, spin_unlock } from "../spinlock";
import {
  count_info_of, page_to_mfn, PageInfo, PGC_allocated, PGC_count_mask, PGC_xen_heap, PGT_count_mask, PGT_locked,
  PGT_pinned, type_info_of,
} from "./frame";
import { paging_mode_translate } from "./p2m";
import { get_page, list_unlink, put_page } from "./page";
import { frame_lost_writable } from "./tlbflush";

/**
 * Removes the page from `d`: no owner, no reference, no type, not in its list; d.tot_pages still counts it (the caller
 * gives the domain another, or corrects that). Fails if anything but the domain itself refers to it, or its p2m may.
 */
export function steal_page(d: Domain, pg: PageInfo): i32 {
  if (paging_mode_translate(d)) return -<i32>ERRNO.EOPNOTSUPP;
  if (!get_page(pg, d)) return -<i32>ERRNO.EINVAL;
  const at = count_info_of(pg);
  let x = atomic.load<u32>(at);
  for (;;) {
    // Ours and the domain's own.
    if ((x & (PGC_count_mask | PGC_allocated)) != (PGC_allocated | 2) || (x & PGC_xen_heap) != 0) {
      put_page(pg);
      return -<i32>ERRNO.EINVAL;
    }
    const y = atomic.cmpxchg<u32>(at, x, x & ~(PGC_count_mask | PGC_allocated));
    if (y == x) break;
    x = y;
  }
  if (atomic.load<u32>(type_info_of(pg)) & (PGT_count_mask | PGT_locked | PGT_pinned)) panic("a stolen page has type references");
  // It may become another's page at once: its old mappings, gone from the page tables, go from the TLBs too.
  frame_lost_writable(page_to_mfn(pg));
  const lock = changetype<usize>(d) + offsetof<Domain>("page_alloc_lock");
  spin_lock(lock);
  atomic.store<u32>(type_info_of(pg), 0);
  pg.owner = changetype<Domain>(0);
  list_unlink(d, pg, false);
  spin_unlock(lock);
  return 0;
}
