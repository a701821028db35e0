// HYPERVISOR_mmuext_op: pinning, base pointers, flushes, LDT, whole-page operations (public/xen.h MMUEXT_*).
import { CpuState, ERRNO, HYPERCALL, MMUEXT, MmuextOp } from "../abi";
import { Domain, is_null, Vcpu } from "../domain";
import { copy_from_guest, copy_to_guest, guest_handle_okay } from "../guest";
import { hypercall_create_continuation, hypercall_preempt_check } from "../hypercalls/continuation";
import { current } from "../percpu";
import { spin_lock, spin_unlock } from "../spinlock";
import {
  map_domain_page, mfn_to_page, page_to_mfn, PGT_l1_page_table, PGT_l4_page_table, PGT_writable_page,
} from "./frame";
import { set_guest_table } from "./domain";
import { MMU_UPDATE_PREEMPTED } from "./mmu_update";
import { put_old_guest_table, put_page_and_type_deferred } from "./old_table";
import { get_page_from_mfn, put_page } from "./page";
import {
  get_page_and_type_from_mfn, get_page_type_preemptible, get_table_from_mfn, put_page_and_type, test_and_clear_pinned, test_and_set_pinned,
} from "./page_type";
import { fill_ro_mpt, zap_ro_mpt } from "./page_table";
import { get_pg_owner, put_pg_owner, xsm_target } from "./privilege";
import { addr_ok } from "./pte";
import { mm_scratch, SCRATCH_BATCH, SCRATCH_WORD } from "./scratch";
import {
  flush_tlb_domain, flush_tlb_local, flush_tlb_page, flush_tlb_page_local, frame_modified, load_cr3,
} from "./tlbflush";
import { read_vcpumask } from "./update_va";
import { vm_assist_m2p_strict } from "./vm_assist";

const LDT_MAX_ENTRIES: u32 = 8192;

function pin(mfn: u64, type: u32, owner: Domain): i32 {
  const pg = get_page_from_mfn(mfn, owner);
  if (is_null(pg)) return -<i32>ERRNO.EINVAL;
  const rc = get_page_type_preemptible(pg, type);
  if (rc != 0) {
    put_page(pg);
    return rc;
  }
  if (!test_and_set_pinned(pg)) {
    put_page_and_type(pg);
    return -<i32>ERRNO.EINVAL;
  }
  if (changetype<usize>(owner) != changetype<usize>(current.domain)) {
    // The owner may be dying, and its pinned pages may have been gone through already.
    const lock = changetype<usize>(owner) + offsetof<Domain>("page_alloc_lock");
    spin_lock(lock);
    const drop = owner.is_dying != 0 && test_and_clear_pinned(pg);
    spin_unlock(lock);
    if (drop) put_page_and_type(pg);
  }
  return 0;
}

function unpin(mfn: u64, owner: Domain): i32 {
  const pg = get_page_from_mfn(mfn, owner);
  if (is_null(pg)) return -<i32>ERRNO.EINVAL;
  const pinned = test_and_clear_pinned(pg);
  if (pinned) put_page_and_type_deferred(pg);
  put_page(pg);
  return pinned ? 0 : -<i32>ERRNO.EINVAL;
}

/** Loads the kernel's CR3 of the current vCPU. 0, -EINVAL, or -ERESTART to be called again. */
export function new_guest_cr3(mfn: u64): i32 {
  const v = current;
  const d = v.domain;
  const old = v.guest_table;
  if (mfn != <u64>old) {
    const rc = get_table_from_mfn(mfn, PGT_l4_page_table, d);
    if (rc != 0) return rc;
    if (!vm_assist_m2p_strict(d)) fill_ro_mpt(<u32>mfn);
    set_guest_table(v, <u32>mfn);
  }
  load_cr3(v, <u32>mfn);
  if (mfn != <u64>old && old != 0) put_page_and_type_deferred(mfn_to_page(old));
  return 0;
}

