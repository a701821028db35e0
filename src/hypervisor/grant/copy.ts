// GNTTABOP_copy: copies between pages that are granted, or the caller's own.
import { GNTCOPY, GNTST, GnttabCopy, GnttabCopyPtr } from "../abi";
import { Domain, DOMID_SELF, is_null } from "../domain";
import { get_domain_by_id, put_domain } from "../domain_list";
import { current } from "../percpu";
import { map_domain_page, page_to_mfn, PGT_writable_page } from "../mm/frame";
import { get_page_from_gfn } from "../mm/p2m";
import { put_page } from "../mm/page";
import { get_page_type, put_page_type } from "../mm/page_type";
import { frame_modified } from "../mm/tlbflush";
import { acquire_grant_for_copy, release_grant_for_copy } from "./acquire";
import { GrantUse } from "./status";

/** One end of a copy, in the caller's scratch memory. */
@unmanaged
export class CopyEnd extends GrantUse {
  domain: Domain;
  ref: u32;
  by_ref: bool;
  write: bool;
}

/** The domain an end names. GNTST_*; if it is okay a reference on the domain is held. */
function lock_domain(end: CopyEnd, ptr: usize, by_ref: bool, write: bool): i32 {
  const domid = load<u16>(ptr, GnttabCopyPtr.domid);
  // Only one's own pages may be named by their frames.
  if (domid != DOMID_SELF && !by_ref) return GNTST.permission_denied;
  const d = get_domain_by_id(domid == DOMID_SELF ? current.domain.domid : domid);
  if (is_null(d)) return GNTST.bad_domain;
  end.domain = d;
  end.by_ref = by_ref;
  end.write = write;
  return GNTST.okay;
}

/** Finds the page of an end and takes what is needed. GNTST_*; on failure nothing is held but the domain. */
function claim(end: CopyEnd, ptr: usize): i32 {
  if (end.by_ref) {
    end.ref = load<u32>(ptr, GnttabCopyPtr.u);
    const rc = acquire_grant_for_copy(end.domain, end.ref, current.domain.domid, !end.write, end);
    if (rc != GNTST.okay) return rc;
  } else {
    end.page = get_page_from_gfn(end.domain, load<u64>(ptr, GnttabCopyPtr.u));
    if (is_null(end.page)) return GNTST.bad_page;
    end.start = 0;
    end.length = 4096;
  }
  if (!end.write || get_page_type(end.page, PGT_writable_page) == 0) return GNTST.okay;
  release(end, false);
  return GNTST.general_error;
}

function release(end: CopyEnd, typed: bool): void {
  if (typed) put_page_type(end.page);
  if (end.by_ref) release_grant_for_copy(end.domain, end.ref, !end.write);
  put_page(end.page);
}

/** op: gnttab_copy in machine memory; ends: room for two CopyEnd. */
export function grant_copy(op: usize, ends: usize): void {
  const flags = load<u16>(op, GnttabCopy.flags);
  const src = changetype<CopyEnd>(ends);
  const dst = changetype<CopyEnd>(ends + offsetof<CopyEnd>());
  let rc = lock_domain(src, op + GnttabCopy.source, (flags & GNTCOPY.source_gref) != 0, false);
  if (rc == GNTST.okay) {
    rc = lock_domain(dst, op + GnttabCopy.dest, (flags & GNTCOPY.dest_gref) != 0, true);
    if (rc == GNTST.okay) {
      rc = copy_between(op, src, dst);
      put_domain(dst.domain);
    }
    put_domain(src.domain);
  }
  store<i16>(op, <i16>rc, GnttabCopy.status);
}

function copy_between(op: usize, src: CopyEnd, dst: CopyEnd): i32 {
  let rc = claim(src, op + GnttabCopy.source);
  if (rc != GNTST.okay) return rc;
  rc = claim(dst, op + GnttabCopy.dest);
  if (rc == GNTST.okay) {
    rc = copy_bytes(op, src, dst);
    release(dst, true);
  }
  release(src, false);
  return rc;
}

/** Does the end give bytes [offset, offset + len) of its page? */
// @ts-ignore: decorator
@inline
function gives(end: CopyEnd, offset: u32, len: u32): bool {
  return offset >= end.start && offset + len <= end.start + end.length;
}

function copy_bytes(op: usize, src: CopyEnd, dst: CopyEnd): i32 {
  const len = <u32>load<u16>(op, GnttabCopy.len);
  const from = <u32>load<u16>(op, GnttabCopy.source + GnttabCopyPtr.offset);
  const to = <u32>load<u16>(op, GnttabCopy.dest + GnttabCopyPtr.offset);
  if (from + len > 4096 || to + len > 4096) return GNTST.bad_copy_arg;
  if (!gives(src, from, len) || !gives(dst, to, len)) return GNTST.general_error;
  const mfn = page_to_mfn(dst.page);
  memory.copy(map_domain_page(mfn) + to, map_domain_page(page_to_mfn(src.page)) + from, len);
  frame_modified(mfn);
  return GNTST.okay;
}
