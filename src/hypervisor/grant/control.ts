// GNTTABOP_setup_table, query_size, swap_grant_ref.
import { GNTST, GnttabQuerySize, GnttabSetupTable, GnttabSwapGrantRef } from "../abi";
import { is_null } from "../domain";
import { put_domain } from "../domain_list";
import { copy_to_guest } from "../guest";
import { current } from "../percpu";
import { mfn_to_gfn } from "../mm/p2m";
import { get_any_domain, xsm_target } from "../mm/privilege";
import { mm_scratch, SCRATCH_WORD } from "../mm/scratch";
import {
  active_entry, gnttab_grow_table, gt_lock, gt_unlock, nr_grant_entries, shared_entry, shared_entry_size, shared_frame_mfn, status_word,
  table_of,
} from "./table";

export function setup_table(op: usize): void {
  store<i16>(op, <i16>setup(op), GnttabSetupTable.status);
}

function setup(op: usize): i32 {
  const d = get_any_domain(load<u16>(op, GnttabSetupTable.dom));
  if (is_null(d)) return GNTST.bad_domain;
  const frames = load<u32>(op, GnttabSetupTable.nr_frames);
  const list = load<u64>(op, GnttabSetupTable.frame_list);
  let rc: i32 = GNTST.okay;
  if (xsm_target(d) != 0) rc = GNTST.permission_denied;
  else if (d.grant_table == 0) rc = GNTST.bad_domain;
  else {
    const gt = table_of(d);
    if (!gnttab_grow_table(d, frames)) rc = GNTST.general_error;
    const word = mm_scratch(SCRATCH_WORD);
    for (let i: u32 = 0; rc == GNTST.okay && i < frames; i++) {
      store<u64>(word, mfn_to_gfn(d, shared_frame_mfn(gt, i)));
      if (copy_to_guest(list + (<u64>i << 3), word, 8) != 0) rc = GNTST.bad_virt_addr;
    }
  }
  put_domain(d);
  return rc;
}

export function query_size(op: usize): void {
  const d = get_any_domain(load<u16>(op, GnttabQuerySize.dom));
  let rc: i32 = GNTST.okay;
  if (is_null(d)) rc = GNTST.bad_domain;
  else {
    if (xsm_target(d) != 0) rc = GNTST.permission_denied;
    else if (d.grant_table == 0) rc = GNTST.bad_domain;
    else {
      store<u32>(op, table_of(d).nr_frames, GnttabQuerySize.nr_frames);
      store<u32>(op, table_of(d).max_frames, GnttabQuerySize.max_nr_frames);
    }
    put_domain(d);
  }
  store<i16>(op, <i16>rc, GnttabQuerySize.status);
}

export function swap_grant_ref(op: usize): void {
  store<i16>(op, <i16>swap(load<u32>(op, GnttabSwapGrantRef.ref_a), load<u32>(op, GnttabSwapGrantRef.ref_b)), GnttabSwapGrantRef.status);
}

/** Entries of 8 or 16 bytes, or status words of 2. */
function swap_bytes(a: usize, b: usize, n: u32): void {
  const old = mm_scratch(SCRATCH_WORD);
  memory.copy(old, a, n);
  memory.copy(a, b, n);
  memory.copy(b, old, n);
}

function swap(a: u32, b: u32): i32 {
  const gt = table_of(current.domain);
  let rc: i32 = GNTST.okay;
  gt_lock(gt);
  const n = nr_grant_entries(gt);
  if (a >= n || b >= n) rc = GNTST.bad_gntref;
  else if (a != b) {
    if (active_entry(gt, a).pin != 0 || active_entry(gt, b).pin != 0) rc = GNTST.eagain;
    else {
      swap_bytes(shared_entry(gt, a), shared_entry(gt, b), shared_entry_size(gt));
      if (gt.version != 1) swap_bytes(status_word(gt, a), status_word(gt, b), 2);
    }
  }
  gt_unlock(gt);
  return rc;
}
