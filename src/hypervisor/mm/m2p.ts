// The machine-to-physical table: for each mfn, the pfn its owner gave it. Guests read it at MACH2PHYS_VIRT_START (L4
// slot 256) through page tables that are built here once and shared by every L4; they write it by mmu_update only.
import { panic } from "../log";
import { mfn_to_page, PGC_allocated, PGC_xen_heap, PGT_none, PGT_validated, virt_to_mfn } from "./frame";
import { Domain } from "../domain";
import { alloc_xenheap_page } from "./heap";
import { mm } from "./state";

/** No pfn: the frame has no owner that named it. */
export const INVALID_M2P_ENTRY: u64 = 0xffff_ffff_ffff_ffff;
/** As Xen fills entries of frames that were never allocated. */
const M2P_FILL: u8 = 0x55;

const LARGE: u32 = 0x20_0000;
const PRESENT_USER: u64 = 0x5;
const ACCESSED: u64 = 0x20;
const PSE: u64 = 0x80;
const GLOBAL: u64 = 0x100;
const NX: u64 = 0x8000_0000_0000_0000;

// @ts-ignore: decorator
@inline
export function set_gpfn_from_mfn(mfn: u32, pfn: u64): void {
  atomic.store<u64>(<usize>mm().m2p + (<usize>mfn << 3), pfn);
}

// @ts-ignore: decorator
@inline
export function get_gpfn_from_mfn(mfn: u32): u64 {
  return atomic.load<u64>(<usize>mm().m2p + (<usize>mfn << 3));
}

export function m2p_init(m2p: u32, size: u32): void {
  memory.fill(m2p, M2P_FILL, size);
}

function table(): usize {
  const p = alloc_xenheap_page();
  if (p == 0) panic("no memory for the M2P's page tables");
  return p;
}

/** Page tables that map the M2P read-only for guests: 2 MiB pages where whole, 4 KiB for the rest. */
export function build_m2p_tables(): void {
  const m2p = mm().m2p;
  const size = mm().m2p_size;
  const l3 = table();
  const l2 = table();
  const link = PRESENT_USER | ACCESSED;
  store<u64>(l3, <u64>l2 | link);
  for (let at: u32 = 0; at < size; at += LARGE) {
    const slot = l2 + ((<usize>at / LARGE) << 3);
    if (size - at >= LARGE) {
      store<u64>(slot, <u64>(m2p + at) | link | PSE | GLOBAL | NX);
      continue;
    }
    const l1 = table();
    store<u64>(slot, <u64>l1 | link);
    for (let page: u32 = 0; at + page < size; page += 4096) {
      store<u64>(l1 + (<usize>(page >> 12) << 3), <u64>(m2p + at + page) | link | GLOBAL | NX);
    }
  }
  mm().ro_mpt_l4e = <u64>l3 | link;
}

/** Lets privileged domains map the M2P's frames read-only, as pages of dom_xen (machphys_mfn_list). */
export function share_m2p_with_privileged_guests(dom_xen: Domain): void {
  const first = virt_to_mfn(mm().m2p);
  const n = mm().m2p_size >> 12;
  for (let mfn = first; mfn < first + n; mfn++) {
    const pg = mfn_to_page(mfn);
    pg.owner = dom_xen;
    pg.type_info = PGT_none | PGT_validated | 1;
    atomic.store<u32>(changetype<usize>(pg), PGC_allocated | PGC_xen_heap | 1);
  }
}
