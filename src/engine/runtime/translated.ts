/** What translated code (src/engine/translator) asks of the runtime when its inline look-up in the TLB fails. */
import { CpuState } from '../../../build/abi/engine';
import { code_owners, lookup_write, probe_read } from './mmu';
import { data_watched } from './watch';

/**
 * Host address of `bytes` to read, or the bounce buffer with a copy of bytes that lie in two pages. 0: the interpreter is
 * to do the instruction, which faults.
 */
export function translated_read(cpu: usize, va: u64, bytes: u32): u32 {
  return probe_read(cpu, va, bytes);
}

/**
 * Host address of `bytes` within one page to write. 0: the interpreter is to do the instruction, which faults, crosses a
 * page, touches what is watched, or changes code (this code perhaps).
 */
export function translated_write(cpu: usize, va: u64, bytes: u32): u32 {
  if ((<u32>va & 0xfff) + bytes > 4096) return 0;
  if (data_watched(cpu, va)) return 0;
  const misses = load<u64>(cpu, CpuState.n_tlb_miss);
  const h = lookup_write(cpu, va);
  if (h != 0 && code_owners(h >> 12) == 0) return h;
  // The interpreter misses again, and counts it.
  store<u64>(cpu, misses, CpuState.n_tlb_miss);
  return 0;
}
