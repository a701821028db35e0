// Uses of grants by copies: besides what can be mapped, parts of pages and, in version 2, transitive grants: references
// that pass on a grant which their domain has got from another (Xen's acquire_grant_for_copy).
import { GNTST, GrantEntryV2Transitive, GTF } from "../abi";
import { Domain, is_null } from "../domain";
import { get_domain_by_id, put_domain } from "../domain_list";
import { page_to_mfn } from "../mm/frame";
import { put_page } from "../mm/page";
import { GrantUse, may_pin, needs_status, pin_locked, set_status, unpin_grant } from "./status";
import {
  active_entry, ActiveEntry, GNTPIN_hstr_inc, GNTPIN_hstw_inc, GrantTable, gt_lock, gt_unlock, nr_grant_entries, shared_entry, table_of, update_status,
} from "./table";

/** Result of a try that another CPU has come across: to be made again, a bounded number of times. */
const RETRY: i32 = 1;
const MAX_TRIES: u32 = 64;

/**
 * Begins a copy's use of grant `ref` of `rd` by domain `domid`. No lock is held. GNTST_*; if it is okay, `use` is filled
 * in and release_grant_for_copy ends the use.
 */
export function acquire_grant_for_copy(rd: Domain, ref: u32, domid: u32, readonly: bool, use: GrantUse): i32 {
  let rc = RETRY;
  for (let i: u32 = 0; rc == RETRY && i < MAX_TRIES; i++) rc = acquire(rd, ref, domid, readonly, use, true);
  return rc == RETRY ? GNTST.general_error : rc;
}

function acquire(rd: Domain, ref: u32, domid: u32, readonly: bool, use: GrantUse, allow_transitive: bool): i32 {
  if (rd.grant_table == 0) return GNTST.bad_domain;
  const gt = table_of(rd);
  gt_lock(gt);
  if (ref >= nr_grant_entries(gt)) {
    gt_unlock(gt);
    return GNTST.bad_gntref;
  }
  if (gt.version == 2 && (atomic.load<u16>(shared_entry(gt, ref)) & <u16>GTF.type_mask) == <u16>GTF.transitive)
    return acquire_transitive(rd, gt, ref, domid, readonly, use, allow_transitive);
  const rc = pin_locked(rd, gt, ref, domid, readonly, false, readonly ? GNTPIN_hstr_inc : GNTPIN_hstw_inc, use);
  gt_unlock(gt);
  return rc;
}

/** rd's table is locked when it is called, and not when it returns. */
function acquire_transitive(
  rd: Domain, gt: GrantTable, ref: u32, domid: u32, readonly: bool, use: GrantUse, allow_transitive: bool,
): i32 {
  const act = active_entry(gt, ref);
  let rc: i32 = may_pin(act, domid) ? GNTST.okay : GNTST.general_error;
  if (rc == GNTST.okay && needs_status(act, readonly)) rc = set_status(gt, ref, act, domid, readonly, false);
  if (rc != GNTST.okay) {
    gt_unlock(gt);
    return rc;
  }
  const entry = shared_entry(gt, ref);
  const trans_domid = <u32>atomic.load<u16>(entry + GrantEntryV2Transitive.trans_domid);
  const trans_ref = atomic.load<u32>(entry + GrantEntryV2Transitive.gref);
  // One step only, and never to oneself: so no circles.
  const td = allow_transitive && trans_domid != rd.domid ? get_domain_by_id(trans_domid) : changetype<Domain>(0);
  if (is_null(td)) {
    update_status(gt, ref);
    gt_unlock(gt);
    return GNTST.general_error;
  }
  const old_pin = act.pin;
  gt_unlock(gt);
  rc = acquire(td, trans_ref, rd.domid, readonly, use, false);
  gt_lock(gt);
  if (rc == GNTST.okay) {
    if (gt.version != 2 || active_entry(gt, ref).pin != old_pin) rc = RETRY;
    // The entry has changed since uses of it began: they would be lost track of.
    else if (old_pin != 0 && !is_same_use(active_entry(gt, ref), domid, trans_domid, trans_ref, use)) rc = GNTST.general_error;
    if (rc != GNTST.okay) {
      gt_unlock(gt);
      release_grant_for_copy(td, trans_ref, readonly);
      put_page(use.page);
      gt_lock(gt);
    }
  }
  if (rc == GNTST.okay) {
    const now = active_entry(gt, ref);
    now.domid = domid;
    now.mfn = page_to_mfn(use.page);
    now.start = <u16>use.start;
    now.length = <u16>use.length;
    now.trans_domid = trans_domid;
    now.trans_ref = trans_ref;
    // Whatever the other grant is: so that nobody maps it.
    now.is_sub_page = 1;
    now.pin += readonly ? GNTPIN_hstr_inc : GNTPIN_hstw_inc;
  } else if (ref < nr_grant_entries(gt)) {
    update_status(gt, ref);
  }
  gt_unlock(gt);
  put_domain(td);
  return rc;
}

/** Are the uses that there are of what was found now? */
function is_same_use(act: ActiveEntry, domid: u32, trans_domid: u32, trans_ref: u32, use: GrantUse): bool {
  return act.domid == domid && act.mfn == page_to_mfn(use.page) && act.start == <u16>use.start && act.length == <u16>use.length &&
    act.trans_domid == trans_domid && act.trans_ref == trans_ref && act.is_sub_page != 0;
}

/** Ends a use. The caller still has the reference on the page, which keeps its domain. */
export function release_grant_for_copy(rd: Domain, ref: u32, readonly: bool): void {
  const gt = table_of(rd);
  const act = active_entry(gt, ref);
  // A use keeps these as they are.
  const trans_domid = act.trans_domid;
  const trans_ref = act.trans_ref;
  unpin_grant(gt, ref, readonly ? GNTPIN_hstr_inc : GNTPIN_hstw_inc);
  if (trans_domid == rd.domid) return;
  const td = get_domain_by_id(trans_domid);
  if (is_null(td)) return;
  release_grant_for_copy(td, trans_ref, readonly);
  put_domain(td);
}
