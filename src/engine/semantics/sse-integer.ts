/** Packed integer arithmetic, comparison and shifts that MMX and SSE2…SSSE3 share (SDM vol. 2: p…). */
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';
import {
  both,
  FPU,
  imm8,
  iota,
  lanes,
  low,
  packed,
  put,
  qwords,
  simd,
  splat8,
  swizzle,
  vec,
  vop,
  words,
  zero,
} from './vector.ts';

type Op = (b: Builder, d: Val, s: Val, mmx: boolean) => Val;

/** dst = wasm op(dst, src). */
const plain = (name: string, opcode: string, op: string): Insn =>
  packed(name, both(opcode), (b, d, s) => vop(b, op, d, s));
const ssse3 = (name: string, opcode: string, f: Op): Insn => packed(name, both(`38 ${opcode}`), f);

/** High halves of the 16-bit products. */
const mulHigh =
  (sign: 's' | 'u') =>
  (b: Builder, d: Val, s: Val): Val => {
    const lo = vop(b, `i32x4.extmul_low_i16x8_${sign}`, d, s);
    const hi = vop(b, `i32x4.extmul_high_i16x8_${sign}`, d, s);
    return lanes(b, lo, hi, 2, [1, 3, 5, 7, 9, 11, 13, 15]);
  };

/** Products of lanes 0 and 2 as quadwords. */
export const mulEven =
  (sign: 's' | 'u') =>
  (b: Builder, d: Val, s: Val): Val => {
    const even = (v: Val) => lanes(b, v, v, 4, [0, 2, 0, 2]);
    return vop(b, `i64x2.extmul_low_i32x4_${sign}`, even(d), even(s));
  };

/** Sums of absolute differences of each eight bytes. */
const sad: Op = (b, d, s) => {
  const diff = vop(b, 'i8x16.sub', vop(b, 'i8x16.max_u', d, s), vop(b, 'i8x16.min_u', d, s));
  const by2 = vop(b, 'i16x8.extadd_pairwise_i8x16_u', diff);
  const by4 = vop(b, 'i32x4.extadd_pairwise_i16x8_u', by2);
  const upper = vop(b, 'i64x2.shr_u', by4, b.i32(32));
  return vop(b, 'v128.and', vop(b, 'i64x2.add', by4, upper), qwords(b, 0xffffffffn));
};

/** Adjacent lanes of dst, then of src, combined. */
const horizontal = (name: string, opcode: string, w: 2 | 4, op: string): Insn =>
  ssse3(name, opcode, (b, d, s, mmx) => {
    const n = 16 / w;
    const even = iota(n).map((i) => i * 2);
    const odd = even.map((i) => i + 1);
    if (!mmx) return vop(b, op, lanes(b, d, s, w, even), lanes(b, d, s, w, odd));
    const x = lanes(b, d, s, 8, [0, 2]);
    return vop(b, op, lanes(b, x, x, w, even), lanes(b, x, x, w, odd));
  });

/** Each lane of dst negated, cleared or kept by the sign of src's. */
const sign = (name: string, opcode: string, shape: string): Insn =>
  ssse3(name, opcode, (b, d, s) => {
    const negated = vop(b, 'v128.bitselect', vop(b, `${shape}.neg`, d), d, vop(b, `${shape}.lt_s`, s, zero(b)));
    return vop(b, 'v128.and', negated, vop(b, `${shape}.ne`, s, zero(b)));
  });

/**
 * Shifts of lanes of `bits`: by the low quadword of operand 1, or by an immediate. Counts of `bits` or more clear, or
 * fill with the sign.
 */
function shift(
  name: string,
  opcode: string,
  immediate: string | null,
  shape: string,
  bits: number,
  op: 'shl' | 'shr_u' | 'shr_s',
): Insn {
  const by = (b: Builder, d: Val, count: Val) => {
    const over = b.cmp('gt_u', count, b.c(count.t, bits - 1));
    const n = b.to('i32', count);
    if (op === 'shr_s') return vop(b, `${shape}.shr_s`, d, b.select(over, b.i32(bits - 1), n));
    return b.select(over, zero(b), vop(b, `${shape}.${op}`, d, n));
  };
  const encodings = both(opcode);
  if (immediate) {
    const [group, digit] = immediate.split(' ');
    encodings.push(`NP 0F ${group} ${digit} Nq,Ib`, `66 0F ${group} ${digit} Ux,Ib`);
  }
  return insn(
    name,
    encodings,
    (b) =>
      simd(b, () => {
        const count = b.form.operands[1].kind === 'imm' ? imm8(b, 1) : low(b, vec(b, 1));
        put(b, 0, by(b, vec(b, 0), count));
      }),
    FPU,
  );
}

/** Whole-register shifts by bytes. */
const byteShift = (name: string, digit: number, indices: (b: Builder, n: Val) => Val): Insn =>
  insn(name, `66 0F 73 /${digit} Ux,Ib`, (b) => b.write(0, swizzle(b, b.read(0), indices(b, imm8(b, 1)))), FPU);

