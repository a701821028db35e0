// HYPERVISOR_mmu_update: batches of page-table and M2P updates (public/xen.h).
import { ERRNO, HYPERCALL, MMU, MmuUpdate } from "../abi";
import { Domain, is_null } from "../domain";
import { get_domain_by_id, put_domain } from "../domain_list";
import { copy_from_guest, copy_to_guest, guest_handle_okay } from "../guest";
import { hypercall_create_continuation, hypercall_preempt_check } from "../hypercalls/continuation";
import { current } from "../percpu";
import { xen } from "../state";
import { mm_scratch, SCRATCH_BATCH, SCRATCH_BATCH_SIZE, SCRATCH_OLD, SCRATCH_WORD } from "./scratch";
import { map_domain_page, page_to_mfn, PageInfo, PGT_l1_page_table, PGT_writable_page } from "./frame";
import { set_gpfn_from_mfn } from "./m2p";
import { is_l234, mod_l1_entry, mod_l234_entry, put_old_entry } from "./mod_entry";
import { put_old_guest_table } from "./old_table";
import { get_page_from_mfn, put_page } from "./page";
import { get_page_type, page_lock, page_type, page_unlock, put_page_type } from "./page_type";
import { get_pg_owner, put_pg_owner, xsm_target } from "./privilege";
import { flush_tlb_domain, frame_entry_modified } from "./tlbflush";

/** Bit of `count` in a call that continues one: `pdone` counts on. */
export const MMU_UPDATE_PREEMPTED: u32 = 1 << 31;

/** Updates read at once. */
const BATCH: u32 = <u32>SCRATCH_BATCH_SIZE / <u32>MmuUpdate.SIZE;

/** Result of one update: it is done, and a present entry above L1 was taken away: linear page tables are stale. */
const FLUSH_LINEAR: i32 = 1;

function pt_update(ptr: u64, val: u64, cmd: u32, pt_owner: Domain, pg_owner: Domain): i32 {
  const pg = get_page_from_mfn(ptr >> 12, pt_owner);
  if (is_null(pg)) return -<i32>ERRNO.EINVAL;
  const at = map_domain_page(page_to_mfn(pg)) + (<usize>ptr & 0xff8);
  const rc = update_page(pg, at, val, cmd == MMU.PT_UPDATE_PRESERVE_AD, pt_owner, pg_owner);
  put_page(pg);
  return rc;
}

function update_page(pg: PageInfo, at: usize, val: u64, preserve_ad: bool, pt_owner: Domain, pg_owner: Domain): i32 {
  let rc: i32 = -<i32>ERRNO.EINVAL;
  if (!page_lock(pg)) {
    // No type, or one that is not in use: an ordinary write.
    if (get_page_type(pg, PGT_writable_page) != 0) return rc;
    write_entry(at, val);
    put_page_type(pg);
    return 0;
  }
  const type = page_type(pg);
  if (type == PGT_l1_page_table) {
    rc = mod_l1_entry(at, val, preserve_ad, pt_owner, pg_owner);
  } else if (type == PGT_writable_page) {
    write_entry(at, val);
    rc = 0;
  } else if (is_l234(type) && changetype<usize>(pg_owner) == changetype<usize>(pt_owner)) {
    const old = mm_scratch(SCRATCH_OLD);
    rc = mod_l234_entry(at, val, type, preserve_ad, pt_owner, old);
    page_unlock(pg);
    if (rc != 0) return rc;
    put_old_entry(load<u64>(old), page_to_mfn(pg));
    return load<u32>(old, 8) != 0 ? FLUSH_LINEAR : 0;
  }
  page_unlock(pg);
  return rc;
}

function write_entry(at: usize, val: u64): void {
  atomic.store<u64>(at, val);
  frame_entry_modified(<u32>(at >> 12), <u32>at & 0xff8);
}

function machphys_update(ptr: u64, pfn: u64, pg_owner: Domain): i32 {
  const pg = get_page_from_mfn(ptr >> 12, pg_owner);
  if (is_null(pg)) return -<i32>ERRNO.EINVAL;
  set_gpfn_from_mfn(page_to_mfn(pg), pfn);
  put_page(pg);
  return 0;
}

function one_update(ptr: u64, val: u64, pt_owner: Domain, pg_owner: Domain): i32 {
  const cmd = <u32>ptr & 7;
  if (cmd > MMU.PT_UPDATE_NO_TRANSLATE) return -<i32>ERRNO.ENOSYS;
  const machphys = cmd == MMU.MACHPHYS_UPDATE;
  if (machphys && changetype<usize>(pt_owner) != changetype<usize>(current.domain)) return -<i32>ERRNO.EPERM;
  // Anyone may name DOMID_IO; what it may map is another question.
  let denied: i32 = changetype<usize>(pg_owner) == changetype<usize>(xen().dom_io) ? 0 : xsm_target(pg_owner);
  if (denied == 0 && machphys) return machphys_update(ptr, val, pg_owner);
  if (denied == 0) denied = xsm_target(pt_owner);
  return denied != 0 ? denied : pt_update(ptr, val, cmd, pt_owner, pg_owner);
}

