// Finding the L1 entry of a guest linear address, present or not (Xen's map_guest_l1e).
import { map_domain_page } from "./frame";
import { _PAGE_PSE, addr_ok, present, PTE_FRAME_MASK } from "./pte";

/**
 * Machine address of the L1 entry for `va` in the address space whose L4 is frame `root`, or 0 if there is no L1 table.
 * The tables are validated, so their frames are the guest's; through linear page tables the "L1" may be a higher table:
 * callers look at its type.
 */
export function guest_l1e_address(root: u32, va: u64): usize {
  if (root == 0 || !addr_ok(va)) return 0;
  let table = map_domain_page(root);
  for (let shift: u64 = 39; shift > 12; shift -= 9) {
    const e = atomic.load<u64>(table + (<usize>((va >> shift) & 511) << 3));
    if (!present(e)) return 0;
    if (shift < 39 && (e & _PAGE_PSE) != 0) return 0;
    table = <usize>(e & PTE_FRAME_MASK);
  }
  return table + (<usize>((va >> 12) & 511) << 3);
}
