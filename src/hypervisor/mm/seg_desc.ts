// Segment descriptors that a PV guest may have in its GDT (Xen's check_descriptor): nothing that gives more privilege
// than ring 3, or that Xen does not emulate.
import { ERRNO, FIRST_RESERVED_GDT_ENTRY, FLAT } from "../abi";
import { map_domain_page } from "./frame";

const SEGMENT_P: u64 = 1 << 47;
const SEGMENT_S: u64 = 1 << 44;
const SEGMENT_DPL: u64 = 3 << 45;
const SEGMENT_TYPE: u64 = 15 << 40;
const CALL_GATE: u64 = 12 << 40;

/** Bit that marks a selector of the LDT. */
const TI: u32 = 4;

function gate_selector_okay(sel: u32): bool {
  return (sel & ~3) == 0 || (sel & TI) != 0 || sel >> 3 < FIRST_RESERVED_GDT_ENTRY || sel == FLAT.KERNEL_CS;
}

/** May a guest have this descriptor, with DPL 3 in place of a lower one? `fix_descriptor` gives what to store. */
export function check_descriptor(desc: u64): bool {
  if (!(desc & SEGMENT_P) || (desc & SEGMENT_S) != 0 || (desc & SEGMENT_TYPE) == 0) return true;
  return (desc & SEGMENT_TYPE) == CALL_GATE && gate_selector_okay(<u32>(desc >> 16) & 0xffff);
}

/** A descriptor that check_descriptor accepts, as it is stored: DPL 3; of a call gate DPL 0 and the selector's RPL 3. */
export function fix_descriptor(desc: u64): u64 {
  if (!(desc & SEGMENT_P)) return desc;
  if ((desc & SEGMENT_S) != 0 || (desc & SEGMENT_TYPE) == 0) return desc | SEGMENT_DPL;
  return (desc & ~SEGMENT_DPL) | (3 << 16);
}

/** Checks the 512 descriptors of a page that is to be of type seg_desc, and fixes them. */
export function validate_seg_desc_page(mfn: u32): i32 {
  const page = map_domain_page(mfn);
  for (let at = page; at < page + 4096; at += 8) {
    if (!check_descriptor(load<u64>(at))) return -<i32>ERRNO.EINVAL;
  }
  for (let at = page; at < page + 4096; at += 8) {
    const desc = load<u64>(at);
    const fixed = fix_descriptor(desc);
    if (fixed != desc) store<u64>(at, fixed);
  }
  return 0;
}
