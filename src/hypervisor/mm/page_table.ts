// Checking page tables as they become page tables, and taking them apart when they stop being any (Xen's
// promote_l?_table, demote_l?_table). Each present entry holds a reference on the frame it names: of the next lower
// table type, or, at L1, a plain one, with a writable type reference if the mapping is writable.
import { ERRNO } from "../abi";
import { Domain, is_null } from "../domain";
import {
  map_domain_page, mfn_to_page, page_to_mfn, PageInfo, PGT_l1_page_table, PGT_l4_page_table,
} from "./frame";
import { get_page_from_l1e, put_page_from_l1e } from "./l1e";
import { get_linear_pagetable, is_self_map } from "./linear";
import { mm } from "./state";
import { get_page_from_mfn, put_page } from "./page";
import { get_page_type, put_page_type_from } from "./page_type";
import {
  adjust_guest_l1e, adjust_guest_l23e, adjust_guest_l4e, is_guest_l4_slot, L234_DISALLOW_MASK, present, pte_mfn,
  ROOT_PAGETABLE_FIRST_XEN_SLOT, ROOT_PAGETABLE_LAST_XEN_SLOT,
} from "./pte";
import { note_downgrade, table_left } from "./tlbflush";
import { vm_assist_m2p_strict } from "./vm_assist";

const ENTRIES: u32 = 512;

/** References for a present entry of an L2, L3 or L4 table `mfn` of type `type`. */
export function get_page_from_l234e(pte: u64, mfn: u32, type: u32, d: Domain): i32 {
  if (pte & L234_DISALLOW_MASK) return -<i32>ERRNO.EINVAL;
  const below = type - PGT_l1_page_table;
  const pg = get_page_from_mfn(pte_mfn(pte), d);
  if (is_null(pg)) return -<i32>ERRNO.EINVAL;
  const rc = get_page_type(pg, below);
  if (rc == 0) return 0;
  put_page(pg);
  if (rc == -<i32>ERRNO.EINVAL && get_linear_pagetable(pte, mfn, type, d)) return 0;
  return rc;
}

/** Drops them. */
export function put_page_from_l234e(pte: u64, table: PageInfo): void {
  if (!present(pte) || is_self_map(pte, table)) return;
  const pg = mfn_to_page(<u32>pte_mfn(pte));
  put_page_type_from(pg, table);
  put_page(pg);
}

// @ts-ignore: decorator
@inline
function store_if_changed(at: usize, old: u64, e: u64): void {
  if (e != old) atomic.store<u64>(at, e);
}

function promote_l1_table(pg: PageInfo): i32 {
  const d = pg.owner;
  const base = map_domain_page(page_to_mfn(pg));
  for (let at = base; at < base + 4096; at += 8) {
    const l1e = load<u64>(at);
    if (!present(l1e)) continue;
    const rc = get_page_from_l1e(l1e, d, d);
    if (rc != 0) {
      while (at > base) {
        at -= 8;
        put_page_from_l1e(load<u64>(at));
      }
      return rc;
    }
    store_if_changed(at, l1e, adjust_guest_l1e(l1e));
  }
  return 0;
}

function promote_l23_table(pg: PageInfo, type: u32): i32 {
  const d = pg.owner;
  const mfn = page_to_mfn(pg);
  const base = map_domain_page(mfn);
  for (let at = base; at < base + 4096; at += 8) {
    const pte = load<u64>(at);
    if (!present(pte)) continue;
    const rc = get_page_from_l234e(pte, mfn, type, d);
    if (rc != 0) {
      while (at > base) {
        at -= 8;
        put_page_from_l234e(load<u64>(at), pg);
      }
      return rc;
    }
    store_if_changed(at, pte, adjust_guest_l23e(pte));
  }
  return 0;
}

function promote_l4_table(pg: PageInfo): i32 {
  const d = pg.owner;
  const mfn = page_to_mfn(pg);
  const base = map_domain_page(mfn);
  for (let i: u32 = 0; i < ENTRIES; i++) {
    if (!is_guest_l4_slot(i)) continue;
    const at = base + (<usize>i << 3);
    const pte = load<u64>(at);
    if (!present(pte)) continue;
    const rc = get_page_from_l234e(pte, mfn, PGT_l4_page_table, d);
    if (rc != 0) {
      while (i-- > 0) {
        if (is_guest_l4_slot(i)) put_page_from_l234e(load<u64>(base + (<usize>i << 3)), pg);
      }
      return rc;
    }
    store_if_changed(at, pte, adjust_guest_l4e(pte));
  }
  init_xen_l4_slots(base, vm_assist_m2p_strict(d));
  return 0;
}

const RO_MPT_SLOT: usize = ROOT_PAGETABLE_FIRST_XEN_SLOT << 3;

/** Xen's slots: the read-only M2P if `ro_mpt`, else nothing (the hypervisor does not live in guest page tables). */
function init_xen_l4_slots(base: usize, ro_mpt: bool): void {
  memory.fill(base + RO_MPT_SLOT, 0, (ROOT_PAGETABLE_LAST_XEN_SLOT + 1 - ROOT_PAGETABLE_FIRST_XEN_SLOT) << 3);
  if (ro_mpt) store<u64>(base + RO_MPT_SLOT, mm().ro_mpt_l4e);
}

/** An L4 becomes a kernel's root: it gets the M2P. */
export function fill_ro_mpt(mfn: u32): void {
  const at = map_domain_page(mfn) + RO_MPT_SLOT;
  if (load<u64>(at) == 0) atomic.store<u64>(at, mm().ro_mpt_l4e);
}

/** An L4 becomes a user-mode root of a domain with the m2p_strict assist: it loses the M2P. */
export function zap_ro_mpt(mfn: u32, d: Domain): void {
  const at = map_domain_page(mfn) + RO_MPT_SLOT;
  if (load<u64>(at) == 0) return;
  atomic.store<u64>(at, 0);
  note_downgrade(d);
}

/** Checks a frame that is to be a table of `type`, and takes the references its entries need; all or none. */
export function promote_page_table(pg: PageInfo, type: u32): i32 {
  if (type == PGT_l1_page_table) return promote_l1_table(pg);
  if (type == PGT_l4_page_table) return promote_l4_table(pg);
  return promote_l23_table(pg, type);
}

/** Drops the references of a table's entries. Its contents stay. */
export function demote_page_table(pg: PageInfo, type: u32): void {
  const base = map_domain_page(page_to_mfn(pg));
  // Translations through this table may be cached, and its frame may be written to without our knowing.
  note_downgrade(pg.owner);
  table_left(pg);
  if (type == PGT_l1_page_table) {
    for (let at = base; at < base + 4096; at += 8) put_page_from_l1e(load<u64>(at));
    return;
  }
  for (let i: u32 = 0; i < ENTRIES; i++) {
    if (type == PGT_l4_page_table && !is_guest_l4_slot(i)) continue;
    put_page_from_l234e(load<u64>(base + (<usize>i << 3)), pg);
  }
}
