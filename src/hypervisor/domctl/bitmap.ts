// struct xenctl_bitmap (public/xen.h): bitmaps of CPUs or nodes in the caller's memory, here at most 64 bits.
import { XenctlBitmap } from "../abi";
import { copy_from_guest, copy_to_guest } from "../guest";
import { scratch } from "../percpu";

/** Longest bitmap that is looked at. */
const MAX_BITS: u32 = 65536;

/** Reads it; false: not readable. Bits from 64 on are ignored, missing ones are 0. */
export function read_bitmap(at: usize): bool {
  const bits = load<u32>(at, XenctlBitmap.nr_bits);
  store<u64>(scratch, 0);
  const bytes = min<u32>((min<u32>(bits, MAX_BITS) + 7) >> 3, 8);
  if (copy_from_guest(scratch, load<u64>(at, XenctlBitmap.bitmap), bytes) != 0) return false;
  if (bits < 64) store<u64>(scratch, load<u64>(scratch) & (((<u64>1) << bits) - 1));
  return true;
}

/** What read_bitmap found. */
export function bitmap_value(): u64 {
  return load<u64>(scratch);
}

/** Writes `value`, which has `have` bits, into as many as the caller gave room for; the rest becomes 0. */
export function write_bitmap(at: usize, value: u64, have: u32): bool {
  const room = (min<u32>(load<u32>(at, XenctlBitmap.nr_bits), MAX_BITS) + 7) >> 3;
  if (have < 64) value &= ((<u64>1) << have) - 1;
  let done: u32 = 0;
  const handle = load<u64>(at, XenctlBitmap.bitmap);
  while (done < room) {
    store<u64>(scratch, done == 0 ? value : 0);
    const n = min<u32>(room - done, 8);
    if (copy_to_guest(handle + done, scratch, n) != 0) return false;
    done += n;
  }
  return true;
}
