// Changing one entry of a validated page table (Xen's mod_l1_entry … mod_l4_entry). The page is locked (page_lock) by
// the caller. New references are taken before the entry is written, old ones are dropped after: for L1 here, for the
// upper levels by the caller once it has unlocked the page (dropping them may take apart whole tables).
import { ERRNO } from "../abi";
import { Domain } from "../domain";
import { PGT_l1_page_table, PGT_l4_page_table, mfn_to_page } from "./frame";
import { get_page_from_l1e, put_page_from_l1e } from "./l1e";
import { is_self_map } from "./linear";
import { put_page_and_type_deferred } from "./old_table";
import { drop_linear_use, get_page_from_l234e } from "./page_table";
import {
  _PAGE_ACCESSED, _PAGE_DIRTY, adjust_guest_l1e, adjust_guest_l23e, adjust_guest_l4e, is_downgrade, is_guest_l4_slot,
  l1e_keeps_references, L1_DISALLOW_MASK, L234_DISALLOW_MASK, l234e_keeps_references, present, pte_mfn,
} from "./pte";
import { frame_entry_modified, note_downgrade } from "./tlbflush";

/**
 * Writes an entry; with `preserve_ad` it keeps A and D bits that the MMU has set, also while this runs. `o` is what the
 * caller read and the references are counted for: only A and D can differ from it now.
 */
function update_entry(at: usize, o: u64, n: u64, preserve_ad: bool, d: Domain): void {
  if (preserve_ad) {
    let old = o;
    for (;;) {
      const seen = atomic.cmpxchg<u64>(at, old, n | (old & (_PAGE_ACCESSED | _PAGE_DIRTY)));
      if (seen == old) break;
      old = seen;
    }
    n |= old & (_PAGE_ACCESSED | _PAGE_DIRTY);
  } else atomic.store<u64>(at, n);
  if (is_downgrade(o, n)) note_downgrade(d);
  frame_entry_modified(<u32>(at >> 12), <u32>at & 0xff8);
}

/** Sets the L1 entry at machine address `at`, in a table of pt_dom, to `nl1e`, which may map pages of pg_dom. */
export function mod_l1_entry(at: usize, nl1e: u64, preserve_ad: bool, pt_dom: Domain, pg_dom: Domain): i32 {
  const ol1e = atomic.load<u64>(at);
  if (present(nl1e)) {
    if (nl1e & L1_DISALLOW_MASK) return -<i32>ERRNO.EINVAL;
    nl1e = adjust_guest_l1e(nl1e);
    if (present(ol1e) && l1e_keeps_references(ol1e, nl1e)) {
      update_entry(at, ol1e, nl1e, preserve_ad, pt_dom);
      return 0;
    }
    const rc = get_page_from_l1e(nl1e, pt_dom, pg_dom);
    if (rc != 0) return rc;
  }
  update_entry(at, ol1e, nl1e, preserve_ad, pt_dom);
  put_page_from_l1e(ol1e);
  return 0;
}

/** Result of mod_l234_entry: nothing to drop. */
const NOTHING: u64 = 0;

/**
 * Sets the entry at `at` of a table of type `type` (L2 to L4). `old` receives the entry whose references the caller must
 * drop after unlocking (put_old_entry; 0: none), and behind it a u32: rights were taken away. -ERESTART: nothing is
 * changed, to be called again.
 */
export function mod_l234_entry(at: usize, npte: u64, type: u32, preserve_ad: bool, d: Domain, old: usize): i32 {
  store<u64>(old, NOTHING);
  store<u32>(old, 0, 8);
  const mfn = <u32>(at >> 12);
  if (type == PGT_l4_page_table && !is_guest_l4_slot((<u32>at & 0xfff) >> 3)) return -<i32>ERRNO.EINVAL;
  const opte = atomic.load<u64>(at);
  store<u32>(old, <u32>is_downgrade(opte, npte), 8);
  if (present(npte)) {
    if (npte & L234_DISALLOW_MASK) return -<i32>ERRNO.EINVAL;
    npte = type == PGT_l4_page_table ? adjust_guest_l4e(npte) : adjust_guest_l23e(npte);
    if (present(opte) && l234e_keeps_references(opte, npte)) {
      update_entry(at, opte, npte, preserve_ad, d);
      return 0;
    }
    const rc = get_page_from_l234e(npte, mfn, type, d, true);
    if (rc != 0) return rc;
  }
  update_entry(at, opte, npte, preserve_ad, d);
  // While the table is locked, and so keeps its type.
  drop_linear_use(opte, mfn_to_page(mfn), type);
  store<u64>(old, opte);
  return 0;
}

/** Drops the references of an entry that mod_l234_entry replaced in table `mfn`, or begins to (old_table.ts). */
export function put_old_entry(opte: u64, mfn: u32): void {
  if (present(opte) && !is_self_map(opte, mfn_to_page(mfn))) put_page_and_type_deferred(mfn_to_page(<u32>pte_mfn(opte)));
}

/** Is the type one of the tables that mod_l234_entry takes? */
export function is_l234(type: u32): bool {
  return type > PGT_l1_page_table && type <= PGT_l4_page_table;
}
