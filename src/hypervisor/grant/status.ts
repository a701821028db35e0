// Beginning and ending a use of a grant: for mapping (map.ts) and for copying (copy.ts) alike.
import { GNTST, GrantEntryV1, GTF } from "../abi";
import { Domain } from "../domain";
import { PageInfo } from "../mm/frame";
import { get_page_from_mfn } from "../mm/page";
import {
  active_entry, ActiveEntry, GNTPIN_devw_mask, GNTPIN_hstw_mask, GNTPIN_overflow, GrantTable, nr_grant_entries,
  shared_entry, update_status,
} from "./table";

/** The guest may change its entry while it is read: tries to get a steady look. */
const MAX_TRIES: u32 = 5;

/** Sets GTF_reading (and GTF_writing) if the entry allows `domid` the access. */
function set_status(entry: usize, act: ActiveEntry, domid: u32, readonly: bool, for_map: bool): i32 {
  const mask = GTF.type_mask | (for_map ? GTF.sub_page : 0);
  let seen = atomic.load<u32>(entry);
  for (let i: u32 = 0; i < MAX_TRIES; i++) {
    const flags = seen & 0xffff;
    const allowed = (flags & mask) == GTF.permit_access && seen >> 16 == domid;
    if (act.pin == 0 && !allowed) return GNTST.general_error;
    if (!readonly && (flags & GTF.readonly) != 0) return GNTST.general_error;
    const prev = atomic.cmpxchg<u32>(entry, seen, seen | GTF.reading | (readonly ? 0 : GTF.writing));
    if (prev == seen) return GNTST.okay;
    seen = prev;
  }
  return GNTST.general_error;
}

/**
 * Begins a use of grant `ref` of `rd` by `ld`: checks it, adds `pin` to its active entry. gt.lock (of rd) is held; the
 * frame stays rd's while it is, so the caller takes its reference before it unlocks. GNTST_*.
 */
export function pin_grant(rd: Domain, gt: GrantTable, ref: u32, ld: Domain, readonly: bool, for_map: bool, pin: u32): i32 {
  if (ref >= nr_grant_entries(gt)) return GNTST.bad_gntref;
  const act = active_entry(gt, ref);
  if (act.pin != 0 && (act.domid != ld.domid || (act.pin & GNTPIN_overflow) != 0)) return GNTST.general_error;
  const first_write = !readonly && (act.pin & (GNTPIN_hstw_mask | GNTPIN_devw_mask)) == 0;
  if (act.pin == 0 || first_write) {
    const entry = shared_entry(gt, ref);
    const rc = set_status(entry, act, ld.domid, readonly, for_map);
    if (rc != GNTST.okay) return rc;
    if (act.pin == 0) {
      const mfn = atomic.load<u32>(entry + GrantEntryV1.frame);
      act.domid = ld.domid;
      act.mfn = mfn;
    }
  }
  act.pin += pin;
  return GNTST.okay;
}

/** The frame of a grant that is pinned, with a reference; null if rd does not own it. gt.lock is held. */
export function pinned_page(rd: Domain, gt: GrantTable, ref: u32): PageInfo {
  return get_page_from_mfn(<u64>active_entry(gt, ref).mfn, rd);
}

/** Ends a use. gt.lock is held. */
export function unpin_grant(gt: GrantTable, ref: u32, pin: u32): void {
  active_entry(gt, ref).pin -= pin;
  update_status(gt, ref);
}
