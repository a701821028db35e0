// Taking a dying domain's memory back (Xen's relinquish_memory). The CPU half has stopped its vCPUs; grants it mapped
// are unmapped. Pages that others still map stay theirs until they drop them.
import { ERRNO } from "../abi";
import { Domain, domain_vcpu, is_null } from "../domain";
import { hypercall_preempt_check } from "../hypercalls/continuation";
import { spin_lock, spin_unlock } from "../spinlock";
import { destroy_gdt } from "./descriptor";
import { mfn_to_page, PageInfo } from "./frame";
import { vcpu_destroy_pagetables } from "./domain";
import { get_page, put_page, put_page_alloc_ref } from "./page";
import { finish_old_guest_table } from "./old_table";
import { invalidate_table, put_page_and_type, test_and_clear_pinned } from "./page_type";

/** Domain.relmem_state: what domain_relinquish_memory does next. */
const RELMEM_vcpus: u32 = 0;
const RELMEM_pages: u32 = 1;
const RELMEM_done: u32 = 2;

/** Pages between two looks at whether something else is due. */
const PREEMPT_MASK: u32 = 63;

/**
 * Takes back a domain's memory; is_dying must be set and no vCPU of it run. -ERESTART: call again. Afterwards the domain
 * holds only pages that other domains have mapped.
 */
export function domain_relinquish_memory(d: Domain): i32 {
  if (d.relmem_state == RELMEM_vcpus) {
    for (let i: u32 = 0; i < d.max_vcpus; i++) {
      const v = domain_vcpu(d, i);
      if (is_null(v)) continue;
      finish_old_guest_table(v);
      vcpu_destroy_pagetables(v);
      destroy_gdt(v);
    }
    d.relmem_state = RELMEM_pages;
  }
  if (d.relmem_state == RELMEM_pages) {
    const rc = relinquish_pages(d);
    if (rc != 0) return rc;
    d.relmem_state = RELMEM_done;
  }
  return 0;
}

/**
 * Goes through the domain's pages: unpins each, drops the domain's own reference, and takes page tables apart that keep
 * each other alive (linear ones). (Xen heap pages are left to those who shared them.) A page that is freed leaves the
 * list; so the walk always goes on from the one that is looked at, by a reference on it.
 */
function relinquish_pages(d: Domain): i32 {
  let done: u32 = 0;
  let pg = next_page(d, changetype<PageInfo>(0));
  while (!is_null(pg)) {
    if (test_and_clear_pinned(pg)) put_page_and_type(pg);
    put_page_alloc_ref(pg);
    // A table that is still valid with its pin and own reference gone is held by others: by a table that comes later in
    // the list (then this only does its work early), or by itself or one that it holds, in a circle of linear page tables.
    invalidate_table(pg);
    const next = next_page(d, pg);
    put_page(pg);
    pg = next;
    done++;
    if ((done & PREEMPT_MASK) == 0 && !is_null(pg) && hypercall_preempt_check()) {
      put_page(pg);
      return -<i32>ERRNO.ERESTART;
    }
  }
  return 0;
}

/** The page behind `pg` in the domain's list (the first if null), with a reference; null at the end. */
function next_page(d: Domain, pg: PageInfo): PageInfo {
  const lock = changetype<usize>(d) + offsetof<Domain>("page_alloc_lock");
  spin_lock(lock);
  let mfn = is_null(pg) ? d.page_list : pg.next;
  // A page whose last reference is being dropped right now needs nothing more from us.
  while (mfn != 0 && !get_page_counted(mfn_to_page(mfn))) mfn = mfn_to_page(mfn).next;
  spin_unlock(lock);
  return mfn == 0 ? changetype<PageInfo>(0) : mfn_to_page(mfn);
}

/** A reference without the owner being looked at (the list's lock says it), so that none is dropped under the lock. */
function get_page_counted(pg: PageInfo): bool {
  return get_page(pg, pg.owner);
}
