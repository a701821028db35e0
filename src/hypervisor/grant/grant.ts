// HYPERVISOR_grant_table_op (public/grant_table.h), and a domain's grants over its life.
import {
  ERRNO, GNTTABOP, GnttabCacheFlush, GnttabCopy, GnttabGetStatusFrames, GnttabGetVersion, GnttabMapGrantRef, GnttabQuerySize, GnttabSetupTable,
  GnttabSetVersion, GnttabSwapGrantRef, GnttabTransfer, GnttabUnmapAndReplace, GnttabUnmapGrantRef, HYPERCALL,
} from "../abi";
import { Domain, is_null } from "../domain";
import { copy_from_guest, copy_to_guest, guest_handle_okay } from "../guest";
import { hypercall_create_continuation, hypercall_preempt_check } from "../hypercalls/continuation";
import { current } from "../percpu";
import { mm_scratch, SCRATCH_ARG } from "../mm/scratch";
import { query_size, setup_table, swap_grant_ref } from "./control";
import { cache_flush } from "./cache_flush";
import { grant_copy } from "./copy";
import { map_grant_ref, release_mapping, unmap_and_replace, unmap_grant_ref } from "./map";
import { maptrack_limit } from "./maptrack";
import { table_of, unshare_frames } from "./table";
import { grant_transfer } from "./transfer";
import { get_status_frames, get_version, set_version } from "./version";

export { grant_table_create, grant_table_destroy } from "./table";

/** The operation's structure, and room for the two ends of a copy, in scratch memory. */
const OP: usize = SCRATCH_ARG;
const ENDS: usize = SCRATCH_ARG + 128;

/** Size of an operation's structure; 0: no such operation (dump_table is none either). */
function size_of(cmd: u32): u32 {
  switch (cmd) {
    case GNTTABOP.map_grant_ref: return <u32>GnttabMapGrantRef.SIZE;
    case GNTTABOP.unmap_grant_ref: return <u32>GnttabUnmapGrantRef.SIZE;
    case GNTTABOP.setup_table: return <u32>GnttabSetupTable.SIZE;
    case GNTTABOP.transfer: return <u32>GnttabTransfer.SIZE;
    case GNTTABOP.copy: return <u32>GnttabCopy.SIZE;
    case GNTTABOP.query_size: return <u32>GnttabQuerySize.SIZE;
    case GNTTABOP.unmap_and_replace: return <u32>GnttabUnmapAndReplace.SIZE;
    case GNTTABOP.set_version: return <u32>GnttabSetVersion.SIZE;
    case GNTTABOP.get_status_frames: return <u32>GnttabGetStatusFrames.SIZE;
    case GNTTABOP.get_version: return <u32>GnttabGetVersion.SIZE;
    case GNTTABOP.swap_grant_ref: return <u32>GnttabSwapGrantRef.SIZE;
    case GNTTABOP.cache_flush: return <u32>GnttabCacheFlush.SIZE;
  }
  return 0;
}

const CMD_MASK: u32 = 0xfff;

/** What an HVM container may do (Xen's hvm_grant_table_op). */
function hvm_may(cmd: u32): bool {
  switch (cmd) {
    case GNTTABOP.query_size:
    case GNTTABOP.setup_table:
    case GNTTABOP.set_version:
    case GNTTABOP.get_version:
    case GNTTABOP.copy:
    case GNTTABOP.map_grant_ref:
    case GNTTABOP.unmap_grant_ref:
    case GNTTABOP.swap_grant_ref: return true;
  }
  return false;
}

/** Operations that take exactly one structure. */
function is_single(cmd: u32): bool {
  return cmd == GNTTABOP.setup_table || cmd == GNTTABOP.query_size || cmd == GNTTABOP.get_status_frames;
}

/** Does one; results go into the structure. 0 or -errno. */
function one_op(cmd: u32, op: usize): i64 {
  switch (cmd) {
    case GNTTABOP.map_grant_ref: map_grant_ref(op); break;
    case GNTTABOP.unmap_grant_ref: unmap_grant_ref(op); break;
    case GNTTABOP.setup_table: setup_table(op); break;
    case GNTTABOP.transfer: grant_transfer(op); break;
    case GNTTABOP.copy: grant_copy(op, mm_scratch(ENDS)); break;
    case GNTTABOP.query_size: query_size(op); break;
    case GNTTABOP.unmap_and_replace: unmap_and_replace(op); break;
    case GNTTABOP.get_status_frames: get_status_frames(op); break;
    case GNTTABOP.swap_grant_ref: swap_grant_ref(op); break;
    case GNTTABOP.set_version: return set_version(op);
    case GNTTABOP.get_version: return get_version(op);
    case GNTTABOP.cache_flush: return cache_flush(op);
  }
  return 0;
}

/** cmd: GNTTABOP.*; uop: handle of `count` structures of the operation. */
export function do_grant_table_op(ucmd: u64, uop: u64, ucount: u64): i64 {
  const cmd = <u32>ucmd & CMD_MASK;
  const count = <u32>ucount;
  const size = size_of(cmd);
  if (current.domain.is_hvm && !hvm_may(<u32>ucmd)) return -ERRNO.ENOSYS;
  if (<i32>count < 0) return -ERRNO.EINVAL;
  // Upper bits are how far a continued cache_flush came; none of ours is continued so.
  if (<u32>ucmd > CMD_MASK) return -ERRNO.EINVAL;
  if (size == 0) return -ERRNO.ENOSYS;
  if (is_single(cmd) && count != 1) return -ERRNO.EINVAL;
  const bytes = <u64>count * <u64>size;
  if (bytes > 0xffff_ffff || !guest_handle_okay(uop, <u32>bytes)) return -ERRNO.EFAULT;
  const op = mm_scratch(OP);
  // These are given one structure whatever the count says.
  const n: u32 = cmd == GNTTABOP.set_version || cmd == GNTTABOP.get_version ? 1 : count;
  for (let i: u32 = 0; i < n; i++) {
    const at = uop + <u64>i * <u64>size;
    if (i != 0 && hypercall_preempt_check()) return hypercall_create_continuation(HYPERCALL.grant_table_op, ucmd, at, <u64>(n - i), 0, 0);
    if (copy_from_guest(op, at, size) != 0) return -ERRNO.EFAULT;
    const rc = one_op(cmd, op);
    if (copy_to_guest(at, op, size) != 0) return -ERRNO.EFAULT;
    if (rc != 0) return rc;
  }
  return 0;
}

/**
 * A dying domain, none of whose vCPUs runs: ends its mappings of others' grants, and its hold on its own shared frames.
 * -ERESTART: call again. Before domain_relinquish_memory.
 */
export function grant_table_relinquish(d: Domain): i32 {
  const gt = table_of(d);
  if (is_null(gt)) return 0;
  const n = maptrack_limit(gt);
  while (gt.relinquish_handle < n) {
    release_mapping(d, gt.relinquish_handle);
    gt.relinquish_handle++;
    if ((gt.relinquish_handle & 255) == 0 && hypercall_preempt_check()) return -<i32>ERRNO.ERESTART;
  }
  if (gt.relinquish_handle == n) {
    unshare_frames(d);
    gt.relinquish_handle = n + 1;
  }
  return 0;
}
