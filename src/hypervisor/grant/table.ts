// A domain's grant table, version 1 (public/grant_table.h; Xen's grant_table.c). The shared frames are Xen heap pages
// that the guest maps; what of them is in use is kept in active entries, which the guest cannot reach. Handles of what
// the domain itself has mapped are in its maptrack (maptrack.ts).
import { ERRNO, GrantEntryV1, GTF } from "../abi";
import { Domain, is_null } from "../domain";
import { spin_lock, spin_lock_init, spin_unlock } from "../spinlock";
import { alloc_xenheap_page, alloc_xenheap_pages, free_xenheap_page, free_xenheap_pages, xfree, xzalloc } from "../mm/heap";
import { share_xen_page_with_guest, unshare_xen_page } from "../mm/domain";
import { virt_to_mfn } from "../mm/frame";

/** Entries in a shared frame. */
const PER_FRAME: u32 = 4096 / <u32>GrantEntryV1.SIZE;
const PER_FRAME_SHIFT: u32 = 9;
/** What a domain gets at creation. */
const INITIAL_FRAMES: u32 = 1;
/** Limits that a toolstack's numbers are held to. */
const MAX_GRANT_FRAMES: u32 = 4096;
const MAX_MAPTRACK_FRAMES: u32 = 16384;

@unmanaged
export class GrantTable {
  /** Guards all but maptrack; never held with another table's lock. */
  lock: u64;
  /** Guards the maptrack. */
  maptrack_lock: u64;
  version: u32;
  nr_frames: u32;
  max_frames: u32;
  /** u32[max_frames]: addresses of the shared frames, and of their active entries. */
  shared: usize;
  active: usize;
  max_maptrack_frames: u32;
  /** u32[max_maptrack_frames]: addresses of the maptrack's pages. */
  maptrack: usize;
  maptrack_frames: u32;
  /** First free handle + 1; 0: none. */
  maptrack_free: u32;
  /** Where grant_table_relinquish goes on. */
  relinquish_handle: u32;
}

/** State of a grant that is in use. */
@unmanaged
export class ActiveEntry {
  /** GNTPIN_*: four counters of 8 bits. 0: not in use. */
  pin: u32;
  /** Who uses it, and the frame; meaningful while pin is not 0. */
  domid: u32;
  mfn: u32;
  pad: u32;
}
const ACTIVE_SHIFT: u32 = 4;
/** log2 of the pages of the active entries of one shared frame. */
const ACTIVE_ORDER: u32 = 1;

/** ActiveEntry.pin: uses by host mappings that write and read, and by device mappings. */
export const GNTPIN_hstw_inc: u32 = 1;
export const GNTPIN_hstw_mask: u32 = 0xff;
export const GNTPIN_hstr_inc: u32 = 1 << 8;
export const GNTPIN_devw_inc: u32 = 1 << 16;
export const GNTPIN_devw_mask: u32 = 0xff << 16;
export const GNTPIN_devr_inc: u32 = 1 << 24;
/** A counter is half full: no more uses. */
export const GNTPIN_overflow: u32 = 0x8080_8080;

// @ts-ignore: decorator
@inline
export function table_of(d: Domain): GrantTable {
  return changetype<GrantTable>(d.grant_table);
}

export function gt_lock(gt: GrantTable): void {
  spin_lock(changetype<usize>(gt) + offsetof<GrantTable>("lock"));
}
export function gt_unlock(gt: GrantTable): void {
  spin_unlock(changetype<usize>(gt) + offsetof<GrantTable>("lock"));
}

/** References that exist. */
export function nr_grant_entries(gt: GrantTable): u32 {
  return gt.nr_frames << PER_FRAME_SHIFT;
}

/** Address of the shared entry of a valid reference. */
export function shared_entry(gt: GrantTable, ref: u32): usize {
  return load<u32>(gt.shared + ((ref >> PER_FRAME_SHIFT) << 2)) + (ref & (PER_FRAME - 1)) * <u32>GrantEntryV1.SIZE;
}

export function active_entry(gt: GrantTable, ref: u32): ActiveEntry {
  return changetype<ActiveEntry>(load<u32>(gt.active + ((ref >> PER_FRAME_SHIFT) << 2)) + ((ref & (PER_FRAME - 1)) << ACTIVE_SHIFT));
}

export function shared_frame_mfn(gt: GrantTable, frame: u32): u32 {
  return virt_to_mfn(load<u32>(gt.shared + (frame << 2)));
}

