/** maskmovq, maskmovdqu (SDM vol. 2) and mfence. */
import { CpuState } from '../../../../build/abi/engine';
import { commit, probe_write } from '../mmu';

/**
 * Store byte i of v1:v0 at addr + i for each bit i of the mask. Only the bytes from the first to the last selected one are
 * touched (and may fault). 0: fault recorded.
 */
export function maskmov(cpu: usize, addr: u64, v0: u64, v1: u64, mask: u32): u32 {
  if (mask == 0) return 1;
  const first: u32 = ctz(mask);
  const last: u32 = 31 - clz(mask);
  let at = addr + u64(first);
  if (load<u32>(cpu, CpuState.mode)) at = u64(u32(at));
  const p = probe_write(cpu, at, last - first + 1);
  if (!p) return 0;
  for (let i = first; i <= last; i++) {
    if ((mask >> i) & 1) store<u8>(p + i - first, u8((i < 8 ? v0 : v1) >> u64((i & 7) << 3)));
  }
  if (p == <u32>cpu + <u32>CpuState.bounce) commit(cpu);
  return 1;
}

/** A sequentially consistent read-modify-write: on every host a full barrier. */
export function fence(cpu: usize): void {
  atomic.or<u32>(cpu + CpuState.pending, 0);
}
