// A domain's memory over its life: pages assigned to it, Xen heap pages shared with it, its vCPUs' root tables.
import { CpuState, ERRNO } from "../abi";
import { Domain, is_null, Vcpu } from "../domain";
import { panic } from "../log";
import { spin_lock, spin_unlock } from "../spinlock";
import {
  count_info_of, mfn_to_page, mm_state_address, page_to_mfn, PGC_allocated, PGC_xen_heap, PGT_l4_page_table,
  PGT_validated, PGT_writable_page, virt_to_mfn,
} from "./frame";
import { alloc_domheap_frames, claim_adjust, free_heap_frames } from "./heap";
import { init_gdt } from "./descriptor";
import { INVALID_M2P_ENTRY, set_gpfn_from_mfn } from "./m2p";
import { get_page_from_gfn, p2m_create, p2m_destroy } from "./p2m";
import { list_link, put_page, put_page_alloc_ref } from "./page";
import { put_page_and_type_deferred } from "./old_table";
import { get_page_type, get_table_from_mfn, put_page_and_type } from "./page_type";
import { fill_ro_mpt, zap_ro_mpt } from "./page_table";
import { MmState } from "./state";
import { generation_of } from "./tlbflush";
import { vm_assist_m2p_strict } from "./vm_assist";
import { xfree } from "./xmalloc";

export { domain_relinquish_memory } from "./relinquish";

/** Space between the first generations of two domains, so that no TLB context of a dead one with the same id fits. */
const GENERATIONS: u32 = 1 << 16;

function page_alloc_lock(d: Domain): usize {
  return changetype<usize>(d) + offsetof<Domain>("page_alloc_lock");
}

/** A new domain: no pages yet. Its struct is zero but for its id and locks. */
export function domain_mm_create(d: Domain): i32 {
  const first = atomic.add<u32>(mm_state_address() + offsetof<MmState>("next_generation"), GENERATIONS);
  atomic.store<u32>(generation_of(d), first);
  return d.is_hvm && !p2m_create(d) ? -<i32>ERRNO.ENOMEM : 0;
}

/** The last reference is gone: nothing of the domain's memory is left but small structs. */
export function domain_mm_destroy(d: Domain): void {
  if (d.tot_pages + d.xenheap_pages != 0) panic("a domain is freed while it has pages");
  claim_adjust(d, d.outstanding_pages);
  p2m_destroy(d);
  xfree(d.e820);
  d.e820 = 0;
}

/** A new vCPU: of a PV domain, Xen's part of the GDT; of an HVM container, what is below its page tables. */
export function vcpu_mm_create(v: Vcpu): void {
  if (v.domain.is_hvm) store<u32>(v.cpu, v.domain.p2m, CpuState.p2m);
  else init_gdt(v);
}

/**
 * Gives 2^order frames from alloc_domheap_frames to `d`: one reference each (PGC_allocated), no type. False: the domain
 * is dying, or would exceed max_pages; the frames are still the caller's.
 */
export function assign_pages(d: Domain, mfn: u32, order: u32): bool {
  const n: u32 = 1 << order;
  spin_lock(page_alloc_lock(d));
  const ok = d.is_dying == 0 && d.tot_pages <= d.max_pages && d.max_pages - d.tot_pages >= n;
  if (ok) {
    // The struct lives while it has pages.
    if (d.tot_pages + d.xenheap_pages == 0) atomic.add<u32>(changetype<usize>(d) + offsetof<Domain>("refcnt"), 1);
    d.tot_pages += n;
    for (let i: u32 = 0; i < n; i++) {
      const pg = mfn_to_page(mfn + i);
      pg.owner = d;
      list_link(d, pg, false);
      atomic.store<u32>(count_info_of(pg), PGC_allocated | 1);
    }
  }
  spin_unlock(page_alloc_lock(d));
  if (ok && d.outstanding_pages != 0) claim_adjust(d, n);
  return ok;
}

