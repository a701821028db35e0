// References of L1 entries: what a guest may map (Xen's get_page_from_l1e).
import { ERRNO } from "../abi";
import { Domain, is_null } from "../domain";
import { mfn_to_page, mfn_valid, PGT_writable_page } from "./frame";
import { page_get_owner_and_reference, put_page } from "./page";
import { get_page_type, put_page_and_type } from "./page_type";
import { is_privileged_for } from "./privilege";
import { _PAGE_RW, L1_DISALLOW_MASK, present, PTE_INVALID_MFN, pte_mfn } from "./pte";

/**
 * Takes the references that `l1e`, in a table of `l1e_owner`, needs on the frame it maps, which must belong to
 * `pg_owner`. -EINVAL: forbidden bits; -EPERM: no frame of this machine; -EBUSY: not the owner's, or not mappable so.
 */
export function get_page_from_l1e(l1e: u64, l1e_owner: Domain, pg_owner: Domain): i32 {
  if (!present(l1e)) return 0;
  if (l1e & L1_DISALLOW_MASK) return -<i32>ERRNO.EINVAL;
  const mfn = pte_mfn(l1e);
  // No domain has any I/O memory.
  if (!mfn_valid(mfn)) return mfn == PTE_INVALID_MFN ? -<i32>ERRNO.EINVAL : -<i32>ERRNO.EPERM;
  const pg = mfn_to_page(<u32>mfn);
  const owner = page_get_owner_and_reference(pg);
  if (changetype<usize>(owner) != changetype<usize>(pg_owner)) {
    if (is_null(owner)) return -<i32>ERRNO.EBUSY;
    // A domain may pass on its right to map the pages of one that it controls.
    const own = changetype<usize>(pg_owner) == changetype<usize>(l1e_owner);
    if (own || !is_privileged_for(pg_owner, owner)) {
      put_page(pg);
      return -<i32>ERRNO.EBUSY;
    }
  }
  if (changetype<usize>(owner) != changetype<usize>(l1e_owner)) note_foreign_mapping(l1e_owner);
  if ((l1e & _PAGE_RW) != 0 && get_page_type(pg, PGT_writable_page) != 0) {
    put_page(pg);
    return -<i32>ERRNO.EBUSY;
  }
  return 0;
}

/** A frame of another domain is going to be in the domain's page tables. */
export function note_foreign_mapping(d: Domain): void {
  atomic.store<u32>(changetype<usize>(d) + offsetof<Domain>("maps_foreign"), 1);
}

/** Drops the references of an entry of a validated L1 table. */
export function put_page_from_l1e(l1e: u64): void {
  if (!present(l1e)) return;
  const pg = mfn_to_page(<u32>pte_mfn(l1e));
  if (l1e & _PAGE_RW) put_page_and_type(pg);
  else put_page(pg);
}
