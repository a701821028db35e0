// Page 14 of every PV guest's GDT: the flat ring 3 segments that Xen provides at fixed selectors (arch-x86/xen-x86_64.h
// FLAT_RING3_*). One frame, shared by all vCPUs and mapped by none: the engine reads descriptors through gdt_frames.
import { FIRST_RESERVED_GDT_ENTRY, FLAT } from "../abi";
import { panic } from "../log";
import { virt_to_mfn } from "./frame";
import { alloc_xenheap_page } from "./heap";
import { mm } from "./state";

/** Present, DPL 3, code or data, accessed; 4 GiB limit in pages. L, D/B by kind. */
const CS32: u64 = 0x00cf_fb00_0000_ffff;
const CS64: u64 = 0x00af_fb00_0000_ffff;
const DS: u64 = 0x00cf_f300_0000_ffff;

function set(page: usize, selector: u32, descriptor: u64): void {
  store<u64>(page + (<usize>((selector >> 3) - FIRST_RESERVED_GDT_ENTRY) << 3), descriptor);
}

export function build_xen_gdt(): void {
  const page = alloc_xenheap_page();
  if (page == 0) panic("no memory for the GDT");
  set(page, FLAT.RING3_CS32, CS32);
  set(page, FLAT.RING3_CS64, CS64);
  set(page, FLAT.RING3_DS32, DS);
  mm().gdt_mfn = virt_to_mfn(page);
}
