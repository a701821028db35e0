// Checking page tables as they become page tables, and taking them apart when they stop being any (Xen's
// promote_l?_table, demote_l?_table). Each present entry holds a reference on the frame it names: of the next lower
// table type, or, at L1, a plain one, with a writable type reference if the mapping is writable.
import { ERRNO } from "../abi";
import { Domain, is_null } from "../domain";
import { hypercall_preempt_check } from "../hypercalls/continuation";
import {
  map_domain_page, mfn_to_page, page_to_mfn, PageInfo, PGT_l1_page_table, PGT_l4_page_table,
} from "./frame";
import { get_page_from_l1e, put_page_from_l1e } from "./l1e";
import { dec_linear_entries, dec_linear_uses, get_linear_pagetable, is_self_map } from "./linear";
import { mm } from "./state";
import { get_page_from_mfn, put_page } from "./page";
import { get_type, page_type, put_type } from "./page_type";
import { entries_done, is_linear_dropped, set_entries_done, set_failed, set_linear_dropped } from "./progress";
import {
  adjust_guest_l1e, adjust_guest_l23e, adjust_guest_l4e, is_guest_l4_slot, L234_DISALLOW_MASK, present, pte_mfn,
  ROOT_PAGETABLE_FIRST_XEN_SLOT, ROOT_PAGETABLE_LAST_XEN_SLOT,
} from "./pte";
import { note_downgrade, table_left } from "./tlbflush";
import { vm_assist_m2p_strict } from "./vm_assist";

const ENTRIES: u32 = 512;

/**
 * References for a present entry of an L2, L3 or L4 table `mfn` of type `type`: 0, -EINVAL, or, if that is allowed,
 * -ERESTART: to be called again.
 */
export function get_page_from_l234e(pte: u64, mfn: u32, type: u32, d: Domain, preemptible: bool): i32 {
  if (pte & L234_DISALLOW_MASK) return -<i32>ERRNO.EINVAL;
  const below = type - PGT_l1_page_table;
  const pg = get_page_from_mfn(pte_mfn(pte), d);
  if (is_null(pg)) return -<i32>ERRNO.EINVAL;
  const rc = get_type(pg, below, preemptible);
  if (rc == 0) return 0;
  put_page(pg);
  if (rc == -<i32>ERRNO.EINVAL && get_linear_pagetable(pte, mfn, type, d)) return 0;
  return rc;
}

/**
 * An entry of table `table`, of type `type`, is taken away (it still holds its references): if it is a linear one, it
 * counts as such no more.
 */
export function drop_linear_use(pte: u64, table: PageInfo, type: u32): void {
  if (!present(pte) || is_self_map(pte, table)) return;
  const pg = mfn_to_page(<u32>pte_mfn(pte));
  if (page_type(pg) != type) return;
  dec_linear_uses(pg);
  dec_linear_entries(table);
}

/** Drops an entry's references. 0; or, if that is allowed, -ERESTART: they are still held, and it is to be called again. */
function put_page_from_l234e(pte: u64, table: PageInfo, preemptible: bool): i32 {
  if (!present(pte) || is_self_map(pte, table)) return 0;
  const pg = mfn_to_page(<u32>pte_mfn(pte));
  const rc = put_type(pg, preemptible);
  if (rc == 0) put_page(pg);
  return rc;
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

/** An entry of an upper level as it is stored. */
// @ts-ignore: decorator
@inline
function adjust_guest_l234e(pte: u64, type: u32): u64 {
  return type == PGT_l4_page_table ? adjust_guest_l4e(pte) : adjust_guest_l23e(pte);
}

/** From the first entry that holds no references on. */
function promote_l234_table(pg: PageInfo, type: u32, preemptible: bool): i32 {
  const d = pg.owner;
  const mfn = page_to_mfn(pg);
  const base = map_domain_page(mfn);
  let worked = false;
  if (is_linear_dropped(pg)) {
    // Taking it apart was stopped within the last entry, which cannot be gone back on.
    const i = entries_done(pg);
    const rc = put_page_from_l234e(load<u64>(base + (<usize>(i - 1) << 3)), pg, preemptible);
    if (rc != 0) return rc;
    set_entries_done(pg, i - 1);
  }
  for (let i = entries_done(pg); i < ENTRIES; i++) {
    const at = base + (<usize>i << 3);
    const pte = load<u64>(at);
    if (!present(pte) || (type == PGT_l4_page_table && !is_guest_l4_slot(i))) continue;
    set_entries_done(pg, i);
    if (preemptible && worked && hypercall_preempt_check()) return -<i32>ERRNO.ERESTART;
    const rc = get_page_from_l234e(pte, mfn, type, d, preemptible);
    if (rc != 0) {
      if (rc != -<i32>ERRNO.ERESTART) set_failed(pg);
      return rc;
    }
    worked = true;
    store_if_changed(at, pte, adjust_guest_l234e(pte, type));
  }
  set_entries_done(pg, ENTRIES);
  if (type == PGT_l4_page_table) init_xen_l4_slots(base, vm_assist_m2p_strict(d));
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

/**
 * Checks a frame that is to be a table of `type`, and takes the references its entries need. -EINVAL: those that were taken
 * are named by `progress` (none at L1). -ERESTART, if that is allowed: it is to be called again.
 */
export function promote_page_table(pg: PageInfo, type: u32, preemptible: bool): i32 {
  return type == PGT_l1_page_table ? promote_l1_table(pg) : promote_l234_table(pg, type, preemptible);
}

/** Drops the references of a table's entries, as far as `progress` says there are. Its contents stay. -ERESTART as above. */
export function demote_page_table(pg: PageInfo, type: u32, preemptible: bool): i32 {
  const base = map_domain_page(page_to_mfn(pg));
  // Translations through this table may be cached, and its frame may be written to without our knowing.
  note_downgrade(pg.owner);
  table_left(pg);
  let worked = false;
  for (let i = entries_done(pg); i > 0; i--) {
    const pte = load<u64>(base + (<usize>(i - 1) << 3));
    if (!present(pte)) continue;
    if (type == PGT_l1_page_table) {
      put_page_from_l1e(pte);
      continue;
    }
    if (type == PGT_l4_page_table && !is_guest_l4_slot(i - 1)) continue;
    if (preemptible && worked && hypercall_preempt_check()) {
      set_entries_done(pg, i);
      return -<i32>ERRNO.ERESTART;
    }
    if (!is_linear_dropped(pg)) drop_linear_use(pte, pg, type);
    const rc = put_page_from_l234e(pte, pg, preemptible);
    set_entries_done(pg, rc == 0 ? i - 1 : i);
    if (rc != 0) {
      set_linear_dropped(pg);
      return rc;
    }
    worked = true;
  }
  set_entries_done(pg, 0);
  return 0;
}
