// XENMEM_increase_reservation, decrease_reservation, populate_physmap: pages to and from a domain (common/memory.c).
// These report how many extents were done, and never an errno.
import { HYPERCALL, MemoryReservation, XENMEM, XENMEMF } from "../abi";
import { Domain, is_null } from "../domain";
import { put_domain } from "../domain_list";
import { copy_from_guest, copy_to_guest, guest_handle_okay } from "../guest";
import { hypercall_create_continuation, hypercall_preempt_check } from "../hypercalls/continuation";
import { current } from "../percpu";
import { alloc_domheap_pages } from "./domain";
import { mfn_to_page, mfn_valid } from "./frame";
import { set_gpfn_from_mfn } from "./m2p";
import { guest_remove_page, p2m_add, P2M_FLUSH, p2m_ram_rw, paging_mode_translate } from "./p2m";
import { get_page, put_page, put_page_alloc_ref } from "./page";
import { get_any_domain, is_privileged_for } from "./privilege";
import { mm_scratch, SCRATCH_ARG, SCRATCH_WORD } from "./scratch";
import { MAX_ORDER } from "./state";
import { flush_tlb_domain } from "./tlbflush";

/** A continued call has the extents done so far in the command, from this bit on. */
export const MEMOP_EXTENT_SHIFT: u64 = 6;
const MAX_EXTENTS: u64 = 0xffff_ffff >> MEMOP_EXTENT_SHIFT;

/** Largest extent that a domain without and with control privilege may ask for (Xen's memop-max-order). */
const DOMU_MAX_ORDER: u32 = 9;

export function max_order(d: Domain): u32 {
  return d.privileged ? MAX_ORDER : DOMU_MAX_ORDER;
}

/** What became of an extent, besides P2M_FLUSH: not all of it was done. */
const STOP: i32 = 2;

/** Gives up 2^order frames of `d`, from `mfn` on. False at the first that is not its own. */
function give_up_frames(d: Domain, mfn: u64, order: u32): bool {
  for (let i: u64 = 0; i < 1 << <u64>order; i++) {
    if (!mfn_valid(mfn + i)) return false;
    const pg = mfn_to_page(<u32>(mfn + i));
    if (!get_page(pg, d)) return false;
    // What is mapped, pinned or granted is free when that ends. Giving a page up twice does nothing.
    put_page_alloc_ref(pg);
    put_page(pg);
  }
  return true;
}

/** Gives up the 2^order pages that frame numbers of `d` name. */
function decrease(d: Domain, gfn: u64, order: u32): i32 {
  if (!paging_mode_translate(d)) return give_up_frames(d, gfn, order) ? 0 : STOP;
  let rc: i32 = 0;
  for (let i: u64 = 0; i < 1 << <u64>order; i++) {
    if (guest_remove_page(d, gfn + i) < 0) return rc | STOP;
    rc = P2M_FLUSH;
  }
  return rc;
}

/** Does [mfn, mfn + 2^order) lie within `bits` of address? 0: no limit. */
function address_ok(mfn: u32, order: u32, bits: u32): bool {
  return bits == 0 || bits >= 32 || mfn + (1 << order) <= 1 << (bits - 12);
}

/** 2^order new pages for `d`, or 0. */
function allocate(d: Domain, order: u32, bits: u32): u32 {
  const mfn = alloc_domheap_pages(d, order);
  if (mfn == 0 || address_ok(mfn, order, bits)) return mfn;
  give_up_frames(d, mfn, order);
  return 0;
}

/** One extent; `at` is the handle of its list entry (0: no list). STOP, P2M_FLUSH, both or neither. */
function one_extent(op: u32, d: Domain, at: u64, order: u32, bits: u32): i32 {
  const word = mm_scratch(SCRATCH_WORD);
  if (op == XENMEM.increase_reservation) {
    const mfn = allocate(d, order, bits);
    if (mfn == 0) return STOP;
    if (at == 0 || paging_mode_translate(d)) return 0;
    store<u64>(word, <u64>mfn);
    return copy_to_guest(at, word, 8) == 0 ? 0 : STOP;
  }
  if (copy_from_guest(word, at, 8) != 0) return STOP;
  const gpfn = load<u64>(word);
  if (op == XENMEM.decrease_reservation) return decrease(d, gpfn, order);
  const mfn = allocate(d, order, bits);
  if (mfn == 0) return STOP;
  if (paging_mode_translate(d)) {
    const rc = p2m_add(d, gpfn, mfn, order, p2m_ram_rw);
    if (rc >= 0) return rc;
    give_up_frames(d, mfn, order);
    return STOP;
  }
  for (let i: u32 = 0; i < 1 << order; i++) set_gpfn_from_mfn(mfn + i, gpfn + i);
  store<u64>(word, <u64>mfn);
  return copy_to_guest(at, word, 8) == 0 ? 0 : STOP;
}

/** `start`: extents that were done before a continuation. */
export function memory_reservation(op: u32, arg: u64, start: u64): i64 {
  const r = mm_scratch(SCRATCH_ARG);
  if (copy_from_guest(r, arg, <u32>MemoryReservation.SIZE) != 0) return start;
  const list = load<u64>(r, MemoryReservation.extent_start);
  const n = load<u64>(r, MemoryReservation.nr_extents);
  const order = load<u32>(r, MemoryReservation.extent_order);
  const flags = load<u32>(r, MemoryReservation.mem_flags);
  const bits = flags & 0xff;
  if (n > MAX_EXTENTS || start >= n) return start;
  const needs_list = op != XENMEM.increase_reservation;
  if ((needs_list || list != 0) && !guest_handle_okay(list, <u32>n << 3)) return start;
  if (order > max_order(current.domain) || (bits != 0 && bits <= 12)) return start;
  // There is no populate on demand.
  if (flags & XENMEMF.populate_on_demand) return start;
  const d = get_any_domain(load<u16>(r, MemoryReservation.domid));
  if (is_null(d)) return start;
  let i = start;
  let preempted = false;
  let outcome: i32 = 0;
  if (is_privileged_for(current.domain, d)) {
    for (; i < n; i++) {
      if (i != start && hypercall_preempt_check()) {
        preempted = true;
        break;
      }
      outcome |= one_extent(op, d, list == 0 ? 0 : list + (i << 3), order, bits);
      if (outcome & STOP) break;
    }
  }
  // One for all: what is free by now was stamped, and is in no TLB when somebody gets it.
  if (outcome & P2M_FLUSH) flush_tlb_domain(d);
  put_domain(d);
  if (!preempted) return i;
  return hypercall_create_continuation(HYPERCALL.memory_op, <u64>op | (i << MEMOP_EXTENT_SHIFT), arg, 0, 0, 0);
}
