// Type references: while a frame has one, it can be used as that type only (Xen's get_page_type, put_page_type). The
// first reference to a type whose contents matter checks them; page-table types then hold references on what their
// entries name (page_table.ts). A caller holds a reference on the frame first.
//
// A frame with a count but without PGT_validated is being checked or taken apart by one CPU; the others wait. That
// cannot deadlock: a check waits only for tables of a lower level (linear page tables are never waited for).
//
// Both can take long, so the forms named _preemptible may stop in between with -ERESTART (docs/decisions/0011). The table
// then has PGT_partial, a count of 1 and a reference of its own, and PageInfo.progress says how many of its entries hold
// theirs. Any CPU may go on, in either direction:
//
// - PGT_partial alone: a check was stopped. Its count is nobody's; whoever takes up the check gets it.
// - with PGT_partial_put: the count is still that of the one who was dropping it, and who comes back to do so.
import { ERRNO } from "../abi";
import { is_null, Domain } from "../domain";
import { hypercall_preempt_check } from "../hypercalls/continuation";
import { panic } from "../log";
import {
  page_to_mfn, PageInfo, PGT_count_mask, PGT_l1_page_table, PGT_l4_page_table, PGT_locked, PGT_none, PGT_partial, PGT_partial_put,
  PGT_pinned, PGT_seg_desc_page, PGT_shared_page, PGT_type_mask, PGT_validated, PGT_writable_page, type_info_of,
} from "./frame";
import { get_page_light, get_page_from_mfn, put_page } from "./page";
import { validate_seg_desc_page } from "./seg_desc";
import { demote_page_table, promote_page_table } from "./page_table";
import { ALL_ENTRIES, has_failed } from "./progress";
import { await_walks, frame_lost_writable } from "./tlbflush";

const RESTART: i32 = -<i32>ERRNO.ERESTART;
const INVALID: i32 = -<i32>ERRNO.EINVAL;

// @ts-ignore: decorator
@inline
function is_table(type: u32): bool {
  return type >= PGT_l1_page_table && type <= PGT_l4_page_table;
}

/** Takes a reference of `type`. -EINVAL: in use as another type, or its contents do not pass. */
export function get_page_type(pg: PageInfo, type: u32): i32 {
  return get_type(pg, type, false);
}

/** The same; -ERESTART: something else is due, nothing is taken, and the next call goes on. */
export function get_page_type_preemptible(pg: PageInfo, type: u32): i32 {
  return get_type(pg, type, true);
}

export function get_type(pg: PageInfo, type: u32, preemptible: bool): i32 {
  const at = type_info_of(pg);
  let x = atomic.load<u32>(at);
  let nx: u32;
  for (;;) {
    nx = x + 1;
    if ((nx & PGT_count_mask) == 0) return INVALID;
    if ((x & PGT_count_mask) == 0) {
      // An HVM container's page tables are its own affair, and writable.
      if (type < PGT_shared_page && pg.owner.is_hvm) return INVALID;
      if ((x & PGT_type_mask) != type) nx = (nx & ~(PGT_type_mask | PGT_validated)) | type;
    } else if ((x & PGT_type_mask) != type) {
      return INVALID;
    } else if (!(x & PGT_validated)) {
      // Tables of a dying domain are only taken apart (relinquish.ts).
      if (pg.owner.is_dying != 0) return INVALID;
      if (!(x & PGT_partial)) {
        // Another CPU is at it: wait.
        if (preemptible && hypercall_preempt_check()) return RESTART;
        x = atomic.load<u32>(at);
        continue;
      }
      nx = (x & PGT_partial_put ? nx : x) & ~(PGT_partial | PGT_partial_put);
    }
    const y = atomic.cmpxchg<u32>(at, x, nx);
    if (y == x) break;
    x = y;
  }
  if (nx & PGT_validated) return 0;
  // The frame is ours alone until PGT_validated or PGT_partial is set, or the reference dropped.
  const was = x & PGT_type_mask;
  if (was == PGT_writable_page && type != PGT_writable_page) frame_lost_writable(page_to_mfn(pg));
  if (is_table(was) && type != was) await_walks(pg);
  if (is_table(type)) return check_table(pg, type, (x & PGT_partial) != 0, preemptible);
  if (type == PGT_seg_desc_page) {
    const rc = validate_seg_desc_page(page_to_mfn(pg));
    if (rc != 0) {
      atomic.store<u32>(at, PGT_none);
      return rc;
    }
  }
  atomic.or<u32>(at, PGT_validated);
  return 0;
}

