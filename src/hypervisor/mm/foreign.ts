// How a control domain whose kernel is TypeScript reaches other domains' frames: the counterpart of mapping foreign
// pages through mmu_update. Exports of the module; the caller is the current domain of this thread.
import { put_domain } from "../domain_list";
import { is_null } from "../domain";
import { current } from "../percpu";
import { get_page_and_type_writable, put_page_and_type_writable } from "./domain";
import { map_domain_page, mfn_valid, page_to_mfn } from "./frame";
import { get_page_from_gfn } from "./p2m";
import { put_page } from "./page";
import { get_any_domain, xsm_target } from "./privilege";
import { frame_modified } from "./tlbflush";

/**
 * Machine address of the frame that `gfn` (a PV domain's mfn) names if it belongs to `domid` and the caller may act on that
 * domain, else 0. No reference is kept: for domains that are being built and have not run.
 */
export function foreign_page(domid: u32, gfn: u32): usize {
  if (!current.domain.is_ts) return 0;
  const d = get_any_domain(domid);
  if (is_null(d)) return 0;
  let address: usize = 0;
  if (xsm_target(d) == 0) {
    const pg = get_page_from_gfn(d, gfn);
    if (!is_null(pg)) {
      address = map_domain_page(page_to_mfn(pg));
      put_page(pg);
    }
  }
  put_domain(d);
  return address;
}

/** The same with a writable reference held until foreign_unmap of that address: the frame is neither freed nor made a page table. */
export function foreign_map(domid: u32, gfn: u32): usize {
  if (!current.domain.is_ts) return 0;
  const d = get_any_domain(domid);
  if (is_null(d)) return 0;
  let address: usize = 0;
  if (xsm_target(d) == 0) address = map_domain_page(get_page_and_type_writable(d, gfn));
  put_domain(d);
  return address;
}

/** Drops what foreign_map took; once for each, by the frame that its address is in. */
export function foreign_unmap(mfn: u32): void {
  if (!current.domain.is_ts || !mfn_valid(mfn)) return;
  // It may have been written to without the engine seeing it.
  frame_modified(mfn);
  put_page_and_type_writable(mfn);
}

/** A TypeScript domain has written to a frame that stays mapped (granted or foreign): the engine looks at it anew. */
export function frame_written(mfn: u32): void {
  if (current.domain.is_ts && mfn_valid(mfn)) frame_modified(mfn);
}
