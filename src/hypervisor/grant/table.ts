// A domain's grant table, versions 1 and 2 (public/grant_table.h; Xen's grant_table.c). The shared frames are Xen heap
// pages that the guest maps; what of them is in use is kept in active entries, which the guest cannot reach. In version 2
// the marks of a use (GTF_reading, GTF_writing) are not in the shared entry but in status frames, which are the guest's
// as well. Handles of what the domain itself has mapped are in its maptrack (maptrack.ts).
import { ERRNO, GrantEntryV1, GrantEntryV2, GTF, XENMAPIDX_grant_table_status } from "../abi";
import { Domain, is_null } from "../domain";
import { LOCK_grant_table, LOCK_maptrack } from "../locks";
import { spin_lock, spin_lock_init, spin_unlock } from "../spinlock";
import { alloc_xenheap_page, alloc_xenheap_pages, free_xenheap_page, free_xenheap_pages, xfree, xzalloc } from "../mm/heap";
import { share_xen_page_with_guest, unshare_xen_page } from "../mm/domain";
import { count_info_of, mfn_to_page, PageInfo, PGC_count_mask, virt_to_mfn } from "../mm/frame";
import { p2m_forget_frame, paging_mode_translate } from "../mm/p2m";
import { get_page, put_page } from "../mm/page";

/** log2 of the entries in a shared frame of either version, and of the status words (u16) in a status frame. */
const V1_SHIFT: u32 = 9;
const V2_SHIFT: u32 = 8;
const STATUS_SHIFT: u32 = 11;
/** log2 of the shared frames that one status frame is for. */
const STATUS_FRAME_SHIFT: u32 = STATUS_SHIFT - V2_SHIFT;
/** What a domain gets at creation. */
const INITIAL_FRAMES: u32 = 1;
/** Limits that a toolstack's numbers are held to. */
const MAX_GRANT_FRAMES: u32 = 4096;
const MAX_MAPTRACK_FRAMES: u32 = 16384;

@unmanaged
export class GrantTable {
  /** Guards all but maptrack; never held with another table's lock. page_alloc_lock nests inside. */
  lock: u64;
  /** Guards the maptrack. */
  maptrack_lock: u64;
  /** 1 or 2, and the highest it may be. */
  version: u32;
  max_version: u32;
  nr_frames: u32;
  max_frames: u32;
  /** Status frames; none in version 1. */
  nr_status_frames: u32;
  /** u32[max_frames]: addresses of the shared frames, and of their active entries. */
  shared: usize;
  active: usize;
  /** u32[to_status_frames(max_frames)]: addresses of the status frames. */
  status: usize;
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
  /** GNTPIN_*: four counters of 8 bits. 0: not in use; the rest is meaningful while it is not. */
  pin: u32;
  /** Who uses it. */
  domid: u32;
  mfn: u32;
  /** Bytes of the page that are granted. */
  start: u16;
  length: u16;
  /** Only copies may use it: not the whole page, or another domain's by a transitive grant. */
  is_sub_page: u32;
  /** Whose page it is by which grant of theirs: the granting domain and the reference itself but for transitive grants. */
  trans_domid: u32;
  trans_ref: u32;
  pad: u32;
}
const ACTIVE_SHIFT: u32 = 5;
/** Active entries of one shared frame: as many as version 1 has references in it. log2 of their pages. */
const ACTIVE_ORDER: u32 = 2;

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
  return gt.nr_frames << (gt.version == 1 ? V1_SHIFT : V2_SHIFT);
}

/**
 * Address of the shared entry of a valid reference: flags (u16) and domid (u16) in both versions, then what the version
 * has (GrantEntryV1, GrantEntryV2).
 */
export function shared_entry(gt: GrantTable, ref: u32): usize {
  if (gt.version == 1) return entry_in(gt, ref, V1_SHIFT, <u32>GrantEntryV1.SIZE);
  return entry_in(gt, ref, V2_SHIFT, <u32>GrantEntryV2.SIZE);
}

// @ts-ignore: decorator
@inline
function entry_in(gt: GrantTable, ref: u32, shift: u32, size: u32): usize {
  return load<u32>(gt.shared + ((ref >> shift) << 2)) + (ref & ((1 << shift) - 1)) * size;
}

/** Bytes of a shared entry. */
export function shared_entry_size(gt: GrantTable): u32 {
  return gt.version == 1 ? <u32>GrantEntryV1.SIZE : <u32>GrantEntryV2.SIZE;
}

/** Address of the u16 that has GTF_reading and GTF_writing of a valid reference. */
export function status_word(gt: GrantTable, ref: u32): usize {
  if (gt.version == 1) return entry_in(gt, ref, V1_SHIFT, <u32>GrantEntryV1.SIZE);
  return load<u32>(gt.status + ((ref >> STATUS_SHIFT) << 2)) + ((ref & ((1 << STATUS_SHIFT) - 1)) << 1);
}

