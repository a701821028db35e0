// Small blocks for the hypervisor's own structs: sizes are rounded up to a power of two, each size class carves whole
// pages, and a page whose blocks are all free goes back to the heap (so the free count is exact again after a domain).
//
// The PageInfo of a class page (never visible to guests: its count_info is 0) keeps: order = class, linear_pt_count =
// blocks in use, tlbflush_timestamp = address of the first free block, next/prev = pages of the class with free blocks.
import { spin_lock, spin_unlock } from "../spinlock";
import { mfn_to_page, mm_state_address, page_to_mfn, PageInfo, virt_to_mfn } from "./frame";
import { alloc_xenheap_page, alloc_xenheap_pages, free_xenheap_pages } from "./heap";
import { MAX_ORDER, MmState, XMALLOC_CLASSES, xmalloc_head } from "./state";

/** PageInfo.progress of the first page of a block of whole pages. */
const WHOLE_PAGES: u32 = 0x80;

function xmalloc_lock(): usize {
  return mm_state_address() + offsetof<MmState>("xmalloc_lock");
}

/**
 * A zeroed block of at least `size` bytes, aligned to `align` (a power of two up to 4096); 0: no memory.
 */
export function xzalloc(size: usize, align: usize = 16): usize {
  const want = max<usize>(max<usize>(size, align), 16);
  const cls: u32 = 28 - clz<u32>(<u32>want - 1);
  if (<i32>cls >= <i32>XMALLOC_CLASSES) {
    const order: u32 = 20 - clz<u32>(<u32>want - 1);
    if (<i32>order > <i32>MAX_ORDER) return 0;
    const p = alloc_xenheap_pages(order);
    if (p != 0) mfn_to_page(virt_to_mfn(p)).progress = WHOLE_PAGES | order;
    return p;
  }
  const bytes: usize = 16 << cls;
  spin_lock(xmalloc_lock());
  let mfn = load<u32>(xmalloc_head(cls));
  if (mfn == 0) {
    // The heap may have to flush TLBs, so its page is got without the lock.
    spin_unlock(xmalloc_lock());
    const page = alloc_xenheap_page();
    if (page == 0) return 0;
    spin_lock(xmalloc_lock());
    mfn = add_page(cls, page);
  }
  const pg = mfn_to_page(mfn);
  const p: usize = pg.tlbflush_timestamp;
  pg.tlbflush_timestamp = load<u32>(p);
  pg.linear_pt_count++;
  if (pg.tlbflush_timestamp == 0) unlink(cls, pg);
  spin_unlock(xmalloc_lock());
  memory.fill(p, 0, bytes);
  return p;
}

/** Carves a page into free blocks and lists it. The lock is held. */
function add_page(cls: u32, page: usize): u32 {
  const bytes: usize = 16 << cls;
  for (let p = page; p < page + 4096; p += bytes) store<u32>(p, p + bytes < page + 4096 ? p + bytes : 0);
  const pg = mfn_to_page(virt_to_mfn(page));
  pg.progress = cls;
  pg.linear_pt_count = 0;
  pg.tlbflush_timestamp = <u32>page;
  link(cls, pg);
  return virt_to_mfn(page);
}

function link(cls: u32, pg: PageInfo): void {
  const head = xmalloc_head(cls);
  const first = load<u32>(head);
  pg.next = first;
  pg.prev = 0;
  if (first != 0) mfn_to_page(first).prev = page_to_mfn(pg);
  store<u32>(head, page_to_mfn(pg));
}

function unlink(cls: u32, pg: PageInfo): void {
  if (pg.prev != 0) mfn_to_page(pg.prev).next = pg.next;
  else store<u32>(xmalloc_head(cls), pg.next);
  if (pg.next != 0) mfn_to_page(pg.next).prev = pg.prev;
}

/** Gives back a block of xzalloc; 0 is ignored. */
export function xfree(p: usize): void {
  if (p == 0) return;
  const pg = mfn_to_page(virt_to_mfn(p));
  if ((pg.progress & WHOLE_PAGES) != 0) {
    free_xenheap_pages(p, pg.progress & ~WHOLE_PAGES);
    return;
  }
  const cls = pg.progress;
  spin_lock(xmalloc_lock());
  if (pg.tlbflush_timestamp == 0) link(cls, pg);
  store<u32>(p, pg.tlbflush_timestamp);
  pg.tlbflush_timestamp = <u32>p;
  pg.linear_pt_count--;
  const empty = pg.linear_pt_count == 0;
  if (empty) unlink(cls, pg);
  spin_unlock(xmalloc_lock());
  if (empty) free_xenheap_pages(p & ~4095, 0);
}
