// Beginning and ending a use of a grant: for mapping (map.ts) and for copying (acquire.ts) alike. The guest may change its
// entry while it is read; what counts is what it said at one moment, and the mark of the use (GTF_reading, GTF_writing)
// is there before that.
import { GNTST, GrantEntryV2, GTF } from "../abi";
import { Domain, is_null } from "../domain";
import { mfn_to_page, page_to_mfn, PageInfo } from "../mm/frame";
import { get_page_from_gfn } from "../mm/p2m";
import { get_page } from "../mm/page";
import {
  active_entry, ActiveEntry, GNTPIN_devw_mask, GNTPIN_hstw_mask, GNTPIN_overflow, GrantTable, gt_lock, gt_unlock, nr_grant_entries,
  shared_entry, shared_entry_frame, status_word, table_of, update_status,
} from "./table";

/** Tries to get a steady look at an entry of version 1, whose marks lie beside what the guest may change. */
const MAX_TRIES: u32 = 5;

/** What a use of a grant gives: the page, with a reference, and the bytes of it that are granted. */
@unmanaged
export class GrantUse {
  page: PageInfo;
  start: u32;
  length: u32;
}

/** Bits of `flags` that must be those of an ordinary grant. */
// @ts-ignore: decorator
@inline
function type_bits(for_map: bool): u32 {
  return GTF.type_mask | (for_map ? GTF.sub_page : 0);
}

/** Does an entry's first word (flags, domid) allow `domid` the access? Transitive grants only for copies. */
function allows(word: u32, domid: u32, for_map: bool): bool {
  const type = word & 0xffff & type_bits(for_map);
  return (type == GTF.permit_access || (!for_map && type == GTF.transitive)) && word >> 16 == domid;
}

/** Version 1: the marks are set in the word that allows the use. */
function set_status_v1(entry: usize, pinned: bool, domid: u32, readonly: bool, for_map: bool): i32 {
  let seen = atomic.load<u32>(entry);
  for (let i: u32 = 0; i < MAX_TRIES; i++) {
    const flags = seen & 0xffff;
    if (!pinned && ((flags & type_bits(for_map)) != GTF.permit_access || seen >> 16 != domid)) return GNTST.general_error;
    if (!readonly && (flags & GTF.readonly) != 0) return GNTST.general_error;
    const prev = atomic.cmpxchg<u32>(entry, seen, seen | GTF.reading | (readonly ? 0 : GTF.writing));
    if (prev == seen) return GNTST.okay;
    seen = prev;
  }
  return GNTST.general_error;
}

/** Version 2: the marks are set elsewhere, so the word is looked at again afterwards. */
function set_status_v2(entry: usize, status: usize, pinned: bool, domid: u32, readonly: bool, for_map: bool): i32 {
  let word = atomic.load<u32>(entry);
  if (!pinned && !allows(word, domid, for_map)) return GNTST.general_error;
  if (!readonly && (word & GTF.readonly) != 0) return GNTST.general_error;
  atomic.or<u16>(status, <u16>(GTF.reading | (readonly ? 0 : GTF.writing)));
  word = atomic.load<u32>(entry);
  if ((pinned || allows(word, domid, for_map)) && (readonly || !(word & GTF.readonly))) return GNTST.okay;
  atomic.and<u16>(status, <u16>~(pinned ? GTF.writing : GTF.reading | GTF.writing));
  return GNTST.general_error;
}

/** Marks the grant as in use by `domid` if its entry allows that. gt.lock is held. */
export function set_status(gt: GrantTable, ref: u32, act: ActiveEntry, domid: u32, readonly: bool, for_map: bool): i32 {
  const entry = shared_entry(gt, ref);
  if (gt.version == 1) return set_status_v1(entry, act.pin != 0, domid, readonly, for_map);
  return set_status_v2(entry, status_word(gt, ref), act.pin != 0, domid, readonly, for_map);
}

/** May one more use of a grant in use begin? */
export function may_pin(act: ActiveEntry, domid: u32): bool {
  return act.pin == 0 || (act.domid == domid && (act.pin & GNTPIN_overflow) == 0);
}

/** Must the entry be asked (set_status) for a use, or does one that is there say enough? */
export function needs_status(act: ActiveEntry, readonly: bool): bool {
  return act.pin == 0 || (!readonly && (act.pin & (GNTPIN_hstw_mask | GNTPIN_devw_mask)) == 0);
}

/** Fills in the active entry of a grant that had no use, from its shared entry. False: the frame is not rd's. */
function look_up(rd: Domain, gt: GrantTable, ref: u32, act: ActiveEntry, domid: u32): PageInfo {
  const entry = shared_entry(gt, ref);
  const pg = get_page_from_gfn(rd, shared_entry_frame(gt, entry));
  if (is_null(pg)) return pg;
  act.domid = domid;
  act.mfn = page_to_mfn(pg);
  act.is_sub_page = 0;
  act.start = 0;
  act.length = 4096;
  act.trans_domid = rd.domid;
  act.trans_ref = ref;
  if (gt.version != 1 && (atomic.load<u16>(entry) & <u16>GTF.sub_page) != 0) {
    act.is_sub_page = 1;
    act.start = atomic.load<u16>(entry + GrantEntryV2.page_off);
    act.length = atomic.load<u16>(entry + GrantEntryV2.length);
  }
  return pg;
}

/**
 * Begins a use of grant `ref` of `rd` by domain `domid`: checks it and adds `pin` to its active entry. rd's table is
 * locked, the reference exists, and it is not transitive. GNTST_*; `use` is filled in if it is okay.
 */
export function pin_locked(rd: Domain, gt: GrantTable, ref: u32, domid: u32, readonly: bool, for_map: bool, pin: u32, use: GrantUse): i32 {
  const act = active_entry(gt, ref);
  if (!may_pin(act, domid) || (for_map && act.pin != 0 && act.is_sub_page != 0)) return GNTST.general_error;
  if (needs_status(act, readonly)) {
    const rc = set_status(gt, ref, act, domid, readonly, for_map);
    if (rc != GNTST.okay) return rc;
  }
  let pg: PageInfo;
  if (act.pin == 0) {
    pg = look_up(rd, gt, ref, act, domid);
    if (is_null(pg)) {
      update_status(gt, ref);
      return GNTST.bad_page;
    }
  } else {
    pg = mfn_to_page(act.mfn);
    // A page that is in use stays rd's, unless rd is dying.
    if (!get_page(pg, rd)) {
      update_status(gt, ref);
      return GNTST.general_error;
    }
  }
  act.pin += pin;
  use.page = pg;
  use.start = act.start;
  use.length = act.length;
  return GNTST.okay;
}

/** The same for a mapping, taking the lock. */
export function pin_grant_for_map(rd: Domain, ref: u32, domid: u32, readonly: bool, pin: u32, use: GrantUse): i32 {
  const gt = table_of(rd);
  gt_lock(gt);
  const rc = ref >= nr_grant_entries(gt) ? GNTST.bad_gntref : pin_locked(rd, gt, ref, domid, readonly, true, pin, use);
  gt_unlock(gt);
  return rc;
}

/** Ends a use. */
export function unpin_grant(gt: GrantTable, ref: u32, pin: u32): void {
  gt_lock(gt);
  active_entry(gt, ref).pin -= pin;
  update_status(gt, ref);
  gt_unlock(gt);
}
