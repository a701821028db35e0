// Frames of other domains for the thread of a privileged TypeScript domain, which reaches machine memory directly: the
// counterpart of mapping them in its page tables (privcmd's MMAPBATCH).
import { get_domain_by_id, put_domain } from "./domain_list";
import { get_page_and_type_writable, put_page_and_type_writable } from "./mm/domain";
import { map_domain_page } from "./mm/frame";
import { frame_modified } from "./mm/tlbflush";
import { get_page_from_mfn, put_page } from "./mm/page";
import { current } from "./percpu";

/**
 * Machine address of frame mfn of domain domid, or 0. No reference stays: for a domain that is being built and has not
 * run. The caller may write to it: code decoded from it is dropped.
 */
export function foreign_page(domid: u32, mfn: u32): usize {
  if (!current.domain.privileged) return 0;
  const d = get_domain_by_id(domid);
  if (changetype<usize>(d) == 0) return 0;
  let p: usize = 0;
  const pg = get_page_from_mfn(mfn, d);
  if (changetype<usize>(pg) != 0) {
    p = map_domain_page(mfn);
    frame_modified(mfn);
    put_page(pg);
  }
  put_domain(d);
  return p;
}

/** The same with a writable reference, until foreign_unmap: the domain can neither free the frame nor make it a table. */
export function foreign_map(domid: u32, mfn: u32): usize {
  if (!current.domain.privileged) return 0;
  const d = get_domain_by_id(domid);
  if (changetype<usize>(d) == 0) return 0;
  const p: usize = get_page_and_type_writable(d, mfn) ? map_domain_page(mfn) : 0;
  put_domain(d);
  return p;
}

/** Drops a reference that foreign_map gave. */
export function foreign_unmap(mfn: u32): void {
  if (!current.domain.privileged) return;
  frame_modified(mfn);
  put_page_and_type_writable(mfn);
}
