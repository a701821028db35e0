/** SSE4.1: blends, lane insertion and extraction, extensions, integer minima and multiplications, ptest (SDM vol. 2). */
import { CpuState } from '../state.ts';
import type { Builder, Val } from './builder.ts';
import { mulEven } from './sse-integer.ts';
import { type Insn, insn } from './table.ts';
import {
  blend,
  dwords,
  FPU,
  imm8,
  iota,
  laneMask,
  lanes,
  packed,
  splat8,
  splat32,
  splat64,
  swizzle,
  vec,
  vop,
  widen,
  zero,
} from './vector.ts';

const op38 = (name: string, opcode: string, f: (b: Builder, d: Val, s: Val) => Val): Insn =>
  packed(name, [`66 0F 38 ${opcode} Vx,Wx`], f);
const plain = (name: string, opcode: string, op: string): Insn => op38(name, opcode, (b, d, s) => vop(b, op, d, s));
const insn3a = (name: string, text: string | string[], describe: (b: Builder) => void): Insn =>
  insn(
    name,
    (typeof text === 'string' ? [text] : text).map((t) => `66 0F 3A ${t}`),
    describe,
    FPU,
  );

/** Blend by the sign bits of xmm0's lanes. */
const blendBySign = (name: string, opcode: string, shape: string): Insn =>
  op38(name, opcode, (b, d, s) => {
    const mask = b.get(CpuState.off.xmm, 16);
    return blend(b, vop(b, `${shape}.lt_s`, mask, zero(b)), s, d);
  });
/** Blend by the bits of imm8. */
const blendByImmediate = (name: string, opcode: string, w: 2 | 4 | 8): Insn =>
  insn3a(name, `${opcode} Vx,Wx,Ib`, (b) => {
    const s = b.read(1);
    b.write(0, blend(b, laneMask(b, b.read(2), w), s, b.read(0)));
  });

/** Lanes of the low part of the source, extended: `steps` widenings, each doubling. */
function extend(name: string, opcode: string, source: 'Wq' | 'Wd' | 'Ww', from: 1 | 2 | 4, to: 2 | 4 | 8): Insn[] {
  const shape = { 1: 'i8x16', 2: 'i16x8', 4: 'i32x4', 8: 'i64x2' } as const;
  return (['s', 'z'] as const).map((sign) =>
    insn(
      `pmov${sign}x${name}`,
      `66 0F 38 ${sign === 's' ? '2' : '3'}${opcode} Vx,${source}`,
      (b) => {
        let v = vec(b, 1);
        for (let w: number = from; w < to; w *= 2) {
          const next = shape[(w * 2) as 2];
          v = vop(b, `${next}.extend_low_${shape[w as 1]}_${sign === 's' ? 's' : 'u'}`, v);
        }
        b.write(0, v);
      },
      FPU,
    ),
  );
}

/** Mask of byte (doubleword, quadword) lane n, an i32. */
const laneIs = (b: Builder, w: 1 | 4 | 8, n: Val): Val => {
  const byteLane = b.v128(iota(16).map((i) => Math.floor(i / w)));
  return vop(b, 'i8x16.eq', byteLane, splat8(b, n));
};

/** The lane of `w` bytes numbered n (an i32), moved to lane 0. */
const laneDown = (b: Builder, v: Val, w: 1 | 4 | 8, n: Val): Val =>
  swizzle(b, v, vop(b, 'i8x16.add_sat_u', b.v128(iota(16)), splat8(b, b.mul(n, b.i32(w)))));

/** Lane of imm8 to a general register or memory: 1, 4 or 8 bytes. */
const extract = (b: Builder, w: 1 | 4 | 8): void => {
  const v = laneDown(b, b.read(1), w, b.and(b.read(2), b.i32(16 / w - 1)));
  const get = { 1: 'i8x16.extract_lane_u', 4: 'i32x4.extract_lane', 8: 'i64x2.extract_lane' }[w];
  b.write(0, b.op(get, w === 8 ? 'i64' : 'i32', [v], [0]));
};
const insert = (b: Builder, w: 1 | 4 | 8): void => {
  const v = b.read(1);
  const wide = w === 1 ? splat8(b, v) : w === 4 ? splat32(b, v) : splat64(b, v);
  const mask = laneIs(b, w, b.and(b.read(2), b.i32(16 / w - 1)));
  b.write(0, blend(b, mask, wide, b.read(0)));
};

