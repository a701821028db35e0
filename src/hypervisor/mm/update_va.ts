// HYPERVISOR_update_va_mapping(_otherdomain): sets the L1 entry of one linear address, and flushes it (public/xen.h).
import { CpuState, ERRNO, UVMF } from "../abi";
import { Domain, is_null } from "../domain";
import { copy_from_guest } from "../guest";
import { current } from "../percpu";
import { PGT_l1_page_table } from "./frame";
import { mod_l1_entry } from "./mod_entry";
import { get_page_from_mfn, put_page } from "./page";
import { page_lock, page_type, page_unlock } from "./page_type";
import { get_pg_owner, put_pg_owner, xsm_target } from "./privilege";
import { mm_scratch, SCRATCH_WORD } from "./scratch";
import { flush_tlb_domain, flush_tlb_local, flush_tlb_page, flush_tlb_page_local } from "./tlbflush";
import { guest_l1e_address } from "./walk";

/** Reads a guest's bitmap of vCPUs (words of 64) to see that it can be read; whom it names does not matter here. */
export function read_vcpumask(d: Domain, bitmap: u64): bool {
  const word = mm_scratch(SCRATCH_WORD);
  for (let bias: u32 = 0; bias < d.max_vcpus; bias += 64) {
    if (copy_from_guest(word, bitmap + (bias >> 3), 8) != 0) return false;
  }
  return true;
}

function update(va: u64, val: u64, pg_owner: Domain): i32 {
  const d = current.domain;
  const at: usize = d.is_ts ? 0 : guest_l1e_address(<u32>(load<u64>(current.cpu, CpuState.cr3) >> 12), va);
  if (at == 0) return -<i32>ERRNO.EINVAL;
  const pg = get_page_from_mfn(<u64>at >> 12, d);
  if (is_null(pg)) return -<i32>ERRNO.EINVAL;
  let rc: i32 = -<i32>ERRNO.EINVAL;
  if (page_lock(pg)) {
    if (page_type(pg) == PGT_l1_page_table) rc = mod_l1_entry(at, val, false, d, pg_owner);
    page_unlock(pg);
  }
  put_page(pg);
  return rc;
}

function flush(va: u64, flags: u64): i32 {
  const d = current.domain;
  const kind = <u32>flags & UVMF.FLUSHTYPE_MASK;
  if (kind != UVMF.TLB_FLUSH && kind != UVMF.INVLPG) return 0;
  const whom = flags & ~<u64>UVMF.FLUSHTYPE_MASK;
  if (whom == <u64>UVMF.LOCAL) {
    if (kind == UVMF.TLB_FLUSH) flush_tlb_local(d);
    else flush_tlb_page_local(d, va);
    return 0;
  }
  if (whom != <u64>UVMF.ALL && !read_vcpumask(d, whom)) return -<i32>ERRNO.EFAULT;
  if (kind == UVMF.TLB_FLUSH) flush_tlb_domain(d);
  else flush_tlb_page(d, va);
  return 0;
}

function update_va_mapping(va: u64, val: u64, flags: u64, pg_owner: Domain): i64 {
  const denied = xsm_target(pg_owner);
  if (denied != 0) return denied;
  const rc = update(va, val, pg_owner);
  return rc != 0 ? rc : flush(va, flags);
}

/** va: linear address; val: the L1 entry; flags: UVMF_*. */
export function do_update_va_mapping(va: u64, val: u64, flags: u64): i64 {
  return update_va_mapping(va, val, flags, current.domain);
}

/** As above, for a mapping of a page of `domid`. */
export function do_update_va_mapping_otherdomain(va: u64, val: u64, flags: u64, domid: u64): i64 {
  const pg_owner = get_pg_owner(<u32>domid & 0xffff);
  if (is_null(pg_owner)) return -ERRNO.ESRCH;
  const rc = update_va_mapping(va, val, flags, pg_owner);
  put_pg_owner(pg_owner);
  return rc;
}