/** Sets the CR3 for user mode of the current vCPU; 0: none. */
function new_user_cr3(mfn: u64): i32 {
  const v = current;
  const d = v.domain;
  const old = v.guest_table_user;
  if (mfn == <u64>old) return 0;
  if (mfn != 0) {
    const rc = get_table_from_mfn(mfn, PGT_l4_page_table, d);
    if (rc != 0) return rc;
    if (vm_assist_m2p_strict(d)) zap_ro_mpt(<u32>mfn, d);
  }
  v.guest_table_user = <u32>mfn;
  if (old != 0) put_page_and_type_deferred(mfn_to_page(old));
  return 0;
}

function set_ldt(v: Vcpu, base: u64, ents: u64): i32 {
  const n = <u32>ents;
  if (n > LDT_MAX_ENTRIES || (n != 0 && ((base & 4095) != 0 || !addr_ok(base)))) return -<i32>ERRNO.EINVAL;
  // The engine reads descriptors through the guest's page tables when a selector is loaded, and gives none of them more
  // than ring 3: so the pages need no type. Selectors loaded before keep their meaning, as on a CPU.
  store<u64>(v.cpu, n != 0 ? base : 0, CpuState.ldt_base);
  store<u32>(v.cpu, n, CpuState.ldt_ents);
  return 0;
}

function clear_page(mfn: u64, owner: Domain): i32 {
  const pg = get_page_and_type_from_mfn(mfn, PGT_writable_page, owner);
  if (is_null(pg)) return -<i32>ERRNO.EINVAL;
  memory.fill(map_domain_page(<u32>mfn), 0, 4096);
  frame_modified(<u32>mfn);
  put_page_and_type(pg);
  return 0;
}

function copy_page(to: u64, from: u64, owner: Domain): i32 {
  const src = get_page_from_mfn(from, owner);
  if (is_null(src)) return -<i32>ERRNO.EINVAL;
  const dst = get_page_and_type_from_mfn(to, PGT_writable_page, owner);
  if (is_null(dst)) {
    put_page(src);
    return -<i32>ERRNO.EINVAL;
  }
  memory.copy(map_domain_page(page_to_mfn(dst)), map_domain_page(page_to_mfn(src)), 4096);
  frame_modified(page_to_mfn(dst));
  put_page_and_type(dst);
  put_page(src);
  return 0;
}

/** Operations on the caller's own address space. */
function own_op(cmd: u32, arg1: u64, arg2: u64): i32 {
  const v = current;
  const d = v.domain;
  switch (cmd) {
    case MMUEXT.NEW_BASEPTR: return new_guest_cr3(arg1);
    case MMUEXT.NEW_USER_BASEPTR: return new_user_cr3(arg1);
    case MMUEXT.TLB_FLUSH_LOCAL: {
      flush_tlb_local(d);
      return 0;
    }
    case MMUEXT.INVLPG_LOCAL: {
      flush_tlb_page_local(d, arg1);
      return 0;
    }
    case MMUEXT.TLB_FLUSH_MULTI:
    case MMUEXT.INVLPG_MULTI: {
      if (!read_vcpumask(d, arg2)) return -<i32>ERRNO.EINVAL;
      if (cmd == MMUEXT.TLB_FLUSH_MULTI) flush_tlb_domain(d);
      else if (addr_ok(arg1)) flush_tlb_page(d, arg1);
      return 0;
    }
    case MMUEXT.TLB_FLUSH_ALL: {
      flush_tlb_domain(d);
      return 0;
    }
    case MMUEXT.INVLPG_ALL: {
      if (addr_ok(arg1)) flush_tlb_page(d, arg1);
      return 0;
    }
    // No domain has devices, so none may flush caches (Xen's cache_flush_permitted).
    case MMUEXT.FLUSH_CACHE: return -<i32>ERRNO.EACCES;
    case MMUEXT.FLUSH_CACHE_GLOBAL: return -<i32>ERRNO.EINVAL;
    case MMUEXT.SET_LDT: return set_ldt(v, arg1, arg2 & 0xffff_ffff);
  }
  return -<i32>ERRNO.ENOSYS;
}

function is_own_op(cmd: u32): bool {
  return (cmd >= MMUEXT.NEW_BASEPTR && cmd <= MMUEXT.SET_LDT) || cmd == MMUEXT.NEW_USER_BASEPTR || cmd == MMUEXT.FLUSH_CACHE_GLOBAL;
}

