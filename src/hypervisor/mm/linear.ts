// Linear page tables: entries of an L2, L3 or L4 that name a table of the same level, so that a guest sees its page
// tables as memory. Xen allows them read-only; a table that maps others linearly may not be mapped linearly itself, so
// chains (and endless teardown) cannot be built.
import { Domain, is_null } from "../domain";
import { panic } from "../log";
import {
  mfn_to_page, page_to_mfn, PageInfo, PGT_count_mask, PGT_type_mask, PGT_validated, type_info_of,
} from "./frame";
import { get_page_from_mfn, put_page } from "./page";
import { _PAGE_RW, pte_mfn } from "./pte";

function count_of(pg: PageInfo): usize {
  return changetype<usize>(pg) + offsetof<PageInfo>("linear_pt_count");
}

/** Adds `delta` unless the count has the other sign. */
function adjust(pg: PageInfo, delta: i32): bool {
  const at = count_of(pg);
  let old = atomic.load<i32>(at);
  for (;;) {
    if (delta > 0 ? old < 0 : old > 0) return false;
    const seen = atomic.cmpxchg<i32>(at, old, old + delta);
    if (seen == old) break;
    old = seen;
  }
  return true;
}

export function dec_linear_entries(pg: PageInfo): void {
  if (atomic.sub<i32>(count_of(pg), 1) <= 0) panic("linear page table entries below zero");
}

export function dec_linear_uses(pg: PageInfo): void {
  if (atomic.add<i32>(count_of(pg), 1) >= 0) panic("linear page table uses below zero");
}

/**
 * Entry `pte` of table `table_mfn` (of type `type`) names a table of the same type: takes the references for that.
 * A table that names itself takes none.
 */
export function get_linear_pagetable(pte: u64, table_mfn: u32, type: u32, d: Domain): bool {
  if (pte & _PAGE_RW) return false;
  const mfn = pte_mfn(pte);
  if (mfn == <u64>table_mfn) return true;
  const pg = get_page_from_mfn(mfn, d);
  if (is_null(pg)) return false;
  const table = mfn_to_page(table_mfn);
  if (!adjust(table, 1)) {
    put_page(pg);
    return false;
  }
  if (!adjust(pg, -1)) {
    dec_linear_entries(table);
    put_page(pg);
    return false;
  }
  const at = type_info_of(pg);
  let x = atomic.load<u32>(at);
  for (;;) {
    // A table that is only being checked is refused, not waited for.
    const full = (x & PGT_count_mask) == PGT_count_mask || (x & PGT_count_mask) == 0;
    if (full || (x & (PGT_type_mask | PGT_validated)) != (type | PGT_validated)) {
      dec_linear_uses(pg);
      dec_linear_entries(table);
      put_page(pg);
      return false;
    }
    const y = atomic.cmpxchg<u32>(at, x, x + 1);
    if (y == x) break;
    x = y;
  }
  return true;
}

/** Does the entry name the table it stands in? */
// @ts-ignore: decorator
@inline
export function is_self_map(pte: u64, table: PageInfo): bool {
  return pte_mfn(pte) == <u64>page_to_mfn(table);
}
