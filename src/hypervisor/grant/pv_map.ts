// Grant mappings in a PV guest's page tables: an L1 entry named by linear address, or by its machine address
// (GNTMAP_contains_pte). The entry holds a reference on the frame, with the writable type if it is writable.
import { CpuState, GNTMAP, GNTST } from "../abi";
import { is_null } from "../domain";
import { current } from "../percpu";
import { PageInfo, PGT_l1_page_table } from "../mm/frame";
import { note_foreign_mapping, put_page_from_l1e } from "../mm/l1e";
import { get_page_from_mfn, put_page } from "../mm/page";
import { page_lock, page_type, page_unlock } from "../mm/page_type";
import {
  _PAGE_ACCESSED, _PAGE_AVAIL, _PAGE_DIRTY, _PAGE_PRESENT, _PAGE_RW, _PAGE_USER, adjust_guest_l1e, present, pte_mfn,
} from "../mm/pte";
import { frame_entry_modified, note_downgrade } from "../mm/tlbflush";
import { guest_l1e_address } from "../mm/walk";

/** Position of GNTMAP_guest_avail0 in the flags. */
const GUEST_AVAIL_SHIFT: u32 = 16;
const AVAIL_SHIFT: u64 = 9;

/** Machine address of the L1 entry that host_addr names, or 0. */
function l1e_address(host_addr: u64, flags: u32): usize {
  if (flags & GNTMAP.contains_pte) return (host_addr & 7) != 0 || host_addr >> 32 != 0 ? 0 : <usize>host_addr;
  return guest_l1e_address(<u32>(load<u64>(current.cpu, CpuState.cr3) >> 12), host_addr);
}

/** Locks the L1 table that the entry at `at` is in; null: it is none of the caller's. */
function lock_l1(at: usize): PageInfo {
  if (at == 0) return changetype<PageInfo>(0);
  const pg = get_page_from_mfn(<u64>at >> 12, current.domain);
  if (is_null(pg)) return pg;
  if (page_lock(pg)) {
    if (page_type(pg) == PGT_l1_page_table) return pg;
    page_unlock(pg);
  }
  put_page(pg);
  return changetype<PageInfo>(0);
}

function unlock_l1(pg: PageInfo): void {
  page_unlock(pg);
  put_page(pg);
}

function set_l1e(at: usize, l1e: u64): void {
  atomic.store<u64>(at, l1e);
  frame_entry_modified(<u32>(at >> 12), <u32>at & 0xff8);
}

/** Maps frame `mfn` for the current domain; the entry takes over the caller's references. GNTST_*. */
export function create_grant_pv_mapping(host_addr: u64, mfn: u32, flags: u32): i32 {
  let l1e: u64 = (<u64>mfn << 12) | _PAGE_PRESENT | _PAGE_ACCESSED | _PAGE_DIRTY;
  if (!(flags & GNTMAP.readonly)) l1e |= _PAGE_RW;
  if (flags & GNTMAP.application_map) l1e |= _PAGE_USER;
  l1e |= (<u64>(flags >> GUEST_AVAIL_SHIFT) << AVAIL_SHIFT) & _PAGE_AVAIL;
  l1e = adjust_guest_l1e(l1e);
  const at = l1e_address(host_addr, flags);
  const pg = lock_l1(at);
  if (is_null(pg)) return GNTST.general_error;
  note_foreign_mapping(current.domain);
  const old = atomic.load<u64>(at);
  set_l1e(at, l1e);
  if (present(old)) note_downgrade(current.domain);
  unlock_l1(pg);
  put_page_from_l1e(old);
  return GNTST.okay;
}

/**
 * Takes a mapping of frame `mfn` away; the entry becomes what the one for new_addr is (0: not present), and that one is
 * cleared. The entry's references pass to the caller, who drops them after a TLB flush. GNTST_*.
 */
export function replace_grant_pv_mapping(host_addr: u64, mfn: u32, new_addr: u64, flags: u32): i32 {
  let replacement: u64 = 0;
  if (new_addr != 0) {
    // Xen does this for mappings by linear address only.
    if (flags & GNTMAP.contains_pte) return GNTST.general_error;
    const from = guest_l1e_address(<u32>(load<u64>(current.cpu, CpuState.cr3) >> 12), new_addr);
    const at = l1e_address(host_addr, flags);
    if (from == 0 || at == 0 || from == at) return GNTST.general_error;
    const pg = lock_l1(from);
    if (is_null(pg)) return GNTST.general_error;
    replacement = atomic.load<u64>(from);
    set_l1e(from, 0);
    note_downgrade(current.domain);
    unlock_l1(pg);
  }
  const rc = take_away(l1e_address(host_addr, flags), mfn, flags, replacement);
  // The entry that was to move is lost with its references if there was no grant mapping to replace.
  if (rc != GNTST.okay) put_page_from_l1e(replacement);
  return rc;
}

function take_away(at: usize, mfn: u32, flags: u32, replacement: u64): i32 {
  const pg = lock_l1(at);
  if (is_null(pg)) return GNTST.general_error;
  const old = atomic.load<u64>(at);
  const writable = (flags & GNTMAP.readonly) == 0;
  const same = present(old) && pte_mfn(old) == <u64>mfn && ((old & _PAGE_RW) != 0) == writable;
  if (same) {
    set_l1e(at, replacement);
    note_downgrade(current.domain);
  }
  unlock_l1(pg);
  return same ? GNTST.okay : GNTST.general_error;
}
