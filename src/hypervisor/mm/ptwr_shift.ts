// Shifts and rotations of ptwr's operands (Intel SDM vol. 2). Overflow, which is defined for a count of 1 only, is worked out in
// the same way for the last bit of a longer rotation, and 0 after a longer shift.
import { bits, carry, Effect, FLAGS_fc, logic, sign_extend, zero_extend } from "./ptwr_exec";

const ROL: u32 = 0;
const ROR: u32 = 1;
const RCL: u32 = 2;
const RCR: u32 = 3;
const SHR: u32 = 5;
const SAR: u32 = 7;

function set_carry(e: Effect, cf: u64, ovf: u64): void {
  e.fc = (cf << 63) | ((cf ^ ovf) << 62);
}

/** Group 2 by its extension; a count of 0, as the CPU masks it, changes nothing. */
export function shift(cpu: usize, e: Effect, kind: u32, a: u64, count: u32, size: u32): u64 {
  count &= size == 8 ? 63 : 31;
  if (count == 0) return a;
  return kind < 4 ? rotate(cpu, e, kind, a, count, size) : move(e, kind, a, <u64>count, size);
}

/** One bit after the other: nobody rotates page-table entries for a living. */
function rotate(cpu: usize, e: Effect, kind: u32, a: u64, count: u32, size: u32): u64 {
  const top = bits(size) - 1;
  let cf = carry(cpu);
  let r = a;
  for (; count != 0; count--) {
    const high = (r >> top) & 1;
    const low = r & 1;
    if (kind == ROL) r = (r << 1) | high;
    else if (kind == ROR) r = (r >> 1) | (low << top);
    else if (kind == RCL) r = (r << 1) | cf;
    else r = (r >> 1) | (cf << top);
    r = zero_extend(r, size);
    cf = kind == ROL || kind == RCL ? high : low;
  }
  const left = kind == ROL || kind == RCL;
  e.flags = FLAGS_fc;
  set_carry(e, cf, left ? ((r >> top) & 1) ^ cf : ((r >> top) ^ (r >> (top - 1))) & 1);
  return r;
}

/** shl, shr, sar by 1 to 63. */
function move(e: Effect, kind: u32, a: u64, count: u64, size: u32): u64 {
  const n = bits(size);
  const wide = kind == SAR ? sign_extend(a, size) : a;
  let r: u64;
  let cf: u64;
  if (kind == SHR || kind == SAR) {
    r = kind == SAR ? <u64>(<i64>wide >> <i64>count) : wide >> count;
    cf = (kind == SAR ? <u64>(<i64>wide >> <i64>(count - 1)) : wide >> (count - 1)) & 1;
  } else {
    r = a << count;
    cf = count <= n ? (a >> (n - count)) & 1 : 0;
  }
  r = zero_extend(r, size);
  logic(e, r, size);
  const sign = (r >> (n - 1)) & 1;
  const ovf = count != 1 || kind == SAR ? 0 : kind == SHR ? (a >> (n - 1)) & 1 : sign ^ cf;
  set_carry(e, cf, ovf);
  return r;
}

/** shld, or shrd if `right`: bits of `b` come in. Counts above 16 of 16-bit operands are undefined: taken modulo 16 here. */
export function shift_double(e: Effect, right: bool, a: u64, b: u64, count: u32, size: u32): u64 {
  const n = bits(size);
  let c = <u64>count & (size == 8 ? 63 : 31);
  if (size == 2) c &= 15;
  if (c == 0) return a;
  const r = zero_extend(right ? (a >> c) | (b << (n - c)) : (a << c) | (b >> (n - c)), size);
  const cf = (right ? a >> (c - 1) : a >> (n - c)) & 1;
  logic(e, r, size);
  set_carry(e, cf, c != 1 ? 0 : ((r ^ a) >> (n - 1)) & 1);
  return r;
}
