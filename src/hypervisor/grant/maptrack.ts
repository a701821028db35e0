// Maptrack: what a domain has mapped of others' grants, by handle. Entries are 16 bytes in pages that are added as
// needed, up to the domain's limit.
import { spin_lock, spin_unlock } from "../spinlock";
import { alloc_xenheap_page, free_xenheap_page } from "../mm/heap";
import { GrantTable } from "./table";

@unmanaged
export class Maptrack {
  /** Reference in the granting domain's table; of a free entry: next free handle + 1. */
  ref: u32;
  domid: u32;
  /** GNTMAP_* of the mappings that are left; 0: free. */
  flags: u32;
  /** Frame that was mapped. */
  mfn: u32;
}
const PER_PAGE: u32 = 256;
const PAGE_SHIFT: u32 = 8;
const ENTRY_SHIFT: u32 = 4;

export const MAPTRACK_INVALID: u32 = 0xffff_ffff;

function lock_of(gt: GrantTable): usize {
  return changetype<usize>(gt) + offsetof<GrantTable>("maptrack_lock");
}

/** The entry of a handle below maptrack_limit. */
export function maptrack_entry(gt: GrantTable, handle: u32): Maptrack {
  return changetype<Maptrack>(load<u32>(gt.maptrack + ((handle >> PAGE_SHIFT) << 2)) + ((handle & (PER_PAGE - 1)) << ENTRY_SHIFT));
}

export function maptrack_limit(gt: GrantTable): u32 {
  return atomic.load<u32>(changetype<usize>(gt) + offsetof<GrantTable>("maptrack_frames")) << PAGE_SHIFT;
}

/** A free handle, or MAPTRACK_INVALID: the domain has no more. */
export function get_maptrack_handle(gt: GrantTable): u32 {
  let page: usize = 0;
  if (gt.maptrack_free == 0 && gt.maptrack_frames < gt.max_maptrack_frames) page = alloc_xenheap_page();
  spin_lock(lock_of(gt));
  if (page != 0 && gt.maptrack_free == 0 && gt.maptrack_frames < gt.max_maptrack_frames) {
    add_page(gt, page);
    page = 0;
  }
  const handle = gt.maptrack_free - 1;
  if (gt.maptrack_free != 0) gt.maptrack_free = maptrack_entry(gt, handle).ref;
  spin_unlock(lock_of(gt));
  // Another CPU was faster.
  free_xenheap_page(page);
  return handle;
}

/** Makes a page free entries. The lock is held. */
function add_page(gt: GrantTable, page: usize): void {
  const n = gt.maptrack_frames;
  store<u32>(gt.maptrack + (n << 2), page);
  for (let i: u32 = 0; i < PER_PAGE; i++) {
    const e = changetype<Maptrack>(page + (i << ENTRY_SHIFT));
    e.ref = i + 1 < PER_PAGE ? (n << PAGE_SHIFT) + i + 2 : 0;
  }
  gt.maptrack_free = (n << PAGE_SHIFT) + 1;
  atomic.store<u32>(changetype<usize>(gt) + offsetof<GrantTable>("maptrack_frames"), n + 1);
}

export function put_maptrack_handle(gt: GrantTable, handle: u32): void {
  const e = maptrack_entry(gt, handle);
  spin_lock(lock_of(gt));
  e.flags = 0;
  e.ref = gt.maptrack_free;
  gt.maptrack_free = handle + 1;
  spin_unlock(lock_of(gt));
}