function one_op(op: usize, owner: Domain): i32 {
  const cmd = load<u32>(op, MmuextOp.cmd);
  const arg1 = load<u64>(op, MmuextOp.arg1);
  const arg2 = load<u64>(op, MmuextOp.arg2);
  if (is_own_op(cmd)) {
    if (changetype<usize>(owner) != changetype<usize>(current.domain)) return -<i32>ERRNO.EPERM;
    // A TypeScript domain has no address space of its own.
    if (owner.is_ts) return -<i32>ERRNO.EOPNOTSUPP;
    return own_op(cmd, arg1, arg2);
  }
  switch (cmd) {
    case MMUEXT.PIN_L1_TABLE:
    case MMUEXT.PIN_L2_TABLE:
    case MMUEXT.PIN_L3_TABLE:
    case MMUEXT.PIN_L4_TABLE: return pin(arg1, (cmd - MMUEXT.PIN_L1_TABLE + 1) * PGT_l1_page_table, owner);
    case MMUEXT.UNPIN_TABLE: return unpin(arg1, owner);
    case MMUEXT.CLEAR_PAGE: return clear_page(arg1, owner);
    case MMUEXT.COPY_PAGE: return copy_page(arg1, arg2, owner);
    case MMUEXT.MARK_SUPER:
    case MMUEXT.UNMARK_SUPER: return -<i32>ERRNO.EOPNOTSUPP;
  }
  return -<i32>ERRNO.ENOSYS;
}

/** uops: struct mmuext_op[count]; pdone: u32 that receives the number done, or 0; foreigndom: whose frames. */
export function do_mmuext_op(uops: u64, ucount: u64, pdone: u64, uforeign: u64): i64 {
  let count = <u32>ucount;
  let done: u32 = 0;
  const word = mm_scratch(SCRATCH_WORD);
  const op = mm_scratch(SCRATCH_BATCH);
  if (put_old_guest_table(current) != 0) return hypercall_create_continuation(HYPERCALL.mmuext_op, uops, ucount, pdone, uforeign, 0);
  // Everything but that table was done before: this carries the result.
  if (count == MMU_UPDATE_PREEMPTED && uops == 0) return <i64><i32>uforeign;
  if (count & MMU_UPDATE_PREEMPTED) {
    count &= ~MMU_UPDATE_PREEMPTED;
    if (pdone != 0 && copy_from_guest(word, pdone, 4) == 0) done = load<u32>(word);
  }
  const bytes = <u64>count * <u64>MmuextOp.SIZE;
  if (bytes > 0xffff_ffff || !guest_handle_okay(uops, <u32>bytes)) return -ERRNO.EFAULT;
  const owner = get_pg_owner(<u32>uforeign & 0xffff);
  if (is_null(owner)) return -ERRNO.ESRCH;
  let rc = xsm_target(owner);
  if (rc != 0) {
    put_pg_owner(owner);
    return rc;
  }
  let i: u32 = 0;
  for (; i < count; i++) {
    if (current.old_guest_table != 0 || (i != 0 && hypercall_preempt_check())) {
      rc = -<i32>ERRNO.ERESTART;
      break;
    }
    if (copy_from_guest(op, uops + <u64>i * <u64>MmuextOp.SIZE, <u32>MmuextOp.SIZE) != 0) {
      rc = -<i32>ERRNO.EFAULT;
      break;
    }
    rc = one_op(op, owner);
    if (rc != 0) break;
  }
  put_pg_owner(owner);
  if (pdone != 0) {
    store<u32>(word, done + i);
    copy_to_guest(pdone, word, 4);
  }
  if (rc == -<i32>ERRNO.ERESTART) {
    return hypercall_create_continuation(
      HYPERCALL.mmuext_op, uops + <u64>i * <u64>MmuextOp.SIZE, <u64>((count - i) | MMU_UPDATE_PREEMPTED), pdone, uforeign, 0,
    );
  }
  if (current.old_guest_table != 0) {
    return hypercall_create_continuation(HYPERCALL.mmuext_op, 0, <u64>MMU_UPDATE_PREEMPTED, 0, <u64>rc, 0);
  }
  return rc;
}
