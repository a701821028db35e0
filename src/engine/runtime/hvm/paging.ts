/**
 * Page walks in an HVM container: the guest's tables name guest-physical addresses, which the domain's p2m translates (state.ts,
 * P2M_*). Long mode with four levels, or no paging (Intel SDM vol. 3, 4.5).
 */
import { CpuState, NPF_EXEC, NPF_WRITE, P2M_R, P2M_ROOT_ENTRIES, P2M_W } from '../../../../build/abi/engine';
import { EXEC, WRITE, mark, may_change_code } from '../mmu';
import { walk_done, walk_failed, walk_later, walk_missed } from '../percpu';
import { A, ADDR, D, G, NX, P, PS, RW, US } from '../pte';

/** Address bits beyond the 40 that CPUID tells of are reserved. */
const RESERVED: u64 = 0x000fff0000000000;
export const CR0_PG: u64 = 0x8000_0000;
const CR0_WP: u64 = 0x1_0000;
const CR4_PGE: u64 = 0x80;

/** The p2m's word for a guest-physical address, 0: none. */
@inline export function p2m_entry(cpu: usize, gpa: u64): u32 {
  const gfn = gpa >> 12;
  if (gfn >= <u64>P2M_ROOT_ENTRIES << 10) return 0;
  const leaf = atomic.load<u32>(load<u32>(cpu, CpuState.p2m) + (<u32>(gfn >> 10) << 2));
  return leaf ? atomic.load<u32>(leaf + ((<u32>gfn & 1023) << 2)) : 0;
}

/** The leaf of a walk for `va`: guest-physical page `gpa` with the guest's rights. */
function leaf(cpu: usize, gpa: u64, va: u64, rights: u64, access: u32, shift: u32): bool {
  const m = p2m_entry(cpu, gpa);
  if (!(m & P2M_R) || (access == WRITE && !(m & P2M_W))) {
    walk_missed(gpa | (va & 0xfff), access == WRITE ? NPF_WRITE : access == EXEC ? NPF_EXEC : 0);
    return false;
  }
  walk_done(m & ~0xfff, m & P2M_W ? rights : rights & ~RW, shift);
  return true;
}

/** As mmu.ts walk_tables, for a vCPU in an HVM container. */
export function hvm_walk(cpu: usize, va: u64, access: u32, user: bool): bool {
  const cr0 = load<u64>(cpu, CpuState.cr0);
  if (!(cr0 & CR0_PG)) return leaf(cpu, va & 0xffff_f000, va, RW | US | D, access, 12);
  const nxe = (load<u64>(cpu, CpuState.efer) & 0x800) != 0;
  const base: u32 = (user ? 4 : 0) | (access == WRITE ? 2 : 0) | (access == EXEC && nxe ? 16 : 0);
  let rights: u64 = RW | US;
  let table = load<u64>(cpu, CpuState.guest_cr3) & ADDR;
  let shift: u32 = 39;
  while (true) {
    const at = p2m_entry(cpu, table);
    // Where no memory is every bit reads as 1, reserved ones too.
    if (!(at & P2M_R)) {
      walk_failed(base | 1 | 8);
      return false;
    }
    const p = (at & ~0xfff) + ((<u32>(va >> shift) & 511) << 3);
    const e = atomic.load<u64>(p);
    if (!(e & P)) {
      walk_failed(base);
      return false;
    }
    const large = shift != 12 && (e & PS) != 0;
    const span = (<u64>1 << shift) - 1;
    // Of a large page's address the low bits are reserved, but for the memory type's.
    if ((e & (large ? RESERVED | (ADDR & span & ~0x1000) : RESERVED)) != 0 || (!nxe && (e & NX) != 0) || (shift == 39 && large)) {
      walk_failed(base | 1 | 8);
      return false;
    }
    rights = (rights & (e | ~(RW | US))) | (e & NX);
    const last = shift == 12 || large;
    if (last && ((user && !(rights & US)) || (access == WRITE && !(rights & RW) && (user || (cr0 & CR0_WP) != 0)) || (access == EXEC && (rights & NX) != 0))) {
      walk_failed(base | 1);
      return false;
    }
    const bits: u64 = last && access == WRITE ? A | D : A;
    // A table in memory that cannot be written to is not marked.
    if ((e & bits) != bits && (at & P2M_W) != 0) {
      if (!may_change_code(cpu, p, 8)) {
        walk_later();
        return false;
      }
      // Changed meanwhile: from the start.
      if (!mark(p, e, bits)) {
        rights = RW | US;
        table = load<u64>(cpu, CpuState.guest_cr3) & ADDR;
        shift = 39;
        continue;
      }
    }
    if (last) {
      const gpa = ((e & ADDR & ~span) | (va & span)) & ~0xfff;
      const global: u64 = load<u64>(cpu, CpuState.cr4) & CR4_PGE ? e & G : 0;
      return leaf(cpu, gpa, va, rights | ((at & P2M_W ? e | bits : e) & D) | global, access, shift);
    }
    table = e & ADDR;
    shift -= 9;
  }
  return false;
}