export const sse41: Insn[] = [
  blendBySign('pblendvb', '10', 'i8x16'),
  blendBySign('blendvps', '14', 'i32x4'),
  blendBySign('blendvpd', '15', 'i64x2'),
  blendByImmediate('blendps', '0C', 4),
  blendByImmediate('blendpd', '0D', 8),
  blendByImmediate('pblendw', '0E', 2),

  insn(
    'ptest',
    '66 0F 38 17 Vx,Wx',
    (b) => {
      const s = b.read(1);
      const d = b.read(0);
      const any = (v: Val) => b.to('i64', b.op('v128.any_true', 'i32', [v]));
      const one = b.i64(1);
      // ZF: no common bit; CF: no bit of src outside dst; the others 0.
      const cf = b.xor(any(vop(b, 'v128.andnot', s, d)), one);
      b.flags({ z: any(vop(b, 'v128.and', d, s)), s: one, c: b.mul(cf, b.i64(-(1n << 62n))), x: one });
    },
    FPU,
  ),

  ...extend('bw', '0', 'Wq', 1, 2),
  ...extend('bd', '1', 'Wd', 1, 4),
  ...extend('bq', '2', 'Ww', 1, 8),
  ...extend('wd', '3', 'Wq', 2, 4),
  ...extend('wq', '4', 'Wd', 2, 8),
  ...extend('dq', '5', 'Wq', 4, 8),

  op38('pmuldq', '28', mulEven('s')),
  plain('pcmpeqq', '29', 'i64x2.eq'),
  plain('pminsb', '38', 'i8x16.min_s'),
  plain('pminsd', '39', 'i32x4.min_s'),
  plain('pminuw', '3A', 'i16x8.min_u'),
  plain('pminud', '3B', 'i32x4.min_u'),
  plain('pmaxsb', '3C', 'i8x16.max_s'),
  plain('pmaxsd', '3D', 'i32x4.max_s'),
  plain('pmaxuw', '3E', 'i16x8.max_u'),
  plain('pmaxud', '3F', 'i32x4.max_u'),
  plain('pmulld', '40', 'i32x4.mul'),
  op38('phminposuw', '41', (b, _d, s) => {
    // Value and index in one number; its minimum is the lowest index among equals.
    const key = (half: string, first: number) => {
      const wide = vop(b, 'i32x4.shl', vop(b, `i32x4.extend_${half}_i16x8_u`, s), b.i32(3));
      return vop(b, 'v128.or', wide, dwords(b, iota(4, first)));
    };
    let v = vop(b, 'i32x4.min_u', key('low', 0), key('high', 4));
    v = vop(b, 'i32x4.min_u', v, lanes(b, v, v, 4, [2, 3, 2, 3]));
    v = vop(b, 'i32x4.min_u', v, lanes(b, v, v, 4, [1, 1, 1, 1]));
    const k = b.op('i32x4.extract_lane', 'i32', [v], [0]);
    return widen(b, b.or(b.shrU(k, 3), b.shl(b.and(k, b.i32(7)), 16)));
  }),

  insn3a('mpsadbw', '42 Vx,Wx,Ib', (b) => {
    const s = b.read(1);
    const d = b.read(0);
    const imm = b.read(2);
    // Four bytes of src against the windows of four bytes of dst that start at bytes 0..7.
    const four = laneDown(b, s, 4, b.and(imm, b.i32(3)));
    const window = laneDown(b, d, 4, b.and(b.shrU(imm, 2), b.i32(1)));
    let sum: Val | undefined;
    for (let k = 0; k < 4; k++) {
      const x = lanes(b, window, window, 1, [...iota(8, k), ...iota(8, k)]);
      const y = lanes(b, four, four, 1, new Array(16).fill(k));
      const diff = vop(b, 'i8x16.sub', vop(b, 'i8x16.max_u', x, y), vop(b, 'i8x16.min_u', x, y));
      const wide = vop(b, 'i16x8.extend_low_i8x16_u', diff);
      sum = sum ? vop(b, 'i16x8.add', sum, wide) : wide;
    }
    b.write(0, sum!);
  }),

  insn3a('pextrb', ['14 Rd,Vx,Ib', '14 Mb,Vx,Ib'], (b) => extract(b, 1)),
  insn3a('pextrd', '16 Ey,Vx,Ib', (b) => extract(b, b.bytes(0) as 4 | 8)),
  insn3a('extractps', '17 Ed,Vx,Ib', (b) => extract(b, 4)),
  insn3a('pinsrb', ['20 Vx,Rd,Ib', '20 Vx,Mb,Ib'], (b) => insert(b, 1)),
  insn3a('pinsrd', '22 Vx,Ey,Ib', (b) => insert(b, b.bytes(1) as 4 | 8)),
  insn3a('insertps', ['21 Vx,Ux,Ib', '21 Vx,Md,Ib'], (b) => {
    // imm8: source lane 7..6 (registers only), destination lane 5..4, lanes to clear 3..0.
    const imm = imm8(b, 2);
    const source = b.isMem(1) ? vec(b, 1) : b.read(1);
    const four = b.isMem(1) ? source : laneDown(b, source, 4, b.shrU(imm, 6));
    const lane = lanes(b, four, four, 4, [0, 0, 0, 0]);
    const placed = blend(b, laneIs(b, 4, b.and(b.shrU(imm, 4), b.i32(3))), lane, b.read(0));
    b.write(0, vop(b, 'v128.andnot', placed, laneMask(b, imm, 4)));
  }),
];