/**
 * ureqs: struct mmu_update[count]; pdone: u32 that receives the number of updates done, or 0. foreigndom: owner of the
 * frames that are mapped; high half: owner of the page tables + 1, 0 for the caller.
 */
export function do_mmu_update(ureqs: u64, ucount: u64, pdone: u64, uforeign: u64): i64 {
  let count = <u32>ucount;
  const foreigndom = <u32>uforeign;
  let done: u32 = 0;
  const buffer = mm_scratch(SCRATCH_BATCH);
  const word = mm_scratch(SCRATCH_WORD);
  if (put_old_guest_table(current) != 0) return hypercall_create_continuation(HYPERCALL.mmu_update, ureqs, ucount, pdone, uforeign, 0);
  // Everything but that table was done before: this carries the result.
  if (count == MMU_UPDATE_PREEMPTED && ureqs == 0) return <i64><i32>foreigndom;
  if (count & MMU_UPDATE_PREEMPTED) {
    count &= ~MMU_UPDATE_PREEMPTED;
    if (pdone != 0 && copy_from_guest(word, pdone, 4) == 0) done = load<u32>(word);
  }
  const bytes = <u64>count * <u64>MmuUpdate.SIZE;
  if (bytes > 0xffff_ffff || !guest_handle_okay(ureqs, <u32>bytes)) return -ERRNO.EFAULT;
  const d = current.domain;
  let pt_owner = d;
  const pt_dom = foreigndom >> 16;
  if (pt_dom != 0 && pt_dom - 1 != d.domid) {
    pt_owner = get_domain_by_id(pt_dom - 1);
    if (is_null(pt_owner)) return -ERRNO.ESRCH;
  }
  let rc: i32 = 0;
  let i: u32 = 0;
  let flush = false;
  const pg_owner = get_pg_owner(foreigndom & 0xffff);
  if (changetype<usize>(pt_owner) != changetype<usize>(d) && (pt_owner.max_vcpus == 0 || pt_owner.is_hvm)) rc = -<i32>ERRNO.EINVAL;
  else if (is_null(pg_owner)) rc = -<i32>ERRNO.ESRCH;
  else {
    let at: usize = 0;
    let have: u32 = 0;
    for (; i < count; i++) {
      if (current.old_guest_table != 0 || (have == 0 && i != 0 && hypercall_preempt_check())) {
        rc = -<i32>ERRNO.ERESTART;
        break;
      }
      if (have == 0) {
        have = min<u32>(count - i, BATCH);
        at = buffer;
        if (copy_from_guest(buffer, ureqs + <u64>i * <u64>MmuUpdate.SIZE, have * <u32>MmuUpdate.SIZE) != 0) {
          // Those before the one that cannot be read are still done.
          have = 1;
          if (copy_from_guest(buffer, ureqs + <u64>i * <u64>MmuUpdate.SIZE, <u32>MmuUpdate.SIZE) != 0) {
            rc = -<i32>ERRNO.EFAULT;
            break;
          }
        }
      }
      rc = one_update(load<u64>(at, MmuUpdate.ptr), load<u64>(at, MmuUpdate.val), pt_owner, pg_owner);
      if (rc < 0) break;
      if (rc == FLUSH_LINEAR) flush = true;
      rc = 0;
      have--;
      at += MmuUpdate.SIZE;
    }
  }
  if (flush) flush_tlb_domain(pt_owner);
  put_pg_owner(pg_owner);
  if (changetype<usize>(pt_owner) != changetype<usize>(d)) put_domain(pt_owner);
  if (pdone != 0) {
    store<u32>(word, done + i);
    copy_to_guest(pdone, word, 4);
  }
  if (rc == -<i32>ERRNO.ERESTART) {
    return hypercall_create_continuation(
      HYPERCALL.mmu_update, ureqs + <u64>i * <u64>MmuUpdate.SIZE, <u64>((count - i) | MMU_UPDATE_PREEMPTED), pdone, uforeign, 0,
    );
  }
  if (current.old_guest_table != 0) {
    return hypercall_create_continuation(HYPERCALL.mmu_update, 0, <u64>MMU_UPDATE_PREEMPTED, 0, <u64>rc, 0);
  }
  return <i64>rc;
}
