/**
 * The jump cache of a TLB context: from a linear address straight to the translation that is entered there. What it has
 * follows from the execute TLB, the page's offset table and the record, which are three cache lines more, mostly cold ones.
 *
 * It has nothing of a page that the context's execute TLB for 64-bit code has not (runtime/jumps.ts), and nothing at all
 * of translations that have been removed (`Regions`). An entry that is all zero leads nowhere: no address but 0 belongs
 * to target 0, and the entry that address 0 belongs to never has it.
 */
import { CpuState, JUMP_PAGES, JUMPS_PER_PAGE, JumpEntry } from './state.ts';
import type { Func } from './wasm/module.ts';

/** Push the machine address of the entry for the linear address in local `target` (i64). */
export function emitJumpEntry(f: Func, cpu: number, target: number): void {
  const entry = Math.log2(JumpEntry.size);
  const block = JUMPS_PER_PAGE * JumpEntry.size;
  f.get(cpu).mem('i32.load', CpuState.off.jumps);
  // Entries of one page lie together, so that they can be forgotten together.
  f.get(target).op('i32.wrap_i64');
  f.i32(12 - Math.log2(block)).op('i32.shr_u');
  f.i32((JUMP_PAGES - 1) * block)
    .op('i32.and')
    .op('i32.add');
  f.get(target).op('i32.wrap_i64');
  // All bits of the offset in the page count, the higher ones over the lower.
  f.get(target).op('i32.wrap_i64').i32(6).op('i32.shr_u').op('i32.xor');
  f.i32(JUMPS_PER_PAGE - 1).op('i32.and');
  f.i32(entry).op('i32.shl').op('i32.add');
}
