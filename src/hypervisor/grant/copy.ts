// GNTTABOP_copy: copies between pages that are granted, or the caller's own.
import { GNTCOPY, GNTST, GnttabCopy, GnttabCopyPtr } from "../abi";
import { Domain, DOMID_SELF, is_null } from "../domain";
import { get_domain_by_id, put_domain } from "../domain_list";
import { current } from "../percpu";
import { map_domain_page, page_to_mfn, PageInfo, PGT_writable_page } from "../mm/frame";
import { get_page_from_mfn, put_page } from "../mm/page";
import { get_page_type, put_page_type } from "../mm/page_type";
import { frame_modified } from "../mm/tlbflush";
import { pin_grant, pinned_page, unpin_grant } from "./status";
import { GNTPIN_hstr_inc, GNTPIN_hstw_inc, gt_lock, gt_unlock, table_of } from "./table";

/** One end of a copy, in the caller's scratch memory. */
@unmanaged
export class CopyEnd {
  domain: Domain;
  page: PageInfo;
  ref: u32;
  /** Pins that the end holds; 0: a page of the caller's own. */
  pin: u32;
}

/** Finds the page of an end and takes what is needed. GNTST_*; on failure nothing is held. */
function claim(end: CopyEnd, ptr: usize, by_ref: bool, write: bool): i32 {
  const domid = load<u16>(ptr, GnttabCopyPtr.domid);
  const ld = current.domain;
  if (domid != DOMID_SELF && !by_ref) return GNTST.permission_denied;
  const d = get_domain_by_id(domid == DOMID_SELF ? ld.domid : domid);
  if (is_null(d)) return GNTST.bad_domain;
  end.domain = d;
  end.pin = 0;
  let rc: i32 = GNTST.okay;
  let pg = changetype<PageInfo>(0);
  if (!by_ref) {
    pg = get_page_from_mfn(load<u64>(ptr, GnttabCopyPtr.u), d);
    if (is_null(pg)) rc = GNTST.bad_page;
  } else if (d.grant_table == 0) {
    rc = GNTST.bad_domain;
  } else {
    const gt = table_of(d);
    const pin = write ? GNTPIN_hstw_inc : GNTPIN_hstr_inc;
    end.ref = load<u32>(ptr, GnttabCopyPtr.u);
    gt_lock(gt);
    rc = pin_grant(d, gt, end.ref, ld, !write, false, pin);
    if (rc == GNTST.okay) {
      pg = pinned_page(d, gt, end.ref);
      if (is_null(pg)) {
        unpin_grant(gt, end.ref, pin);
        rc = GNTST.bad_page;
      } else end.pin = pin;
    }
    gt_unlock(gt);
  }
  end.page = pg;
  if (rc == GNTST.okay && write && get_page_type(pg, PGT_writable_page) != 0) {
    release(end, false);
    return GNTST.general_error;
  }
  if (rc != GNTST.okay) put_domain(d);
  return rc;
}

function release(end: CopyEnd, typed: bool): void {
  if (typed) put_page_type(end.page);
  put_page(end.page);
  if (end.pin != 0) {
    const gt = table_of(end.domain);
    gt_lock(gt);
    unpin_grant(gt, end.ref, end.pin);
    gt_unlock(gt);
  }
  put_domain(end.domain);
}

/** op: gnttab_copy in machine memory; ends: room for two CopyEnd. */
export function grant_copy(op: usize, ends: usize): void {
  store<i16>(op, <i16>copy_one(op, ends), GnttabCopy.status);
}

function copy_one(op: usize, ends: usize): i32 {
  const flags = load<u16>(op, GnttabCopy.flags);
  const len = <u32>load<u16>(op, GnttabCopy.len);
  const src_off = <u32>load<u16>(op, GnttabCopy.source + GnttabCopyPtr.offset);
  const dst_off = <u32>load<u16>(op, GnttabCopy.dest + GnttabCopyPtr.offset);
  if (src_off + len > 4096 || dst_off + len > 4096) return GNTST.bad_copy_arg;
  const src = changetype<CopyEnd>(ends);
  const dst = changetype<CopyEnd>(ends + offsetof<CopyEnd>());
  let rc = claim(src, op + GnttabCopy.source, (flags & GNTCOPY.source_gref) != 0, false);
  if (rc != GNTST.okay) return rc;
  rc = claim(dst, op + GnttabCopy.dest, (flags & GNTCOPY.dest_gref) != 0, true);
  if (rc == GNTST.okay) {
    const to = page_to_mfn(dst.page);
    memory.copy(map_domain_page(to) + dst_off, map_domain_page(page_to_mfn(src.page)) + src_off, len);
    frame_modified(to);
    release(dst, true);
  }
  release(src, false);
  return rc;
}
