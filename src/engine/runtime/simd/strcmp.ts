/** pcmpestri pcmpestrm pcmpistri pcmpistrm (SDM vol. 2 section 4.1). Sets of elements are bit masks, element 0 in bit 0. */

/** Element i of hi:lo. */
// @ts-ignore: decorator
@inline
function element(lo: u64, hi: u64, i: u32, words: bool): i32 {
  return words ? i32((i < 4 ? lo : hi) >> ((i & 3) << 4)) : i32((i < 8 ? lo : hi) >> ((i & 7) << 3));
}

// @ts-ignore: decorator
@inline
function vector(lo: u64, hi: u64): v128 {
  return i64x2.replace_lane(i64x2.splat(lo), 1, hi);
}

/** Elements of x equal to v. */
// @ts-ignore: decorator
@inline
function equal_to(x: v128, v: i32, words: bool): u32 {
  return words ? i16x8.bitmask(i16x8.eq(x, i16x8.splat(i16(v)))) : i8x16.bitmask(i8x16.eq(x, i8x16.splat(i8(v))));
}

/** Elements of x that are among the first n of hi:lo. What searches for a few characters does little else. */
function among<T>(lo: u64, hi: u64, x: v128, n: u32): u32 {
  let found = i64x2.splat(0);
  for (let i: u32 = 0; i < n; i++) {
    if (i == 8 / sizeof<T>()) lo = hi;
    found = v128.or(found, v128.eq<T>(x, v128.splat<T>(<T>lo)));
    lo >>= 8 * sizeof<T>();
  }
  return v128.bitmask<T>(found);
}

/** Elements of x between first and last, signed or not. */
function within(x: v128, first: i32, last: i32, words: bool, signed: bool): u32 {
  if (words) {
    const f = i16x8.splat(i16(first));
    const l = i16x8.splat(i16(last));
    return i16x8.bitmask(
      signed ? v128.and(i16x8.ge_s(x, f), i16x8.le_s(x, l)) : v128.and(i16x8.ge_u(x, f), i16x8.le_u(x, l)),
    );
  }
  const f = i8x16.splat(i8(first));
  const l = i8x16.splat(i8(last));
  return i8x16.bitmask(
    signed ? v128.and(i8x16.ge_s(x, f), i8x16.le_s(x, l)) : v128.and(i8x16.ge_u(x, f), i8x16.le_u(x, l)),
  );
}

/** Valid elements: the given number, or those before the first zero. */
// @ts-ignore: decorator
@inline
function length(x: v128, given: i32, words: bool, n: u32): u32 {
  return min<u32>(given < 0 ? ctz(equal_to(x, 0, words)) : u32(given), n);
}

/**
 * Compare a (operand 1, la elements valid) with b (operand 2, lb); a length of -1 is implicit. imm8: 0 words, 1 signed, 3..2
 * aggregation, 5..4 polarity. IntRes2 in bits 15..0, bit 16: b is shorter than its register, bit 17: a is.
 */
export function pcmpstr(cpu: usize, a0: u64, a1: u64, b0: u64, b1: u64, la: i32, lb: i32, imm: u32): u32 {
  const words = (imm & 1) != 0;
  const signed = (imm & 2) != 0;
  const n: u32 = words ? 8 : 16;
  const all: u32 = (1 << n) - 1;
  const a = vector(a0, a1);
  const b = vector(b0, b1);
  const na = length(a, la, words, n);
  const nb = length(b, lb, words, n);
  const valid_b: u32 = (1 << nb) - 1;
  let r: u32 = 0;
  switch ((imm >> 2) & 3) {
    case 0: // equal any: b's elements that are among a's
      r = (words ? among<i16>(a0, a1, b, na) : among<i8>(a0, a1, b, na)) & valid_b;
      break;
    case 1: // ranges: b's elements within one of the ranges that pairs of a's elements give
      for (let i: u32 = 0; i + 1 < na; i += 2) {
        r |= within(b, element(a0, a1, i, words), element(a0, a1, i + 1, words), words, signed);
      }
      r &= valid_b;
      break;
    case 2: { // equal each: at the same place; two invalid elements are equal
      const valid_a: u32 = (1 << na) - 1;
      r = words ? i16x8.bitmask(i16x8.eq(a, b)) : i8x16.bitmask(i8x16.eq(a, b));
      r = (r & valid_a & valid_b) | (all & ~(valid_a | valid_b));
      break;
    }
    default: // equal ordered: places in b where the string a starts; the register's end cuts the comparison short
      r = all;
      for (let i: u32 = 0; i < na; i++) {
        const here = equal_to(b, element(a0, a1, i, words), words) & valid_b;
        r &= (here >>> i) | ~(all >>> i);
      }
  }
  const polarity = (imm >> 4) & 3;
  if (polarity == 1) r ^= all;
  else if (polarity == 3) r ^= valid_b;
  return (r & all) | (u32(nb < n) << 16) | (u32(na < n) << 17);
}
