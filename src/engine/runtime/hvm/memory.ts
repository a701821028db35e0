/** What the processor itself reads and writes at linear addresses with supervisor rights, whatever the CPL: descriptor tables, the TSS, frames. */
import { CpuState, VEC } from '../../../../build/abi/engine';
import { READ, canonical, fault, lookup_read, lookup_write, may_change_code, raise } from '../mmu';
import { frame_high, frame_low, frame_room, set_frame, set_system_value, walk_page } from '../percpu';
import { hvm_walk } from './paging';

/** Machine address of a byte to read, or 0 with the fault recorded. The TLB is the user's at CPL 3. */
export function system_address(cpu: usize, va: u64): u32 {
  if (!canonical(va)) {
    raise(cpu, VEC.GP, 1, 0);
    return 0;
  }
  if (load<u32>(cpu, CpuState.cpl) != 3) return lookup_read(cpu, va);
  return hvm_walk(cpu, va, READ, false) ? <u32>walk_page | (<u32>va & 0xfff) : fault(cpu, va);
}

/** Reads 8 bytes, or so many, to system_value; false with the fault recorded. */
export function system_read(cpu: usize, va: u64, bytes: u32 = 8): bool {
  const h = system_address(cpu, va);
  if (!h) return false;
  const room: u32 = 4096 - (<u32>va & 0xfff);
  if (room >= 8) {
    set_system_value(bytes == 8 ? load<u64>(h) : load<u64>(h) & (((<u64>1) << (bytes << 3)) - 1));
    return true;
  }
  const second = bytes > room ? system_address(cpu, va + room) : h;
  if (!second) return false;
  let v: u64 = 0;
  for (let i: u32 = 0; i < bytes; i++) v |= <u64>load<u8>(i < room ? h + i : second + i - room) << (i << 3);
  set_system_value(v);
  return true;
}

/**
 * `n` slots of 8 bytes from `sp` on, a multiple of 8, are to be written at the present CPL (frame_put); false with the fault recorded,
 * that of the highest of them that cannot be, as it would be pushed first.
 */
export function frame_begin(cpu: usize, sp: u64, n: u32): bool {
  const bytes = n << 3;
  const room: u32 = 4096 - (<u32>sp & 0xfff);
  let high: u32 = 0;
  if (room < bytes) {
    const top = lookup_write(cpu, sp + bytes - 8);
    if (!top) return false;
    high = top & ~0xfff;
    if (!may_change_code(cpu, high, bytes - room)) return false;
  }
  const first = min(bytes, room);
  const top = lookup_write(cpu, sp + first - 8);
  if (!top) return false;
  const low = top - (first - 8);
  if (!may_change_code(cpu, low, first)) return false;
  set_frame(low, high, room);
  return true;
}

/** Writes slot `i` of the frame. */
@inline export function frame_put(i: u32, v: u64): void {
  const at = i << 3;
  store<u64>(at < frame_room ? frame_low + at : frame_high + at - frame_room, v);
}
