// The heap: free frames as a buddy system (Xen's page_alloc.c, one heap for Xen's pages and domains' pages alike).
// Freed frames are used before ones that were never touched, so the host's memory grows only as far as needed.
import { MachineInfo, MACHINE_INFO_ADDRESS } from "../abi";
import { Domain, is_null } from "../domain";
import { panic } from "../log";
import { LOCK_heap, LOCK_xmalloc } from "../locks";
import { spin_lock, spin_lock_init, spin_unlock } from "../spinlock";
import { frame_table_size, map_domain_page, mfn_to_page, mm_state_address, PageInfo, PGC_free } from "./frame";
import { build_m2p_tables, m2p_init } from "./m2p";
import { build_xen_gdt } from "./xen_gdt";
import { free_head, heap_lock, MAX_ORDER, mm, MmState } from "./state";
import { flush_before_reuse, TLB_CLOCK_START } from "./tlbflush";

export { free_xenheap_page } from "./page";
export { xfree, xzalloc } from "./xmalloc";

const M2P_LARGE: u32 = 0x20_0000;

/** Frame table, M2P and heap, from MachineInfo. Once, on the boot thread, before anything else allocates. */
export function mm_boot(): void {
  const start = <u32>mm_state_address();
  const frames = load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.mem_frames);
  // The last frame of a full 4 GiB is left out, so that the end of every frame is a 32-bit address.
  const end: u32 = frames >= 0x10_0000 ? 0xf_ffff : frames;
  const state = mm();
  spin_lock_init(heap_lock(), LOCK_heap);
  spin_lock_init(changetype<usize>(state) + offsetof<MmState>("xmalloc_lock"), LOCK_xmalloc);
  const table_end = (start + 4096 + frame_table_size(frames) + 4095) & ~4095;
  const m2p_size = (frames * 8 + 4095) & ~4095;
  const m2p = m2p_size >= M2P_LARGE ? (table_end + M2P_LARGE - 1) & ~(M2P_LARGE - 1) : table_end;
  state.m2p = m2p;
  state.m2p_size = m2p_size;
  state.fresh = (m2p + m2p_size) >> 12;
  state.end_mfn = end;
  if (start == 0 || (start & 4095) != 0 || state.fresh >= end) panic("machine memory is too small for the frame table");
  state.first_heap_mfn = state.fresh;
  state.free_frames = end - state.fresh;
  state.total_frames = state.free_frames;
  state.tlb_clock = TLB_CLOCK_START;
  state.tlb_flushed = TLB_CLOCK_START;
  state.next_generation = 1;
  // Frames between the frame table and an aligned M2P are ordinary ones.
  for (let mfn = table_end >> 12; mfn < m2p >> 12; mfn++) {
    free_heap_frames(mfn, 0, 0);
    state.total_frames++;
  }
  m2p_init(m2p, m2p_size);
  build_m2p_tables();
  build_xen_gdt();
  state.scratch = reserve(load<u32>(MACHINE_INFO_ADDRESS, MachineInfo.slots));
}

/** `n` pages in a row, for ever. */
function reserve(n: u32): u32 {
  const state = mm();
  if (n >= state.end_mfn - state.fresh) panic("no memory for scratch pages");
  const mfn = state.fresh;
  state.fresh += n;
  state.free_frames -= n;
  return mfn << 12;
}

export function total_frames(): u32 {
  return mm().total_frames;
}

/** Free frames of the machine now, claimed ones included. */
export function free_frames(): u32 {
  return atomic.load<u32>(mm_state_address() + offsetof<MmState>("free_frames"));
}

function list_push(order: u32, mfn: u32): void {
  const head = free_head(order);
  const first = load<u32>(head);
  const pg = mfn_to_page(mfn);
  pg.next = first;
  pg.prev = 0;
  pg.progress = order;
  pg.count_info = PGC_free;
  if (first != 0) mfn_to_page(first).prev = mfn;
  store<u32>(head, mfn);
}

function list_remove(order: u32, mfn: u32): void {
  const pg = mfn_to_page(mfn);
  if (pg.prev != 0) mfn_to_page(pg.prev).next = pg.next;
  else store<u32>(free_head(order), pg.next);
  if (pg.next != 0) mfn_to_page(pg.next).prev = pg.prev;
  pg.count_info = 0;
  pg.next = 0;
  pg.prev = 0;
}

/** Takes 2^order aligned frames that were never used, or 0. The heap lock is held. */
function take_fresh(order: u32): u32 {
  const state = mm();
  const n: u32 = 1 << order;
  const mfn = (state.fresh + n - 1) & ~(n - 1);
  if (mfn >= state.end_mfn || state.end_mfn - mfn < n) return 0;
  for (let gap = state.fresh; gap < mfn; gap++) insert_free(gap, 0, 0);
  state.fresh = mfn + n;
  return mfn;
}

