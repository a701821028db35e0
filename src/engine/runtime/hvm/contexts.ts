/**
 * TLB contexts of an HVM container's vCPU: one for each PCID and side, supervisor or user, so that what is found in them needs no
 * check of rights. In the place of a root they have a key, odd as no table's address is.
 */
import { CpuState } from '../../../../build/abi/engine';
import { copy_globals, find_context, flush_contexts, is_context, is_own_context, tlb_flush_domain, tlb_flush_page, use_context } from '../tlb';

export const CR4_PCIDE: u64 = 1 << 17;
const USER: u32 = 2;

@inline export function pcid_of(cpu: usize): u32 {
  return load<u64>(cpu, CpuState.cr4) & CR4_PCIDE ? <u32>load<u64>(cpu, CpuState.guest_cr3) & 0xfff : 0;
}

@inline function key(cpu: usize, pcid: u32): u32 {
  return 1 | (pcid << 2) | (load<u32>(cpu, CpuState.asid) << 14);
}

/** Makes the contexts fit cpl, guest_cr3 and cr4. */
export function hvm_enter(cpu: usize): void {
  const domain = load<u32>(cpu, CpuState.domain);
  const generation = load<u32>(cpu, CpuState.asid_generation);
  let root = key(cpu, pcid_of(cpu));
  store<u64>(cpu, load<u64>(cpu, CpuState.guest_cr3) & 0xffff_f000, CpuState.cr3);
  if (load<u32>(cpu, CpuState.cpl) == 3) {
    root |= USER;
    let i = load<u32>(cpu, CpuState.user_context);
    if (!is_context(i, domain, root, generation)) {
      i = find_context(cpu, root, generation);
      store<u32>(cpu, i, CpuState.user_context);
    }
    use_context(cpu, i);
  } else {
    const before = load<u32>(cpu, CpuState.kernel_context);
    let i = before;
    if (!is_context(i, domain, root, generation)) {
      const flushes = load<u64>(cpu, CpuState.n_tlb_flush);
      i = find_context(cpu, root, generation);
      store<u32>(cpu, i, CpuState.kernel_context);
      // A new address space: what it has in common with the last one need not be looked up again.
      const fresh = load<u64>(cpu, CpuState.n_tlb_flush) != flushes;
      if (fresh && i != before && is_own_context(before, domain, key(cpu, 0), generation)) copy_globals(before, i);
    }
    use_context(cpu, i);
  }
}

/** The vCPU goes to another privilege level. */
@inline export function set_cpl(cpu: usize, cpl: u32): void {
  if (load<u32>(cpu, CpuState.cpl) == cpl) return;
  store<u32>(cpu, cpl, CpuState.cpl);
  hvm_enter(cpu);
}

/** Forgets a PCID's translations but those of global pages. */
export function flush_pcid(cpu: usize, pcid: u32): void {
  const root = key(cpu, pcid);
  flush_contexts(load<u32>(cpu, CpuState.domain), root, root | USER);
}

/** Forgets the vCPU's translations, in the end those of the domain on this pCPU. */
export function flush_all(cpu: usize): void {
  tlb_flush_domain(load<u32>(cpu, CpuState.domain));
}

export function flush_page(cpu: usize, va: u64): void {
  tlb_flush_page(load<u32>(cpu, CpuState.domain), va);
}