export const sseInteger: Insn[] = [
  plain('paddb', 'FC', 'i8x16.add'),
  plain('paddw', 'FD', 'i16x8.add'),
  plain('paddd', 'FE', 'i32x4.add'),
  plain('paddq', 'D4', 'i64x2.add'),
  plain('psubb', 'F8', 'i8x16.sub'),
  plain('psubw', 'F9', 'i16x8.sub'),
  plain('psubd', 'FA', 'i32x4.sub'),
  plain('psubq', 'FB', 'i64x2.sub'),
  plain('paddsb', 'EC', 'i8x16.add_sat_s'),
  plain('paddsw', 'ED', 'i16x8.add_sat_s'),
  plain('paddusb', 'DC', 'i8x16.add_sat_u'),
  plain('paddusw', 'DD', 'i16x8.add_sat_u'),
  plain('psubsb', 'E8', 'i8x16.sub_sat_s'),
  plain('psubsw', 'E9', 'i16x8.sub_sat_s'),
  plain('psubusb', 'D8', 'i8x16.sub_sat_u'),
  plain('psubusw', 'D9', 'i16x8.sub_sat_u'),
  plain('pminub', 'DA', 'i8x16.min_u'),
  plain('pmaxub', 'DE', 'i8x16.max_u'),
  plain('pminsw', 'EA', 'i16x8.min_s'),
  plain('pmaxsw', 'EE', 'i16x8.max_s'),
  plain('pavgb', 'E0', 'i8x16.avgr_u'),
  plain('pavgw', 'E3', 'i16x8.avgr_u'),
  plain('pcmpeqb', '74', 'i8x16.eq'),
  plain('pcmpeqw', '75', 'i16x8.eq'),
  plain('pcmpeqd', '76', 'i32x4.eq'),
  plain('pcmpgtb', '64', 'i8x16.gt_s'),
  plain('pcmpgtw', '65', 'i16x8.gt_s'),
  plain('pcmpgtd', '66', 'i32x4.gt_s'),
  plain('pmullw', 'D5', 'i16x8.mul'),
  plain('pmaddwd', 'F5', 'i32x4.dot_i16x8_s'),
  packed('pmulhw', both('E5'), mulHigh('s')),
  packed('pmulhuw', both('E4'), mulHigh('u')),
  packed('pmuludq', both('F4'), mulEven('u')),
  packed('psadbw', both('F6'), sad),

  shift('psrlw', 'D1', '71 /2', 'i16x8', 16, 'shr_u'),
  shift('psrld', 'D2', '72 /2', 'i32x4', 32, 'shr_u'),
  shift('psrlq', 'D3', '73 /2', 'i64x2', 64, 'shr_u'),
  shift('psraw', 'E1', '71 /4', 'i16x8', 16, 'shr_s'),
  shift('psrad', 'E2', '72 /4', 'i32x4', 32, 'shr_s'),
  shift('psllw', 'F1', '71 /6', 'i16x8', 16, 'shl'),
  shift('pslld', 'F2', '72 /6', 'i32x4', 32, 'shl'),
  shift('psllq', 'F3', '73 /6', 'i64x2', 64, 'shl'),
  // Indices of 16 and more (and below 0, which wraps) pick zero.
  byteShift('psrldq', 3, (b, n) => vop(b, 'i8x16.add_sat_u', b.v128(iota(16)), splat8(b, n))),
  byteShift('pslldq', 7, (b, n) => {
    const most = b.select(b.cmp('gt_u', n, b.i32(16)), b.i32(16), n);
    return vop(b, 'i8x16.sub', b.v128(iota(16)), splat8(b, most));
  }),

  horizontal('phaddw', '01', 2, 'i16x8.add'),
  horizontal('phaddd', '02', 4, 'i32x4.add'),
  horizontal('phaddsw', '03', 2, 'i16x8.add_sat_s'),
  horizontal('phsubw', '05', 2, 'i16x8.sub'),
  horizontal('phsubd', '06', 4, 'i32x4.sub'),
  horizontal('phsubsw', '07', 2, 'i16x8.sub_sat_s'),
  ssse3('pmaddubsw', '04', (b, d, s) => {
    const eight = b.i32(8);
    const even = vop(
      b,
      'i16x8.mul',
      vop(b, 'v128.and', d, words(b, 0xff)),
      vop(b, 'i16x8.shr_s', vop(b, 'i16x8.shl', s, eight), eight),
    );
    const odd = vop(b, 'i16x8.mul', vop(b, 'i16x8.shr_u', d, eight), vop(b, 'i16x8.shr_s', s, eight));
    return vop(b, 'i16x8.add_sat_s', even, odd);
  }),
  sign('psignb', '08', 'i8x16'),
  sign('psignw', '09', 'i16x8'),
  sign('psignd', '0A', 'i32x4'),
  ssse3('pmulhrsw', '0B', (b, d, s) => {
    // Wasm saturates -1 * -1, x86 wraps it to -1.
    const least = words(b, 0x8000);
    const wraps = vop(b, 'v128.and', vop(b, 'i16x8.eq', d, least), vop(b, 'i16x8.eq', s, least));
    return vop(b, 'v128.xor', vop(b, 'i16x8.q15mulr_sat_s', d, s), wraps);
  }),
  ssse3('pabsb', '1C', (b, _d, s) => vop(b, 'i8x16.abs', s)),
  ssse3('pabsw', '1D', (b, _d, s) => vop(b, 'i16x8.abs', s)),
  ssse3('pabsd', '1E', (b, _d, s) => vop(b, 'i32x4.abs', s)),
];