/** Puts a block among the free ones, joined with its neighbours. The heap lock is held. */
function insert_free(mfn: u32, order: u32, stamp: u32): void {
  let newest = stamp;
  while (order < MAX_ORDER) {
    const buddy = mfn ^ (1 << order);
    if (buddy + (1 << order) > mm().fresh) break;
    const pg = mfn_to_page(buddy);
    if (pg.count_info != PGC_free || pg.progress != order) break;
    list_remove(order, buddy);
    if (pg.tlbflush_timestamp > newest) newest = pg.tlbflush_timestamp;
    mfn &= ~(1 << order);
    order++;
  }
  mfn_to_page(mfn).tlbflush_timestamp = newest;
  list_push(order, mfn);
}

/**
 * Takes 2^order frames, aligned to their number; their PageInfos are cleared, their bytes zero, and no TLB has them.
 * `unclaimed`: leave the frames alone that are claimed by domains. Returns the first mfn, or 0.
 */
function alloc_heap_frames(order: u32, unclaimed: bool): u32 {
  const state = mm();
  const n: u32 = 1 << order;
  let mfn: u32 = 0;
  let stamp: u32 = 0;
  let recycled = false;
  spin_lock(heap_lock());
  const available = state.free_frames - (unclaimed ? state.outstanding_claims : 0);
  if (order <= MAX_ORDER && available >= n && available <= state.free_frames) {
    for (let o = order; o <= MAX_ORDER; o++) {
      mfn = load<u32>(free_head(o));
      if (mfn == 0) continue;
      stamp = mfn_to_page(mfn).tlbflush_timestamp;
      list_remove(o, mfn);
      while (o > order) {
        o--;
        const upper = mfn + (1 << o);
        mfn_to_page(upper).tlbflush_timestamp = stamp;
        list_push(o, upper);
      }
      recycled = true;
      break;
    }
    if (mfn == 0) mfn = take_fresh(order);
    if (mfn != 0) {
      atomic.store<u32>(mm_state_address() + offsetof<MmState>("free_frames"), state.free_frames - n);
      // Not free any more: nobody joins a neighbour with it. What was never used is zero already.
      if (recycled) clear_page_infos(mfn, n);
    }
  }
  spin_unlock(heap_lock());
  if (recycled) {
    flush_before_reuse(mfn, n, stamp);
    memory.fill(map_domain_page(mfn), 0, <usize>n << 12);
  }
  return mfn;
}

function clear_page_infos(mfn: u32, n: u32): void {
  memory.fill(changetype<usize>(mfn_to_page(mfn)), 0, <usize>n * offsetof<PageInfo>());
}

/**
 * Gives 2^order frames back. `stamp`: MmState.tlb_clock as it is now if a guest could reach them (translations may be
 * left over), 0 if none ever could.
 */
export function free_heap_frames(mfn: u32, order: u32, stamp: u32): void {
  const state = mm();
  const n: u32 = 1 << order;
  clear_page_infos(mfn, n);
  spin_lock(heap_lock());
  insert_free(mfn, order, stamp);
  atomic.store<u32>(mm_state_address() + offsetof<MmState>("free_frames"), state.free_frames + n);
  spin_unlock(heap_lock());
}

/**
 * 2^order frames for domain `d` (not yet assigned to it); a claim of the domain is used up first. 0: no memory.
 */
export function alloc_domheap_frames(d: Domain, order: u32): u32 {
  const claims = !is_null(d) && atomic.load<u32>(changetype<usize>(d) + offsetof<Domain>("outstanding_pages")) != 0;
  return alloc_heap_frames(order, !claims);
}

/** 2^order zeroed frames for the hypervisor; 0: no memory. */
export function alloc_xenheap_pages(order: u32): usize {
  return map_domain_page(alloc_heap_frames(order, true));
}

/** One zeroed page for the hypervisor; 0: no memory. */
export function alloc_xenheap_page(): usize {
  return alloc_xenheap_pages(0);
}

/** Gives back what alloc_xenheap_pages gave, if it was never shared with a domain. */
export function free_xenheap_pages(p: usize, order: u32): void {
  if (p != 0) free_heap_frames(<u32>(p >> 12), order, 0);
}

/** Takes the domain's claimed frames out of the total as it gets pages, or gives the claim up. heap_lock is taken. */
export function claim_adjust(d: Domain, pages: u32): void {
  spin_lock(heap_lock());
  const n = d.outstanding_pages < pages ? d.outstanding_pages : pages;
  atomic.store<u32>(changetype<usize>(d) + offsetof<Domain>("outstanding_pages"), d.outstanding_pages - n);
  mm().outstanding_claims -= n;
  spin_unlock(heap_lock());
}

/** Sets the claim to `pages` frames beyond those the domain has. False: there are not that many. */
export function claim_set(d: Domain, pages: u32): bool {
  const state = mm();
  spin_lock(heap_lock());
  const others = state.outstanding_claims - d.outstanding_pages;
  const ok = pages <= state.free_frames && state.free_frames - pages >= others;
  if (ok) {
    state.outstanding_claims = others + pages;
    atomic.store<u32>(changetype<usize>(d) + offsetof<Domain>("outstanding_pages"), pages);
  }
  spin_unlock(heap_lock());
  return ok;
}