/** The frame that a shared entry names, as the guest wrote it. */
export function shared_entry_frame(gt: GrantTable, entry: usize): u64 {
  return gt.version == 1 ? <u64>atomic.load<u32>(entry + GrantEntryV1.frame) : atomic.load<u64>(entry + GrantEntryV2.frame);
}

export function active_entry(gt: GrantTable, ref: u32): ActiveEntry {
  const frame = ref >> V1_SHIFT;
  return changetype<ActiveEntry>(load<u32>(gt.active + (frame << 2)) + ((ref & ((1 << V1_SHIFT) - 1)) << ACTIVE_SHIFT));
}

/** Status frames that `frames` shared frames need. */
export function to_status_frames(frames: u32): u32 {
  return (frames + (1 << STATUS_FRAME_SHIFT) - 1) >> STATUS_FRAME_SHIFT;
}

export function status_frame_mfn(gt: GrantTable, frame: u32): u32 {
  return virt_to_mfn(load<u32>(gt.status + (frame << 2)));
}

export function shared_frame_mfn(gt: GrantTable, frame: u32): u32 {
  return virt_to_mfn(load<u32>(gt.shared + (frame << 2)));
}

/**
 * Makes the table have `frames` shared frames at least, and in version 2 the status frames for them. No lock is held (new
 * pages may have to be flushed from TLBs first). False: beyond its maximum, or no memory.
 */
export function gnttab_grow_table(d: Domain, frames: u32): bool {
  const gt = table_of(d);
  if (frames > gt.max_frames) return false;
  while (gt.nr_frames < frames) {
    if (d.is_dying != 0) return false;
    // Version 2 has no reference without its status word, at any time.
    if (gt.version != 1 && gt.nr_status_frames < to_status_frames(gt.nr_frames + 1) && !add_status_frame(d)) return false;
    if (!add_shared_frame(d, frames)) return false;
  }
  return true;
}

/** One more, if there are fewer than `frames` when the lock is held, and there is a status frame for it. False: no memory. */
function add_shared_frame(d: Domain, frames: u32): bool {
  const gt = table_of(d);
  const shared = alloc_xenheap_page();
  const active = alloc_xenheap_pages(ACTIVE_ORDER);
  gt_lock(gt);
  let wanted = shared != 0 && active != 0 && gt.nr_frames < frames;
  if (gt.version != 1 && to_status_frames(gt.nr_frames + 1) > gt.nr_status_frames) wanted = false;
  if (wanted) {
    share_xen_page_with_guest(shared, d);
    store<u32>(gt.shared + (gt.nr_frames << 2), shared);
    store<u32>(gt.active + (gt.nr_frames << 2), active);
    gt.nr_frames++;
  }
  gt_unlock(gt);
  if (wanted) return true;
  free_xenheap_page(shared);
  free_xenheap_pages(active, ACTIVE_ORDER);
  return shared != 0 && active != 0;
}

/** One more status frame, unless there are enough. No lock is held. False: no memory. */
export function add_status_frame(d: Domain): bool {
  const gt = table_of(d);
  const page = alloc_xenheap_page();
  gt_lock(gt);
  const wanted = page != 0 && gt.nr_status_frames < to_status_frames(gt.max_frames);
  if (wanted) {
    share_xen_page_with_guest(page, d);
    store<u32>(gt.status + (gt.nr_status_frames << 2), page);
    gt.nr_status_frames++;
  }
  gt_unlock(gt);
  if (!wanted) free_xenheap_page(page);
  return page != 0;
}

/**
 * The domain has no status frames any more. The table's lock is held; false, and nothing changed: one is mapped. A translated
 * domain's TLBs are to be flushed afterwards.
 */
export function drop_status_frames(d: Domain): bool {
  const gt = table_of(d);
  for (let i: u32 = 0; i < gt.nr_status_frames; i++) {
    // The domain's own reference only.
    const pg = mfn_to_page(status_frame_mfn(gt, i));
    if ((atomic.load<u32>(count_info_of(pg)) & PGC_count_mask) != 1) return false;
  }
  for (let i: u32 = 0; i < gt.nr_status_frames; i++) {
    const page = load<u32>(gt.status + (i << 2));
    const pg = mfn_to_page(virt_to_mfn(page));
    // A mapping that another vCPU makes just now keeps its page until it ends; it cannot get a gfn any more.
    const held = paging_mode_translate(d) && get_page(pg, d);
    unshare_xen_page(page, d);
    if (held) {
      p2m_forget_frame(d, virt_to_mfn(page));
      put_page(pg);
    }
    free_xenheap_page(page);
  }
  gt.nr_status_frames = 0;
  return true;
}

