/** The jump caches (src/engine/jump-cache.ts): what is forgotten with the execute TLB, or with translations. */
import { AreaHeader, CpuState, JUMP_PAGES, JUMPS_PER_PAGE, JumpEntry } from '../../../build/abi/engine';
import { area } from './percpu';

const PAGE_BYTES: u32 = JUMPS_PER_PAGE * <u32>JumpEntry.SIZE;
const BYTES: u32 = JUMP_PAGES * PAGE_BYTES;

@inline function cache_of(context: u32): u32 {
  return load<u32>(area, AreaHeader.jumps) + context * BYTES;
}

/** The vCPU uses the jump cache of a context. */
export function select_jumps(cpu: usize, context: u32): void {
  store<u32>(cpu, cache_of(context), CpuState.jumps);
}

/** Forget a context's jumps. */
export function clear_jumps(context: u32): void {
  const from = cache_of(context);
  memory.fill(from, 0, BYTES);
  bar_zero(from);
}

/** A context has the jumps of another. */
export function copy_jumps(from: u32, to: u32): void {
  memory.copy(cache_of(to), cache_of(from), BYTES);
}

/** Forget a context's jumps to a page. */
export function forget_jumps(context: u32, page: u64): void {
  const n = <u32>(page >> 12) & (JUMP_PAGES - 1);
  const from = cache_of(context);
  memory.fill(from + n * PAGE_BYTES, 0, PAGE_BYTES);
  if (n == 0) bar_zero(from);
}

/** The entry for address 0 has another target, which does not belong there. */
@inline function bar_zero(cache: u32): void {
  store<u64>(cache, 1, JumpEntry.target);
}