/** 2^order new pages for `d`, zeroed; the first mfn, or 0. */
export function alloc_domheap_pages(d: Domain, order: u32): u32 {
  const mfn = alloc_domheap_frames(d, order);
  if (mfn == 0) return 0;
  for (let i: u32 = 0; i < 1 << order; i++) set_gpfn_from_mfn(mfn + i, INVALID_M2P_ENTRY);
  if (assign_pages(d, mfn, order)) return mfn;
  free_heap_frames(mfn, order, 0);
  return 0;
}

/** Makes a page of the Xen heap mappable, writable, by `d`. unshare_xen_page before it is freed. */
export function share_xen_page_with_guest(p: usize, d: Domain): void {
  const pg = mfn_to_page(virt_to_mfn(p));
  set_gpfn_from_mfn(virt_to_mfn(p), INVALID_M2P_ENTRY);
  spin_lock(page_alloc_lock(d));
  if (d.tot_pages + d.xenheap_pages == 0) atomic.add<u32>(changetype<usize>(d) + offsetof<Domain>("refcnt"), 1);
  d.xenheap_pages++;
  pg.owner = d;
  pg.type_info = PGT_writable_page | PGT_validated | 1;
  list_link(d, pg, true);
  atomic.store<u32>(count_info_of(pg), PGC_xen_heap | PGC_allocated | 1);
  spin_unlock(page_alloc_lock(d));
}

/** Ends that; mappings that exist keep the frame from being reused (free_xenheap_page waits for them). */
export function unshare_xen_page(p: usize, d: Domain): void {
  put_page_alloc_ref(mfn_to_page(virt_to_mfn(p)));
}

/**
 * A writable reference on a guest's page that the guest names by frame number, for as long as the hypervisor writes to it.
 * The frame, or 0.
 */
export function get_page_and_type_writable(d: Domain, gfn: u64): u32 {
  const pg = get_page_from_gfn(d, gfn);
  if (is_null(pg)) return 0;
  if (get_page_type(pg, PGT_writable_page) == 0) return page_to_mfn(pg);
  put_page(pg);
  return 0;
}

/** Drops it. */
export function put_page_and_type_writable(mfn: u32): void {
  put_page_and_type(mfn_to_page(mfn));
}

/** Makes `mfn` (0: none) the vCPU's kernel L4, which maps its LDT as well. The caller has a reference of that type for it. */
export function set_guest_table(v: Vcpu, mfn: u32): void {
  v.guest_table = mfn;
  store<u32>(v.cpu, mfn << 12, CpuState.ldt_root);
}

/**
 * Checks and installs the root tables of a vCPU that does not run and has none: kernel's (must be given) and user's (0:
 * none). 0; -EINVAL or -ERESTART (to be called again), then nothing has changed.
 */
export function vcpu_set_guest_tables(v: Vcpu, cr3_mfn: u64, cr1_mfn: u64): i32 {
  const d = v.domain;
  let rc = get_table_from_mfn(cr3_mfn, PGT_l4_page_table, d);
  if (rc != 0) return rc;
  if (cr1_mfn != 0) {
    rc = get_table_from_mfn(cr1_mfn, PGT_l4_page_table, d);
    if (rc != 0) {
      put_page_and_type_deferred(mfn_to_page(<u32>cr3_mfn));
      return rc;
    }
    if (vm_assist_m2p_strict(d)) zap_ro_mpt(<u32>cr1_mfn, d);
  }
  if (!vm_assist_m2p_strict(d)) fill_ro_mpt(<u32>cr3_mfn);
  vcpu_destroy_pagetables(v);
  set_guest_table(v, <u32>cr3_mfn);
  v.guest_table_user = <u32>cr1_mfn;
  return 0;
}

/** Drops them. */
export function vcpu_destroy_pagetables(v: Vcpu): i32 {
  const kernel = v.guest_table;
  const user = v.guest_table_user;
  set_guest_table(v, 0);
  v.guest_table_user = 0;
  if (kernel != 0) put_page_and_type(mfn_to_page(kernel));
  if (user != 0) put_page_and_type(mfn_to_page(user));
  return 0;
}

