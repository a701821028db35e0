/** Bits of page-table entries (Intel SDM vol. 3, 4.5). */
export const P: u64 = 1;
export const RW: u64 = 2;
export const US: u64 = 4;
export const A: u64 = 0x20;
export const D: u64 = 0x40;
/** A large page. */
export const PS: u64 = 0x80;
/** Global. */
export const G: u64 = 0x100;
export const NX: u64 = 0x8000000000000000;
/** The frame's address. */
export const ADDR: u64 = 0x000ffffffffff000;
