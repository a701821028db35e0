// A page table whose last reference goes takes its entries' references along, down to every page it maps: too long to be
// done at once. The vCPU that dropped it remembers it, and its page-table call does not end before that is done (Xen's
// old_guest_table).
import { ERRNO } from "../abi";
import { Vcpu } from "../domain";
import { current, slot_kind } from "../percpu";
import { mfn_to_page, page_to_mfn, PageInfo } from "./frame";
import { put_page } from "./page";
import { put_page_and_type, put_page_type_preemptible } from "./page_type";

/** Drops a reference and type reference on a table, or begins to: see must_put_old_table. */
export function put_page_and_type_deferred(pg: PageInfo): void {
  const v = current;
  // One is remembered at a time; and a TypeScript domain's thread has nothing else to do.
  if (v.old_guest_table != 0 || slot_kind != 0) put_page_and_type(pg);
  else if (put_page_type_preemptible(pg) == 0) put_page(pg);
  else v.old_guest_table = page_to_mfn(pg);
}

/** Goes on with that; 0, or -ERESTART to be called again. A page-table call begins with it. */
export function put_old_guest_table(v: Vcpu): i32 {
  if (v.old_guest_table == 0) return 0;
  const pg = mfn_to_page(v.old_guest_table);
  if (put_page_type_preemptible(pg) != 0) return -<i32>ERRNO.ERESTART;
  v.old_guest_table = 0;
  put_page(pg);
  return 0;
}

/** For a vCPU that does not run any more: at once. */
export function finish_old_guest_table(v: Vcpu): void {
  const mfn = v.old_guest_table;
  v.old_guest_table = 0;
  if (mfn != 0) put_page_and_type(mfn_to_page(mfn));
}
