// Page-table entries of 64-bit PV guests: bits, and Xen's rules for them (x86 mm.c, asm-x86/page.h).
export const _PAGE_PRESENT: u64 = 1 << 0;
export const _PAGE_RW: u64 = 1 << 1;
export const _PAGE_USER: u64 = 1 << 2;
export const _PAGE_PWT: u64 = 1 << 3;
export const _PAGE_PCD: u64 = 1 << 4;
export const _PAGE_ACCESSED: u64 = 1 << 5;
export const _PAGE_DIRTY: u64 = 1 << 6;
/** In an L1 entry PAT. */
export const _PAGE_PSE: u64 = 1 << 7;
export const _PAGE_GLOBAL: u64 = 1 << 8;
export const _PAGE_AVAIL: u64 = 7 << 9;
/** Xen's mark on an L1 entry that the guest wrote without U: a mapping of its kernel's. */
export const _PAGE_GUEST_KERNEL: u64 = 1 << 52;
export const _PAGE_NX: u64 = 1 << 63;
export const PTE_FRAME_MASK: u64 = 0x000f_ffff_ffff_f000;
/** Frame number of an entry with all address bits set: Xen's INVALID_MFN as a guest can write it. */
export const PTE_INVALID_MFN: u64 = PTE_FRAME_MASK >> 12;

/** Bits that a guest without devices may not set (-EINVAL): cache attributes; above L1 also PSE and G. */
export const L1_DISALLOW_MASK: u64 = _PAGE_PWT | _PAGE_PCD | _PAGE_PSE;
export const L234_DISALLOW_MASK: u64 = _PAGE_PWT | _PAGE_PCD | _PAGE_PSE | _PAGE_GLOBAL;

/** An update of a present entry that changes none of these bits needs no new references. */
const L1_REFERENCE_BITS: u64 = _PAGE_PRESENT | _PAGE_RW | _PAGE_PWT | _PAGE_PCD | _PAGE_PSE | PTE_FRAME_MASK;
const L234_REFERENCE_BITS: u64 = L1_REFERENCE_BITS | _PAGE_GLOBAL;

/** Slots of an L4 table that are Xen's. */
export const ROOT_PAGETABLE_FIRST_XEN_SLOT: u32 = 256;
export const ROOT_PAGETABLE_LAST_XEN_SLOT: u32 = 271;

// @ts-ignore: decorator
@inline
export function present(pte: u64): bool {
  return (pte & _PAGE_PRESENT) != 0;
}

/** Frame number in an entry, up to 40 bits. */
// @ts-ignore: decorator
@inline
export function pte_mfn(pte: u64): u64 {
  return (pte & PTE_FRAME_MASK) >> 12;
}

// @ts-ignore: decorator
@inline
export function is_guest_l4_slot(slot: u32): bool {
  return slot < ROOT_PAGETABLE_FIRST_XEN_SLOT || slot > ROOT_PAGETABLE_LAST_XEN_SLOT;
}

/** May the guest use this linear address: canonical, and not in Xen's slots? */
// @ts-ignore: decorator
@inline
export function addr_ok(va: u64): bool {
  return va < 0x0000_8000_0000_0000 || va >= 0xffff_8800_0000_0000;
}

/** A present L1 entry as it is stored: kernel mappings get U and Xen's mark, user mappings G. */
export function adjust_guest_l1e(l1e: u64): u64 {
  if (!present(l1e)) return l1e;
  if (!(l1e & _PAGE_USER)) return l1e | _PAGE_GUEST_KERNEL | _PAGE_USER;
  if (!(l1e & _PAGE_GUEST_KERNEL)) return l1e | _PAGE_GLOBAL;
  return l1e;
}

/** A present entry of an L2 or L3 table as it is stored. */
// @ts-ignore: decorator
@inline
export function adjust_guest_l23e(pte: u64): u64 {
  return present(pte) ? pte | _PAGE_USER : pte;
}

// @ts-ignore: decorator
@inline
export function adjust_guest_l4e(l4e: u64): u64 {
  return present(l4e) ? l4e | _PAGE_USER | _PAGE_ACCESSED : l4e;
}

// @ts-ignore: decorator
@inline
export function l1e_keeps_references(o: u64, n: u64): bool {
  return ((o ^ n) & L1_REFERENCE_BITS) == 0;
}
// @ts-ignore: decorator
@inline
export function l234e_keeps_references(o: u64, n: u64): bool {
  return ((o ^ n) & L234_REFERENCE_BITS) == 0;
}

/** May translations made from `o` be wrong now that the entry is `n`? (Setting A or D, or adding rights, is no harm.) */
export function is_downgrade(o: u64, n: u64): bool {
  if (!present(o)) return false;
  const lost = o & ~n & (_PAGE_PRESENT | _PAGE_RW | _PAGE_USER | _PAGE_ACCESSED | _PAGE_DIRTY | _PAGE_GLOBAL);
  const gained = n & ~o & _PAGE_NX;
  return (lost | gained) != 0 || ((o ^ n) & PTE_FRAME_MASK) != 0;
}