/**
 * Makes the table have `frames` frames at least. No lock is held (new pages may have to be flushed from TLBs first).
 * False: beyond its maximum, or no memory.
 */
export function gnttab_grow_table(d: Domain, frames: u32): bool {
  const gt = table_of(d);
  if (frames > gt.max_frames) return false;
  while (gt.nr_frames < frames) {
    if (d.is_dying != 0) return false;
    const shared = alloc_xenheap_page();
    const active = alloc_xenheap_pages(ACTIVE_ORDER);
    gt_lock(gt);
    const wanted = shared != 0 && active != 0 && gt.nr_frames < frames;
    if (wanted) {
      share_xen_page_with_guest(shared, d);
      store<u32>(gt.shared + (gt.nr_frames << 2), shared);
      store<u32>(gt.active + (gt.nr_frames << 2), active);
      gt.nr_frames++;
    }
    gt_unlock(gt);
    if (wanted) continue;
    free_xenheap_page(shared);
    free_xenheap_pages(active, ACTIVE_ORDER);
    if (shared == 0 || active == 0) return false;
  }
  return true;
}

/** A new domain's table; limits are Domain.max_grant_frames and max_maptrack_frames. 0 or -ENOMEM. */
export function grant_table_create(d: Domain): i32 {
  const gt = changetype<GrantTable>(xzalloc(offsetof<GrantTable>()));
  if (is_null(gt)) return -<i32>ERRNO.ENOMEM;
  d.grant_table = changetype<usize>(gt);
  spin_lock_init(changetype<usize>(gt) + offsetof<GrantTable>("lock"), "grant table");
  spin_lock_init(changetype<usize>(gt) + offsetof<GrantTable>("maptrack_lock"), "maptrack");
  gt.version = 1;
  gt.max_frames = max<u32>(min<u32>(d.max_grant_frames, MAX_GRANT_FRAMES), INITIAL_FRAMES);
  gt.max_maptrack_frames = min<u32>(d.max_maptrack_frames, MAX_MAPTRACK_FRAMES);
  gt.shared = xzalloc(gt.max_frames << 2);
  gt.active = xzalloc(gt.max_frames << 2);
  gt.maptrack = xzalloc(gt.max_maptrack_frames << 2);
  if (gt.shared == 0 || gt.active == 0 || gt.maptrack == 0 || !gnttab_grow_table(d, INITIAL_FRAMES)) {
    unshare_frames(d);
    grant_table_destroy(d);
    return -<i32>ERRNO.ENOMEM;
  }
  return 0;
}

/** The domain loses its shared frames; the hypervisor keeps them for as long as others use grants. */
export function unshare_frames(d: Domain): void {
  const gt = table_of(d);
  for (let i: u32 = 0; i < gt.nr_frames; i++) unshare_xen_page(load<u32>(gt.shared + (i << 2)), d);
}

/** The last reference on the domain is gone (after grant_table_relinquish): frees everything. */
export function grant_table_destroy(d: Domain): void {
  const gt = table_of(d);
  if (is_null(gt)) return;
  for (let i: u32 = 0; i < gt.nr_frames; i++) {
    free_xenheap_page(load<u32>(gt.shared + (i << 2)));
    free_xenheap_pages(load<u32>(gt.active + (i << 2)), ACTIVE_ORDER);
  }
  for (let i: u32 = 0; i < gt.maptrack_frames; i++) free_xenheap_page(load<u32>(gt.maptrack + (i << 2)));
  xfree(gt.shared);
  xfree(gt.active);
  xfree(gt.maptrack);
  xfree(changetype<usize>(gt));
  d.grant_table = 0;
}

/** Clears GTF_reading or GTF_writing in a shared entry. */
export function gnttab_clear_flag(entry: usize, flag: u32): void {
  atomic.and<u16>(entry + GrantEntryV1.flags, <u16>~flag);
}

/** The status flags follow the pins of a grant from which a use was taken. gt.lock is held. */
export function update_status(gt: GrantTable, ref: u32): void {
  const act = active_entry(gt, ref);
  const entry = shared_entry(gt, ref);
  if (!(act.pin & (GNTPIN_hstw_mask | GNTPIN_devw_mask))) gnttab_clear_flag(entry, GTF.writing);
  if (act.pin == 0) gnttab_clear_flag(entry, GTF.reading);
}
