// HYPERVISOR_set_gdt and HYPERVISOR_update_descriptor, and a vCPU's GDT (x86/pv/descriptor-tables.c).
//
// The LDT (MMUEXT_SET_LDT) is read by the engine through the guest's page tables at each selector load. The engine gives
// no segment more than ring 3 whatever a descriptor says, so LDT pages need no type here; Xen types them when they are
// first used, which a guest can see only by writing to an LDT page that it also has mapped writable.
import { CpuState, ERRNO, FIRST_RESERVED_GDT_ENTRY, FIRST_RESERVED_GDT_PAGE } from "../abi";
import { Domain, is_null, Vcpu } from "../domain";
import { copy_from_guest, guest_handle_okay } from "../guest";
import { current } from "../percpu";
import { spin_lock, spin_unlock } from "../spinlock";
import { map_domain_page, mfn_to_page, page_to_mfn, PGT_seg_desc_page, PGT_writable_page } from "./frame";
import { get_page_from_mfn, put_page } from "./page";
import { get_page_and_type_from_mfn, get_page_type, page_type, put_page_and_type, put_page_type } from "./page_type";
import { mm_scratch, SCRATCH_LIST } from "./scratch";
import { check_descriptor, fix_descriptor } from "./seg_desc";
import { mm } from "./state";
import { frame_entry_modified } from "./tlbflush";

/** Descriptors in a page. */
const PER_PAGE: u32 = 512;
/** The engine sees all 16 pages: the guest's, Xen's, and an absent one. */
const GDT_LIMIT: u32 = 0xffff;

// @ts-ignore: decorator
@inline
function gdt_frame(v: Vcpu, i: u32): usize {
  return v.cpu + CpuState.gdt_frames + (<usize>i << 2);
}

/** Takes the vCPU's GDT away, but for Xen's page. */
export function destroy_gdt(v: Vcpu): void {
  for (let i: u32 = 0; i < FIRST_RESERVED_GDT_PAGE; i++) {
    const mfn = load<u32>(gdt_frame(v, i));
    if (mfn == 0) continue;
    store<u32>(gdt_frame(v, i), 0);
    put_page_and_type(mfn_to_page(mfn));
  }
  v.gdt_ents = 0;
}

/** Xen's page of the GDT, for a new vCPU. */
export function init_gdt(v: Vcpu): void {
  store<u32>(v.cpu, GDT_LIMIT, CpuState.gdt_limit);
  store<u32>(gdt_frame(v, FIRST_RESERVED_GDT_PAGE), mm().gdt_mfn);
}

/** Installs a GDT of `entries` descriptors. frames: u64 mfn of each page, in machine memory. 0 or -EINVAL. */
export function set_gdt_frames(v: Vcpu, frames: usize, entries: u32): i32 {
  if (entries > FIRST_RESERVED_GDT_ENTRY) return -<i32>ERRNO.EINVAL;
  const n = (entries + PER_PAGE - 1) / PER_PAGE;
  for (let i: u32 = 0; i < n; i++) {
    if (is_null(get_page_and_type_from_mfn(load<u64>(frames + (<usize>i << 3)), PGT_seg_desc_page, v.domain))) {
      while (i-- > 0) put_page_and_type(mfn_to_page(load<u32>(frames + (<usize>i << 3))));
      return -<i32>ERRNO.EINVAL;
    }
  }
  destroy_gdt(v);
  init_gdt(v);
  for (let i: u32 = 0; i < n; i++) store<u32>(gdt_frame(v, i), load<u32>(frames + (<usize>i << 3)));
  v.gdt_ents = entries;
  return 0;
}

/** frame_list: u64 mfn of each page of the GDT; entries: descriptors in it. */
export function do_set_gdt(frame_list: u64, uentries: u64): i64 {
  const entries = <u32>uentries;
  const d = current.domain;
  if (d.is_ts) return -ERRNO.EOPNOTSUPP;
  // Rechecked below; before that it bounds the copy.
  if (entries > FIRST_RESERVED_GDT_ENTRY) return -ERRNO.EINVAL;
  const bytes = ((entries + PER_PAGE - 1) / PER_PAGE) << 3;
  const frames = mm_scratch(SCRATCH_LIST);
  if (!guest_handle_okay(frame_list, bytes) || copy_from_guest(frames, frame_list, bytes) != 0) return -ERRNO.EFAULT;
  const lock = changetype<usize>(d) + offsetof<Domain>("domain_lock");
  spin_lock(lock);
  const rc = set_gdt_frames(current, frames, entries);
  spin_unlock(lock);
  return rc;
}

/** ma: machine address of a descriptor in one of the caller's frames; desc: its new value. */
export function do_update_descriptor(ma: u64, desc: u64): i64 {
  if ((ma & 7) != 0 || !check_descriptor(desc)) return -ERRNO.EINVAL;
  const pg = get_page_from_mfn(ma >> 12, current.domain);
  if (is_null(pg)) return -ERRNO.EINVAL;
  // A page in use as descriptors stays one; any other must be an ordinary page.
  const type = page_type(pg) == PGT_seg_desc_page ? PGT_seg_desc_page : PGT_writable_page;
  const rc = get_page_type(pg, type);
  if (rc == 0) {
    const at = map_domain_page(page_to_mfn(pg)) + (<usize>ma & 0xff8);
    atomic.store<u64>(at, fix_descriptor(desc));
    frame_entry_modified(page_to_mfn(pg), <u32>at & 0xff8);
    put_page_type(pg);
  }
  put_page(pg);
  return rc;
}