/** Checks a table, or goes on with that. */
function check_table(pg: PageInfo, type: u32, resumed: bool, preemptible: bool): i32 {
  if (!resumed) {
    pg.linear_pt_count = 0;
    pg.progress = 0;
  }
  let rc: i32 = INVALID;
  if (!has_failed(pg)) rc = promote_page_table(pg, type, preemptible);
  if (rc == 0) atomic.or<u32>(type_info_of(pg), PGT_validated);
  else {
    // What was taken for the entries before the bad one is dropped again.
    if (rc != RESTART && demote_page_table(pg, type, preemptible) == RESTART) rc = RESTART;
    suspend_check(pg, rc == RESTART, resumed);
    if (rc == RESTART) return rc;
  }
  if (resumed) put_page(pg);
  return rc;
}

/**
 * The check ends without the type: for now (`partial`), or for good. Somebody may hold on to the count that a resumed
 * table had, to drop it later; else ours is the only one. The table's own reference is there afterwards if it is partial
 * (`has_reference`: it was before).
 */
function suspend_check(pg: PageInfo, partial: bool, has_reference: bool): void {
  const at = type_info_of(pg);
  // Not dropped by anybody before it is partial.
  if (partial && !has_reference) get_page_light(pg);
  let x = atomic.load<u32>(at);
  for (;;) {
    let nx: u32 = PGT_none;
    if ((x & PGT_count_mask) > 1) nx = (x - 1) | PGT_partial | PGT_partial_put;
    else if (partial) nx = x | PGT_partial;
    const y = atomic.cmpxchg<u32>(at, x, nx);
    if (y == x) {
      // Without the type, a table that its putter still names needs a reference of its own as well.
      if (!partial && (nx & PGT_partial) != 0) get_page_light(pg);
      return;
    }
    x = y;
  }
}

/** Drops a type reference. A page table that loses its last one drops the references that its entries hold. */
export function put_page_type(pg: PageInfo): void {
  put_type(pg, false);
}

/** The same; -ERESTART: something else is due; the reference is still held, and the next call goes on. */
export function put_page_type_preemptible(pg: PageInfo): i32 {
  return put_type(pg, true);
}

export function put_type(pg: PageInfo, preemptible: bool): i32 {
  const at = type_info_of(pg);
  let x = atomic.load<u32>(at);
  for (;;) {
    const nx = x - 1;
    if ((x & PGT_count_mask) == 0) panic("type count of a frame below zero");
    const left = nx & (PGT_count_mask | PGT_locked);
    if (left == 0 && is_table(x & PGT_type_mask) && (x & (PGT_validated | PGT_partial)) != 0) {
      // The last reference stays while the table is taken apart, without PGT_validated: nobody else gets one.
      const y = atomic.cmpxchg<u32>(at, x, x & ~(PGT_validated | PGT_partial | PGT_partial_put));
      if (y == x) return take_apart(pg, (x & PGT_partial) != 0, preemptible);
      x = y;
      continue;
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
  return 0;
}

/** The last type reference goes, which is the caller's. */
function take_apart(pg: PageInfo, resumed: bool, preemptible: bool): i32 {
  const at = type_info_of(pg);
  if (!resumed) pg.progress = ALL_ENTRIES;
  if (demote_page_table(pg, atomic.load<u32>(at) & PGT_type_mask, preemptible) == RESTART) {
    if (!resumed) get_page_light(pg);
    atomic.or<u32>(at, PGT_partial | PGT_partial_put);
    return RESTART;
  }
  atomic.sub<u32>(at, 1);
  if (resumed) put_page(pg);
  return 0;
}

/**
 * For the owner's end: takes a table that is still valid, or partly so, apart while others hold type references, which
 * then go without doing so again.
 */
export function invalidate_table(pg: PageInfo): void {
  const at = type_info_of(pg);
  let x = atomic.load<u32>(at);
  for (;;) {
    const type = x & PGT_type_mask;
    if (!is_table(type) || !(x & (PGT_validated | PGT_partial)) || (x & PGT_count_mask) == 0) return;
    const y = atomic.cmpxchg<u32>(at, x, x & ~(PGT_validated | PGT_partial | PGT_partial_put));
    if (y == x) {
      if (x & PGT_validated) pg.progress = ALL_ENTRIES;
      demote_page_table(pg, type, false);
      if (!(x & PGT_partial)) return;
      if (!(x & PGT_partial_put)) atomic.sub<u32>(at, 1);
      put_page(pg);
      return;
    }
    x = y;
  }
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

/** The same for a table: 0, -EINVAL, or -ERESTART to be called again. */
export function get_table_from_mfn(mfn: u64, type: u32, d: Domain): i32 {
  const pg = get_page_from_mfn(mfn, d);
  if (is_null(pg)) return INVALID;
  const rc = get_type(pg, type, true);
  if (rc != 0) put_page(pg);
  return rc;
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
