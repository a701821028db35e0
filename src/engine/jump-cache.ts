/**
 * The jump cache of a TLB context: from a linear address straight to the translation that is entered there. What it has
 * follows from the execute TLB, the page's offset table and the record, which are three cache lines more, mostly cold ones.
 *
 * It has nothing of a page that the context's execute TLB for 64-bit code has not (runtime/jumps.ts), and nothing at all
 * of translations that have been removed (`Regions`). An entry that is all zero leads nowhere: no address but 0 belongs
 * to target 0, and the entry that address 0 belongs to never has it.
 */
import { CpuState, JUMP_PAGES, JUMPS_PER_PAGE, JumpEntry, Record32 } from './state.ts';
import type { Func } from './wasm/module.ts';

/** Push what the translation at the linear address in local `target` (i64) is given in the place of a record (JumpEntry.place). */
export function emitPlace(f: Func, target: number): void {
  f.get(target).op('i32.wrap_i64').i32(4095).op('i32.and').i32(1).op('i32.shl').i32(1).op('i32.or');
}

/** Push the page offset (i32) at which a translation is entered, whose first parameter, in local `rec`, is such a place or a record. */
export function emitEntryOffset(f: Func, rec: number): void {
  // A record's line is mostly cold where the jump cache leads here, and its offset is there at hand.
  f.get(rec).i32(1).op('i32.and').likely().if('i32');
  f.get(rec).i32(1).op('i32.shr_u');
  f.else();
  f.get(rec).mem('i32.load16_u', Record32.off.next).get(rec).mem('i32.load8_u', Record32.off.len).op('i32.sub');
  f.end();
}

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
