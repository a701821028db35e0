/** pcmpestri pcmpestrm pcmpistri pcmpistrm (SDM vol. 2 section 4.1). */

/**
 * Elements of the two operands, one by one: eight or sixteen of them, signed or not.
 */
// @ts-ignore: decorator
@inline
function element(lo: u64, hi: u64, i: u32, words: bool, signed: bool): i32 {
  if (words) {
    const v = u32((i < 4 ? lo : hi) >> ((i & 3) << 4));
    return signed ? i32(<i16>v) : i32(<u16>v);
  }
  const v = u32((i < 8 ? lo : hi) >> ((i & 7) << 3));
  return signed ? i32(<i8>v) : i32(<u8>v);
}

function implicit_length(lo: u64, hi: u64, words: bool, n: u32): u32 {
  let i: u32 = 0;
  while (i < n && element(lo, hi, i, words, false) != 0) i++;
  return i;
}

/**
 * Compare a (operand 1, la elements valid) with b (operand 2, lb); a length of -1 is implicit. imm8: 0 words, 1 signed, 3..2
 * aggregation (equal any, ranges, equal each, equal ordered), 5..4 polarity. IntRes2 in bits 15..0, bit 16: b is shorter than
 * its register, bit 17: a is.
 */
export function pcmpstr(cpu: usize, a0: u64, a1: u64, b0: u64, b1: u64, la: i32, lb: i32, imm: u32): u32 {
  const words = (imm & 1) != 0;
  const signed = (imm & 2) != 0;
  const n: u32 = words ? 8 : 16;
  const na: u32 = la < 0 ? implicit_length(a0, a1, words, n) : min<u32>(la, n);
  const nb: u32 = lb < 0 ? implicit_length(b0, b1, words, n) : min<u32>(lb, n);
  const all: u32 = (1 << n) - 1;
  let r: u32 = 0;
  switch ((imm >> 2) & 3) {
    case 0: // b's elements that are among a's
      for (let j: u32 = 0; j < nb; j++) {
        const v = element(b0, b1, j, words, signed);
        for (let i: u32 = 0; i < na; i++) {
          if (element(a0, a1, i, words, signed) == v) {
            r |= 1 << j;
            break;
          }
        }
      }
      break;
    case 1: // b's elements within one of the ranges that pairs of a's elements give
      for (let j: u32 = 0; j < nb; j++) {
        const v = element(b0, b1, j, words, signed);
        for (let i: u32 = 0; i + 1 < na; i += 2) {
          if (element(a0, a1, i, words, signed) <= v && v <= element(a0, a1, i + 1, words, signed)) {
            r |= 1 << j;
            break;
          }
        }
      }
      break;
    case 2: // equal elements at the same place; past both ends counts as equal
      for (let i: u32 = 0; i < n; i++) {
        const same =
          i < na && i < nb
            ? element(a0, a1, i, words, signed) == element(b0, b1, i, words, signed)
            : i >= na && i >= nb;
        r |= u32(same) << i;
      }
      break;
    default: // places in b where the string a starts; the register's end cuts the comparison short
      for (let j: u32 = 0; j < n; j++) {
        let found = true;
        for (let i: u32 = 0; i < na && i + j < n; i++) {
          if (i + j >= nb || element(a0, a1, i, words, signed) != element(b0, b1, i + j, words, signed)) {
            found = false;
            break;
          }
        }
        r |= u32(found) << j;
      }
  }
  const polarity = (imm >> 4) & 3;
  if (polarity == 1) r ^= all;
  else if (polarity == 3) r ^= (1 << nb) - 1;
  return (r & all) | (u32(nb < n) << 16) | (u32(na < n) << 17);
}
