// Type references: while a frame has one, it can be used as that type only (Xen's get_page_type, put_page_type). The
// first reference to a type whose contents matter checks them; page-table types then hold references on what their
// entries name (page_table.ts). A caller holds a reference on the frame first.
//
// A frame with a count but without PGT_validated is being checked or taken apart by one CPU; the others wait. That
// cannot deadlock: a check waits only for tables of a lower level (linear page tables are never waited for).
import { ERRNO } from "../abi";
import { is_null, Domain } from "../domain";
import { panic } from "../log";
import {
  page_to_mfn, PageInfo, PGT_count_mask, PGT_l1_page_table, PGT_l4_page_table, PGT_locked, PGT_none, PGT_pinned,
  PGT_seg_desc_page, PGT_type_mask, PGT_validated, PGT_writable_page, type_info_of,
} from "./frame";
import { get_page_from_mfn, put_page } from "./page";
import { validate_seg_desc_page } from "./seg_desc";
import { demote_page_table, promote_page_table } from "./page_table";
import { await_walks, frame_lost_writable } from "./tlbflush";
import { dec_linear_entries, dec_linear_uses } from "./linear";

// @ts-ignore: decorator
@inline
function is_table(type: u32): bool {
  return type >= PGT_l1_page_table && type <= PGT_l4_page_table;
}

/** Takes a reference of `type`. -EINVAL: in use as another type, or its contents do not pass. */
export function get_page_type(pg: PageInfo, type: u32): i32 {
  const at = type_info_of(pg);
  let x = atomic.load<u32>(at);
  let nx: u32;
  for (;;) {
    nx = x + 1;
    if ((nx & PGT_count_mask) == 0) return -<i32>ERRNO.EINVAL;
    if ((x & PGT_count_mask) == 0) {
      if ((x & PGT_type_mask) != type) nx = (nx & ~(PGT_type_mask | PGT_validated)) | type;
    } else if ((x & PGT_type_mask) != type) {
      return -<i32>ERRNO.EINVAL;
    } else if (!(x & PGT_validated)) {
      // Another CPU checks it: wait. Tables of a dying domain stay so for longer (relinquish.ts).
      if (pg.owner.is_dying != 0) return -<i32>ERRNO.EINVAL;
      x = atomic.load<u32>(at);
      continue;
    }
    const y = atomic.cmpxchg<u32>(at, x, nx);
    if (y == x) break;
    x = y;
  }
  if (nx & PGT_validated) return 0;
  // The frame is ours alone until PGT_validated is set, or the reference dropped.
  const was = x & PGT_type_mask;
  if (was == PGT_writable_page && type != PGT_writable_page) frame_lost_writable(page_to_mfn(pg));
  if (is_table(was) && type != was) await_walks(pg);
  let rc: i32 = 0;
  if (is_table(type)) {
    pg.linear_pt_count = 0;
    rc = promote_page_table(pg, type);
  } else if (type == PGT_seg_desc_page) {
    rc = validate_seg_desc_page(page_to_mfn(pg));
  }
  if (rc != 0) {
    // Untyped again. Only the pinned bit can be set by others meanwhile, and pinning needs a reference of ours.
    atomic.store<u32>(at, PGT_none);
    return rc;
  }
  atomic.or<u32>(at, PGT_validated);
  return 0;
}

/** Drops a type reference. A page table that loses its last one drops the references that its entries hold. */
export function put_page_type(pg: PageInfo): void {
  put_page_type_from(pg, changetype<PageInfo>(0));
}

/** The same; `ptpg` is the page table that held the reference, or null. */
export function put_page_type_from(pg: PageInfo, ptpg: PageInfo): void {
  const at = type_info_of(pg);
  let x = atomic.load<u32>(at);
  for (;;) {
    const nx = x - 1;
    if ((x & PGT_count_mask) == 0) panic("type count of a frame below zero");
    const left = nx & (PGT_count_mask | PGT_locked);
    if (left == 0 && is_table(x & PGT_type_mask) && (x & PGT_validated) != 0) {
      // The last reference stays while the table is taken apart, without PGT_validated: nobody else gets one.
      const y = atomic.cmpxchg<u32>(at, x, x & ~PGT_validated);
      if (y != x) {
        x = y;
        continue;
      }
      demote_page_table(pg, x & PGT_type_mask);
      drop_linear_use(pg, ptpg, x);
      atomic.sub<u32>(at, 1);
      return;
    }
    if (left == (PGT_locked | 1)) {
      // page_unlock cannot take a table apart: wait until the entry is written.
      x = atomic.load<u32>(at);
      continue;
    }
    const y = atomic.cmpxchg<u32>(at, x, nx);
    if (y == x) break;
    x = y;
  }
  drop_linear_use(pg, ptpg, x);
}

/** A table that was named by a table of its own level loses that use. */
function drop_linear_use(pg: PageInfo, ptpg: PageInfo, x: u32): void {
  if (is_null(ptpg)) return;
  const table = atomic.load<u32>(type_info_of(ptpg));
  if ((x & PGT_type_mask) != (table & PGT_type_mask)) return;
  dec_linear_uses(pg);
  dec_linear_entries(ptpg);
}

export function put_page_and_type(pg: PageInfo): void {
  put_page_type(pg);
  put_page(pg);
}

/** References on a frame of `d` and on its type. Null: none taken (-EINVAL in Xen's calls). */
export function get_page_and_type_from_mfn(mfn: u64, type: u32, d: Domain): PageInfo {
  const pg = get_page_from_mfn(mfn, d);
  if (is_null(pg)) return pg;
  if (get_page_type(pg, type) == 0) return pg;
  put_page(pg);
  return changetype<PageInfo>(0);
}

/** Locks a validated, typed page against changes of its entries by others. Takes a type reference. False: not typed. */
export function page_lock(pg: PageInfo): bool {
  const at = type_info_of(pg);
  let x = atomic.load<u32>(at);
  for (;;) {
    if (!(x & PGT_validated) || !(x & PGT_count_mask)) return false;
    const nx = (x + 1) | PGT_locked;
    if ((nx & PGT_count_mask) == 0) return false;
    if (x & PGT_locked) {
      x = atomic.load<u32>(at);
      continue;
    }
    const y = atomic.cmpxchg<u32>(at, x, nx);
    if (y == x) break;
    x = y;
  }
  return true;
}

/** Never the last type reference: put_page_type waits for the lock. */
export function page_unlock(pg: PageInfo): void {
  const at = type_info_of(pg);
  let x = atomic.load<u32>(at);
  for (;;) {
    const y = atomic.cmpxchg<u32>(at, x, (x - 1) & ~PGT_locked);
    if (y == x) return;
    x = y;
  }
}

/** Sets PGT_pinned; false if it was set. */
export function test_and_set_pinned(pg: PageInfo): bool {
  return !(atomic.or<u32>(type_info_of(pg), PGT_pinned) & PGT_pinned);
}

/** Clears PGT_pinned; false if it was clear. */
export function test_and_clear_pinned(pg: PageInfo): bool {
  return (atomic.and<u32>(type_info_of(pg), ~PGT_pinned) & PGT_pinned) != 0;
}

// @ts-ignore: decorator
@inline
export function page_type(pg: PageInfo): u32 {
  return atomic.load<u32>(type_info_of(pg)) & PGT_type_mask;
}
