/** Rearranging lanes: shuffles, unpack, pack, insert, extract, align (MMX, SSE…SSSE3; SDM vol. 2). */
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';
import {
  both,
  bytes,
  dwordPicks,
  FPU,
  imm8,
  iota,
  isMmx,
  lanes,
  packed,
  put,
  simd,
  splat8,
  splat16,
  swizzle,
  vec,
  vop,
  wordPicks,
  words,
} from './vector.ts';

/** Lanes of `w` bytes from the low (or high) half of dst and src in turn. An MMX register's high half follows its low. */
function unpack(name: string, encodings: readonly string[], w: 1 | 2 | 4 | 8, half: 'low' | 'high'): Insn {
  return packed(name, encodings, (b, d, s, mmx) => {
    const n = 16 / w;
    const first = half === 'low' ? 0 : mmx ? n / 4 : n / 2;
    const idx = iota(n / 2, first).flatMap((i) => [i, i + n]);
    return lanes(b, d, s, w, idx);
  });
}
const punpck = (name: string, opcode: string, w: 1 | 2 | 4, half: 'low' | 'high') =>
  unpack(name, both(opcode, half === 'low' ? 'Qd' : 'Qq'), w, half);

/** Lanes of dst, then of src, narrowed with saturation. */
const pack = (name: string, opcode: string, op: string): Insn =>
  packed(name, both(opcode), (b, d, s, mmx) => {
    if (!mmx) return vop(b, op, d, s);
    const x = lanes(b, d, s, 8, [0, 2]);
    return vop(b, op, x, x);
  });

/** dst = shuffle of src by imm8. */
const byImmediate = (name: string, encoding: string, f: (b: Builder, s: Val, imm: Val) => Val): Insn =>
  insn(name, encoding, (b) => simd(b, () => put(b, 0, f(b, vec(b, 1), imm8(b, 2)))), FPU);

/** Mask of word lane n (i32) of a vector. */
const wordLane = (b: Builder, n: Val): Val => vop(b, 'i16x8.eq', words(b, iota(8)), splat16(b, n));

