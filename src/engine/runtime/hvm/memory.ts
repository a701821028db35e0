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

/** Reads 8 bytes to system_value; false with the fault recorded. */
export function system_read(cpu: usize, va: u64): bool {
  const h = system_address(cpu, va);
  if (!h) return false;
  const room: u32 = 4096 - (<u32>va & 0xfff);
  if (room >= 8) {
    set_system_value(load<u64>(h));
    return true;
  }
  const second = system_address(cpu, va + room);
  if (!second) return false;
  let v: u64 = 0;
  for (let i: u32 = 0; i < 8; i++) v |= <u64>load<u8>(i < room ? h + i : second + i - room) << (i << 3);
  set_system_value(v);
  return true;
}

/** `n` slots of 8 bytes from `sp` on, a multiple of 8, are to be written at the present CPL (frame_put); false with the fault recorded. */
export function frame_begin(cpu: usize, sp: u64, n: u32): bool {
  const bytes = n << 3;
  const room: u32 = 4096 - (<u32>sp & 0xfff);
  const low = lookup_write(cpu, sp);
  if (!low || !may_change_code(cpu, low, min(bytes, room))) return false;
  let high: u32 = 0;
  if (room < bytes) {
    high = lookup_write(cpu, sp + room);
    if (!high || !may_change_code(cpu, high, bytes - room)) return false;
  }
  set_frame(low, high, room);
  return true;
}

/** Writes slot `i` of the frame. */
@inline export function frame_put(i: u32, v: u64): void {
  const at = i << 3;
  store<u64>(at < frame_room ? frame_low + at : frame_high + at - frame_room, v);
}