/**
 * Frame `idx` of the domain's table, or with XENMAPIDX_grant_table_status in it of its status frames, with a reference; the
 * table grows for it. Null: there is none such.
 */
export function gnttab_get_frame(d: Domain, idx: u64): PageInfo {
  const none = changetype<PageInfo>(0);
  const gt = table_of(d);
  if (is_null(gt) || idx >> 32 != 0) return none;
  const status = gt.version != 1 && (<u32>idx & XENMAPIDX_grant_table_status) != 0;
  const i = status ? <u32>idx & ~XENMAPIDX_grant_table_status : <u32>idx;
  if (i >= (status ? to_status_frames(gt.max_frames) : gt.max_frames)) return none;
  if (!gnttab_grow_table(d, status ? min<u32>((i + 1) << STATUS_FRAME_SHIFT, gt.max_frames) : i + 1)) return none;
  gt_lock(gt);
  // The version may have changed.
  const have = status ? i < gt.nr_status_frames : i < gt.nr_frames;
  const pg = have ? mfn_to_page(status ? status_frame_mfn(gt, i) : shared_frame_mfn(gt, i)) : none;
  const held = !is_null(pg) && get_page(pg, d);
  gt_unlock(gt);
  return held ? pg : none;
}

/** A new domain's table; limits are Domain.max_grant_frames and max_maptrack_frames. 0 or -ENOMEM. */
export function grant_table_create(d: Domain): i32 {
  const gt = changetype<GrantTable>(xzalloc(offsetof<GrantTable>()));
  if (is_null(gt)) return -<i32>ERRNO.ENOMEM;
  d.grant_table = changetype<usize>(gt);
  spin_lock_init(changetype<usize>(gt) + offsetof<GrantTable>("lock"), LOCK_grant_table);
  spin_lock_init(changetype<usize>(gt) + offsetof<GrantTable>("maptrack_lock"), LOCK_maptrack);
  gt.version = 1;
  gt.max_version = d.max_grant_version;
  gt.max_frames = max<u32>(min<u32>(d.max_grant_frames, MAX_GRANT_FRAMES), INITIAL_FRAMES);
  gt.max_maptrack_frames = min<u32>(d.max_maptrack_frames, MAX_MAPTRACK_FRAMES);
  gt.shared = xzalloc(gt.max_frames << 2);
  gt.active = xzalloc(gt.max_frames << 2);
  gt.status = xzalloc(to_status_frames(gt.max_frames) << 2);
  gt.maptrack = xzalloc(gt.max_maptrack_frames << 2);
  if (gt.shared == 0 || gt.active == 0 || gt.status == 0 || gt.maptrack == 0 || !gnttab_grow_table(d, INITIAL_FRAMES)) {
    unshare_frames(d);
    grant_table_destroy(d);
    return -<i32>ERRNO.ENOMEM;
  }
  return 0;
}

/** The domain loses its shared and status frames; the hypervisor keeps them for as long as others use grants. */
export function unshare_frames(d: Domain): void {
  const gt = table_of(d);
  for (let i: u32 = 0; i < gt.nr_frames; i++) unshare_xen_page(load<u32>(gt.shared + (i << 2)), d);
  for (let i: u32 = 0; i < gt.nr_status_frames; i++) unshare_xen_page(load<u32>(gt.status + (i << 2)), d);
}

/** The last reference on the domain is gone (after grant_table_relinquish): frees everything. */
export function grant_table_destroy(d: Domain): void {
  const gt = table_of(d);
  if (is_null(gt)) return;
  for (let i: u32 = 0; i < gt.nr_frames; i++) {
    free_xenheap_page(load<u32>(gt.shared + (i << 2)));
    free_xenheap_pages(load<u32>(gt.active + (i << 2)), ACTIVE_ORDER);
  }
  for (let i: u32 = 0; i < gt.nr_status_frames; i++) free_xenheap_page(load<u32>(gt.status + (i << 2)));
  for (let i: u32 = 0; i < gt.maptrack_frames; i++) free_xenheap_page(load<u32>(gt.maptrack + (i << 2)));
  xfree(gt.shared);
  xfree(gt.active);
  xfree(gt.status);
  xfree(gt.maptrack);
  xfree(changetype<usize>(gt));
  d.grant_table = 0;
}

/** The marks of a use follow the pins of a grant from which one was taken. gt.lock is held. */
export function update_status(gt: GrantTable, ref: u32): void {
  const act = active_entry(gt, ref);
  let gone: u32 = 0;
  if (!(act.pin & (GNTPIN_hstw_mask | GNTPIN_devw_mask))) gone |= GTF.writing;
  if (act.pin == 0) gone |= GTF.reading;
  if (gone != 0) atomic.and<u16>(status_word(gt, ref), <u16>~gone);
}