export const sseShuffle: Insn[] = [
  punpck('punpcklbw', '60', 1, 'low'),
  punpck('punpcklwd', '61', 2, 'low'),
  punpck('punpckldq', '62', 4, 'low'),
  punpck('punpckhbw', '68', 1, 'high'),
  punpck('punpckhwd', '69', 2, 'high'),
  punpck('punpckhdq', '6A', 4, 'high'),
  unpack('punpcklqdq', ['66 0F 6C Vx,Wx'], 8, 'low'),
  unpack('punpckhqdq', ['66 0F 6D Vx,Wx'], 8, 'high'),
  unpack('unpcklps', ['NP 0F 14 Vx,Wx'], 4, 'low'),
  unpack('unpcklpd', ['66 0F 14 Vx,Wx'], 8, 'low'),
  unpack('unpckhps', ['NP 0F 15 Vx,Wx'], 4, 'high'),
  unpack('unpckhpd', ['66 0F 15 Vx,Wx'], 8, 'high'),

  pack('packsswb', '63', 'i8x16.narrow_i16x8_s'),
  pack('packuswb', '67', 'i8x16.narrow_i16x8_u'),
  pack('packssdw', '6B', 'i16x8.narrow_i32x4_s'),
  packed('packusdw', ['66 0F 38 2B Vx,Wx'], (b, d, s) => vop(b, 'i16x8.narrow_i32x4_u', d, s)),

  byImmediate('pshufw', 'NP 0F 70 Pq,Qq,Ib', (b, s, imm) => swizzle(b, s, wordPicks(b, imm, 0))),
  byImmediate('pshufd', '66 0F 70 Vx,Wx,Ib', (b, s, imm) => swizzle(b, s, dwordPicks(b, imm))),
  byImmediate('pshufhw', 'F3 0F 70 Vx,Wx,Ib', (b, s, imm) => swizzle(b, s, wordPicks(b, imm, 8))),
  byImmediate('pshuflw', 'F2 0F 70 Vx,Wx,Ib', (b, s, imm) => swizzle(b, s, wordPicks(b, imm, 0))),
  insn(
    'shufps',
    'NP 0F C6 Vx,Wx,Ib',
    (b) => {
      const s = b.read(1);
      const picks = dwordPicks(b, imm8(b, 2));
      b.write(0, lanes(b, swizzle(b, b.read(0), picks), swizzle(b, s, picks), 8, [0, 3]));
    },
    FPU,
  ),
  insn(
    'shufpd',
    '66 0F C6 Vx,Wx,Ib',
    (b) => {
      const s = b.read(1);
      const d = b.read(0);
      const imm = b.read(2);
      const lo = b.select(b.and(imm, b.i32(1)), lanes(b, d, d, 8, [1, 1]), d);
      const hi = b.select(b.and(imm, b.i32(2)), s, lanes(b, s, s, 8, [0, 0]));
      b.write(0, lanes(b, lo, hi, 8, [0, 3]));
    },
    FPU,
  ),
  // Index bit 7 gives zero, as an index above 15 does in wasm.
  packed('pshufb', both('38 00'), (b, d, s, mmx) => swizzle(b, d, vop(b, 'v128.and', s, bytes(b, mmx ? 0x87 : 0x8f)))),
  insn(
    'palignr',
    ['NP 0F 3A 0F Pq,Qq,Ib', '66 0F 3A 0F Vx,Wx,Ib'],
    (b) =>
      simd(b, () => {
        const s = vec(b, 1);
        const d = vec(b, 0);
        const idx = vop(b, 'i8x16.add_sat_u', b.v128(iota(16)), splat8(b, imm8(b, 2)));
        if (isMmx(b)) {
          put(b, 0, swizzle(b, lanes(b, s, d, 8, [0, 2]), idx));
        } else {
          // Indices out of 0..15 pick zero; those below wrap to above.
          const upper = swizzle(b, d, vop(b, 'i8x16.sub', idx, bytes(b, 16)));
          put(b, 0, vop(b, 'v128.or', swizzle(b, s, idx), upper));
        }
      }),
    FPU,
  ),

  insn(
    'pinsrw',
    ['NP 0F C4 Pq,Rd,Ib', 'NP 0F C4 Pq,Mw,Ib', '66 0F C4 Vx,Rd,Ib', '66 0F C4 Vx,Mw,Ib'],
    (b) =>
      simd(b, () => {
        const v = b.read(1);
        const lane = b.and(b.read(2), b.i32(isMmx(b) ? 3 : 7));
        put(b, 0, vop(b, 'v128.bitselect', splat16(b, v), vec(b, 0), wordLane(b, lane)));
      }),
    FPU,
  ),
  insn(
    'pextrw',
    ['NP 0F C5 Gd,Nq,Ib', '66 0F C5 Gd,Ux,Ib', '66 0F 3A 15 Rd,Vx,Ib', '66 0F 3A 15 Mw,Vx,Ib'],
    (b) =>
      simd(b, () => {
        const lane = b.and(b.read(2), b.i32(isMmx(b) ? 3 : 7));
        // The word's bytes at 2n and 2n + 1.
        const idx = vop(b, 'i8x16.add', b.v128([0, 1, ...new Array(14).fill(0)]), splat8(b, b.shl(lane, 1)));
        b.write(0, b.op('i16x8.extract_lane_u', 'i32', [swizzle(b, vec(b, 1), idx)], [0]));
      }),
    FPU,
  ),
  insn(
    'pmovmskb',
    ['NP 0F D7 Gd,Nq', '66 0F D7 Gd,Ux'],
    (b) =>
      simd(b, () => {
        const m = b.op('i8x16.bitmask', 'i32', [vec(b, 1)]);
        b.write(0, isMmx(b) ? b.and(m, b.i32(0xff)) : m);
      }),
    FPU,
  ),
];
