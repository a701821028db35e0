// GNTTABOP_set_version, get_version, get_status_frames: the two layouts of a grant table.
import {
  ERRNO, GNTST, GNTTAB_NR_RESERVED_ENTRIES, GnttabGetStatusFrames, GnttabGetVersion, GnttabSetVersion, GrantEntryV1, GrantEntryV2, GTF,
} from "../abi";
import { Domain, is_null } from "../domain";
import { put_domain } from "../domain_list";
import { copy_to_guest } from "../guest";
import { current } from "../percpu";
import { mfn_to_gfn, paging_mode_translate } from "../mm/p2m";
import { get_any_domain, xsm_target } from "../mm/privilege";
import { mm_scratch, SCRATCH_LIST, SCRATCH_WORD } from "../mm/scratch";
import { flush_tlb_domain } from "../mm/tlbflush";
import {
  active_entry, add_status_frame, drop_status_frames, GrantTable, gt_lock, gt_unlock, nr_grant_entries, shared_entry, status_frame_mfn,
  status_word, table_of, to_status_frames,
} from "./table";

const RESERVED: u32 = GNTTAB_NR_RESERVED_ENTRIES;
const MARKS: u32 = GTF.reading | GTF.writing;

/** Are references in use that would be lost with a change of version? The reserved ones are kept. */
function is_busy(gt: GrantTable): bool {
  const n = nr_grant_entries(gt);
  for (let ref = RESERVED; ref < n; ref++) {
    if (active_entry(gt, ref).pin != 0) return true;
  }
  return false;
}

/** Has a reserved entry of version 2 no like in version 1? */
function is_representable(gt: GrantTable): bool {
  for (let ref: u32 = 0; ref < RESERVED; ref++) {
    const entry = shared_entry(gt, ref);
    const type = <u32>atomic.load<u16>(entry) & GTF.type_mask;
    if (type == GTF.transitive) return false;
    if (type == GTF.permit_access && load<u64>(entry, GrantEntryV2.frame) >> 32 != 0) return false;
  }
  return true;
}

/** Copies the reserved entries to `to`, as version 1 has them. */
function save_reserved(gt: GrantTable, to: usize): void {
  memory.fill(to, 0, RESERVED * <u32>GrantEntryV1.SIZE);
  for (let ref: u32 = 0; ref < RESERVED; ref++, to += GrantEntryV1.SIZE) {
    const entry = shared_entry(gt, ref);
    if (gt.version == 1) {
      store<u64>(to, atomic.load<u64>(entry));
      continue;
    }
    const word = atomic.load<u32>(entry);
    if ((word & GTF.type_mask) != GTF.permit_access) continue;
    store<u32>(to, word | <u32>atomic.load<u16>(status_word(gt, ref)));
    store<u32>(to, load<u32>(entry, GrantEntryV2.frame), GrantEntryV1.frame);
  }
}

/** Puts them into the cleared table of the version in force. */
function restore_reserved(gt: GrantTable, from: usize): void {
  for (let ref: u32 = 0; ref < RESERVED; ref++, from += GrantEntryV1.SIZE) {
    const entry = shared_entry(gt, ref);
    if (gt.version == 1) {
      atomic.store<u64>(entry, load<u64>(from));
      continue;
    }
    const word = load<u32>(from);
    atomic.store<u16>(status_word(gt, ref), <u16>(word & MARKS));
    atomic.store<u64>(entry + GrantEntryV2.frame, <u64>load<u32>(from, GrantEntryV1.frame));
    atomic.store<u32>(entry, word & ~MARKS);
  }
}

function clear_frames(list: usize, n: u32): void {
  for (let i: u32 = 0; i < n; i++) memory.fill(load<u32>(list + (i << 2)), 0, 4096);
}

/** Changes the version of the locked table; in version 1 it has the status frames for version 2 already. 0 or -errno. */
function change_version(d: Domain, gt: GrantTable, version: u32): i64 {
  if (version == 1 && !is_representable(gt)) return -ERRNO.ERANGE;
  const saved = mm_scratch(SCRATCH_LIST);
  save_reserved(gt, saved);
  if (version == 1 && !drop_status_frames(d)) return -ERRNO.EBUSY;
  clear_frames(gt.shared, gt.nr_frames);
  clear_frames(gt.status, gt.nr_status_frames);
  gt.version = version;
  restore_reserved(gt, saved);
  return 0;
}

function set(d: Domain, version: u32): i64 {
  const gt = table_of(d);
  if (version != 1 && version != 2) return -ERRNO.EINVAL;
  if (version > gt.max_version) return -ERRNO.ENOSYS;
  let rc = try_set(d, gt, version);
  // Not under the lock: a new page may have to be flushed from TLBs first.
  while (rc == NEEDS_STATUS_FRAME) rc = add_status_frame(d) ? try_set(d, gt, version) : -ERRNO.ENOMEM;
  // Its status frames may have been in its p2m.
  if (rc == 0 && version == 1 && paging_mode_translate(d)) flush_tlb_domain(d);
  return rc;
}

/** Result of try_set: version 2 needs a status frame more. */
const NEEDS_STATUS_FRAME: i64 = 1;

function try_set(d: Domain, gt: GrantTable, version: u32): i64 {
  let rc: i64 = 0;
  gt_lock(gt);
  if (gt.version != version) {
    if (is_busy(gt)) rc = -ERRNO.EBUSY;
    else if (version == 2 && gt.nr_status_frames < to_status_frames(gt.nr_frames)) rc = NEEDS_STATUS_FRAME;
    else rc = change_version(d, gt, version);
  }
  gt_unlock(gt);
  return rc;
}

/** op: gnttab_set_version in machine memory; the version in force is reported back in any case. */
export function set_version(op: usize): i64 {
  const d = current.domain;
  const rc = set(d, load<u32>(op, GnttabSetVersion.version));
  store<u32>(op, table_of(d).version, GnttabSetVersion.version);
  return rc;
}

export function get_version(op: usize): i64 {
  const d = get_any_domain(load<u16>(op, GnttabGetVersion.dom));
  if (is_null(d)) return -ERRNO.ESRCH;
  let rc: i64 = xsm_target(d);
  if (rc == 0) {
    if (d.grant_table == 0) rc = -ERRNO.ESRCH;
    else store<u32>(op, table_of(d).version, GnttabGetVersion.version);
  }
  put_domain(d);
  return rc;
}

/** op: gnttab_get_status_frames in machine memory. */
export function get_status_frames(op: usize): void {
  const d = get_any_domain(load<u16>(op, GnttabGetStatusFrames.dom));
  let rc: i32 = GNTST.bad_domain;
  if (!is_null(d)) {
    if (xsm_target(d) != 0) rc = GNTST.permission_denied;
    else if (d.grant_table != 0) rc = list_status_frames(d, op);
    put_domain(d);
  }
  store<i16>(op, <i16>rc, GnttabGetStatusFrames.status);
}

function list_status_frames(d: Domain, op: usize): i32 {
  const gt = table_of(d);
  const n = load<u32>(op, GnttabGetStatusFrames.nr_frames);
  const list = load<u64>(op, GnttabGetStatusFrames.frame_list);
  if (n > (gt.version == 1 ? 0 : gt.nr_status_frames)) return GNTST.general_error;
  const word = mm_scratch(SCRATCH_WORD);
  for (let i: u32 = 0; i < n; i++) {
    store<u64>(word, mfn_to_gfn(d, status_frame_mfn(gt, i)));
    if (copy_to_guest(list + (<u64>i << 3), word, 8) != 0) return GNTST.bad_virt_addr;
  }
  return GNTST.okay;
}
