// GNTTABOP_transfer: gives a page of the caller's to a domain that has offered to take one (GTF_accept_transfer).
import { GNTST, GnttabTransfer, GrantEntryV1, GrantEntryV2, GTF } from "../abi";
import { Domain, is_null } from "../domain";
import { get_domain_by_id, put_domain } from "../domain_list";
import { current } from "../percpu";
import { spin_lock, spin_unlock } from "../spinlock";
import { assign_pages } from "../mm/domain";
import { mfn_to_page, mfn_valid } from "../mm/frame";
import { free_heap_frames } from "../mm/heap";
import { INVALID_M2P_ENTRY, set_gpfn_from_mfn } from "../mm/m2p";
import { paging_mode_translate } from "../mm/p2m";
import { steal_page } from "../mm/steal";
import { flush_tlb_domain, tlb_clock_now } from "../mm/tlbflush";
import { gt_lock, gt_unlock, nr_grant_entries, shared_entry, shared_entry_frame, table_of } from "./table";

/** Tries to get a steady look at an entry that its owner may change. */
const MAX_TRIES: u32 = 5;

/** Marks entry `ref` of `rd` as committed to a transfer from `ld`. */
function prepare(rd: Domain, ld: Domain, ref: u32): bool {
  const gt = table_of(rd);
  let ok = false;
  gt_lock(gt);
  if (ref < nr_grant_entries(gt)) {
    const entry = shared_entry(gt, ref);
    let seen = atomic.load<u32>(entry);
    for (let i: u32 = 0; !ok && i < MAX_TRIES; i++) {
      if ((seen & 0xffff) != GTF.accept_transfer || seen >> 16 != ld.domid) break;
      const prev = atomic.cmpxchg<u32>(entry, seen, seen | GTF.transfer_committed);
      ok = prev == seen;
      seen = prev;
    }
  }
  gt_unlock(gt);
  return ok;
}

/** Tells the receiver the frame; the pfn it wrote into its entry becomes the frame's. */
function complete(rd: Domain, ref: u32, mfn: u32): void {
  const gt = table_of(rd);
  gt_lock(gt);
  // The version may have changed meanwhile; then the receiver has thrown its entry away.
  if (ref < nr_grant_entries(gt)) {
    const entry = shared_entry(gt, ref);
    set_gpfn_from_mfn(mfn, shared_entry_frame(gt, entry));
    if (gt.version == 1) atomic.store<u32>(entry + GrantEntryV1.frame, mfn);
    else atomic.store<u64>(entry + GrantEntryV2.frame, <u64>mfn);
    atomic.or<u16>(entry, <u16>GTF.transfer_completed);
  }
  gt_unlock(gt);
}

/** A page that was stolen from `d` is counted no more. */
function uncount(d: Domain): void {
  const lock = changetype<usize>(d) + offsetof<Domain>("page_alloc_lock");
  spin_lock(lock);
  d.tot_pages--;
  const last = d.tot_pages + d.xenheap_pages == 0;
  spin_unlock(lock);
  if (last) put_domain(d);
}

/** op: gnttab_transfer in machine memory. */
export function grant_transfer(op: usize): void {
  store<i16>(op, <i16>transfer(op), GnttabTransfer.status);
}

function transfer(op: usize): i32 {
  const ld = current.domain;
  const mfn = load<u64>(op, GnttabTransfer.mfn);
  if (!mfn_valid(mfn)) return GNTST.bad_page;
  if (steal_page(ld, mfn_to_page(<u32>mfn)) != 0) return GNTST.bad_page;
  // From here the page is gone from the caller, whatever becomes of it.
  uncount(ld);
  flush_tlb_domain(ld);
  set_gpfn_from_mfn(<u32>mfn, INVALID_M2P_ENTRY);
  const rd = get_domain_by_id(load<u16>(op, GnttabTransfer.domid));
  const rc: i32 = is_null(rd) ? GNTST.bad_domain : give(rd, ld, <u32>mfn, load<u32>(op, GnttabTransfer.ref));
  if (rc != GNTST.okay) free_heap_frames(<u32>mfn, 0, tlb_clock_now());
  if (!is_null(rd)) put_domain(rd);
  return rc;
}

/** Gives a page without owner to `rd`, if it has offered to take one by `ref`. */
function give(rd: Domain, ld: Domain, mfn: u32, ref: u32): i32 {
  // A page that came so would have no gfn.
  const room = !paging_mode_translate(rd) && rd.is_dying == 0 && rd.grant_table != 0 && rd.tot_pages < rd.max_pages;
  if (!room || !prepare(rd, ld, ref) || !assign_pages(rd, mfn, 0)) return GNTST.general_error;
  complete(rd, ref, mfn);
  return GNTST.okay;
}
