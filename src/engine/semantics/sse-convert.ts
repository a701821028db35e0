/** Conversions between integers, float and double (SDM vol. 2: cvt…). */
import {
  CVT_DQ2PS,
  CVT_PD2DQ,
  CVT_PD2PS,
  CVT_PI2PS,
  CVT_PS2DQ,
  CVT_PS2PD,
  CVT_PS2PI,
  CVT_TPD2DQ,
  CVT_TPS2DQ,
  CVT_TPS2PI,
} from '../fp-ops.ts';
import type { Builder, Val } from './builder.ts';
import { Fp, fpConvert, fpFromInt, fpFromInts, fpNarrow, fpToInt, fpToInts, fpWiden, usualMxcsr } from './fp.ts';
import { type Insn, insn } from './table.ts';
import { FPU, lanes, low, mmxEnter, mmxWrite, shuffle, splat64, vop, zero } from './vector.ts';

/** dst = f(src), all of dst. */
const unary = (name: string, encoding: string, f: (b: Builder, s: Val) => Val): Insn =>
  insn(name, encoding, (b) => b.write(0, f(b, b.read(1))), FPU);

/** Low 8 bytes of x, upper half zero. */
const lowHalf = (b: Builder, x: Val): Val => lanes(b, x, zero(b), 8, [0, 2]);

/** To general registers: 4 or 8 bytes by REX.W. */
const toGpr = (name: string, encoding: string, truncate: boolean): Insn =>
  insn(name, encoding, (b) => b.write(0, fpToInt(b, b.read(1), b.ty(b.bytes(0)), truncate)), FPU);

/** As mmxLeave, but at once: processors switch to MMX before these instructions raise #XM. */
const toMmxState = (b: Builder): void => {
  b.call('mmx_state', [], 'i32', { pure: true });
};

/** Two floats or doubles to an MMX register. */
const toMmx = (name: string, encoding: string, f: (b: Builder, s: Val) => Val): Insn =>
  insn(
    name,
    encoding,
    (b) => {
      mmxEnter(b);
      const s = b.read(1);
      toMmxState(b);
      mmxWrite(b, 0, low(b, f(b, s)));
    },
    FPU,
  );
/**
 * Two i32 of an MMX register or memory. With a memory operand no MMX state is touched: cvtpi2pd by the manual, cvtpi2ps
 * as processors do it.
 */
const fromMmx = (name: string, encoding: string, f: (b: Builder, s: Val) => Val, write: (b: Builder, r: Val) => void) =>
  insn(
    name,
    encoding,
    (b) => {
      if (!b.isMem(1)) {
        mmxEnter(b);
        toMmxState(b);
      }
      write(b, f(b, splat64(b, b.read(1))));
    },
    FPU,
  );

const toDoubles = (b: Builder, x: Val): Val => b.op('f64x2.convert_low_i32x4_s', 'v128', [x]);
const toInts = (truncate: boolean, op: number) => (b: Builder, x: Val) => fpToInts(b, 'pd', x, truncate, op);
/** Two floats: the upper ones, whatever they are, are made zero. */
const twoToInts = (truncate: boolean, op: number) => (b: Builder, x: Val) =>
  fpToInts(b, 'ps', lowHalf(b, splat64(b, x)), truncate, op);

export const sseConvert: Insn[] = [
  unary('cvtss2sd', 'F3 0F 5A Vsd,Wss', fpWiden),
  unary('cvtsd2ss', 'F2 0F 5A Vss,Wsd', fpNarrow),
  unary('cvtsi2ss', 'F3 0F 2A Vss,Ey', (b, s) => fpFromInt(b, s, 'f32')),
  unary('cvtsi2sd', 'F2 0F 2A Vsd,Ey', (b, s) => fpFromInt(b, s, 'f64')),
  toGpr('cvttss2si', 'F3 0F 2C Gy,Wss', true),
  toGpr('cvttsd2si', 'F2 0F 2C Gy,Wsd', true),
  toGpr('cvtss2si', 'F3 0F 2D Gy,Wss', false),
  toGpr('cvtsd2si', 'F2 0F 2D Gy,Wsd', false),

  unary('cvtps2pd', 'NP 0F 5A Vx,Wq', (b, s) => {
    const x = splat64(b, s);
    const f = new Fp(b, 'ps');
    return fpConvert(b, f.all(f.plain(x)), vop(b, 'f64x2.promote_low_f32x4', x), CVT_PS2PD, x);
  }),
  unary('cvtpd2ps', '66 0F 5A Vx,Wx', (b, x) => {
    const r = vop(b, 'f32x4.demote_f64x2_zero', x);
    // Results in both halves, so that the test does not meet the two zeros.
    const twice = lanes(b, r, r, 8, [0, 0]);
    const f = new Fp(b, 'ps');
    const d = new Fp(b, 'pd');
    const xz = d.isZero(x);
    const ok = f.all(f.or(f.sound(twice), shuffle(b, xz, xz, [0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11])));
    return fpConvert(b, b.and(ok, usualMxcsr(b)), r, CVT_PD2PS, x);
  }),
  unary('cvtdq2ps', 'NP 0F 5B Vx,Wx', (b, s) => fpFromInts(b, s, CVT_DQ2PS)),
  unary('cvtps2dq', '66 0F 5B Vx,Wx', (b, s) => fpToInts(b, 'ps', s, false, CVT_PS2DQ)),
  unary('cvttps2dq', 'F3 0F 5B Vx,Wx', (b, s) => fpToInts(b, 'ps', s, true, CVT_TPS2DQ)),
  unary('cvtdq2pd', 'F3 0F E6 Vx,Wq', (b, s) => toDoubles(b, splat64(b, s))),
  unary('cvtpd2dq', 'F2 0F E6 Vx,Wx', toInts(false, CVT_PD2DQ)),
  unary('cvttpd2dq', '66 0F E6 Vx,Wx', toInts(true, CVT_TPD2DQ)),

  fromMmx(
    'cvtpi2ps',
    'NP 0F 2A Vq,Qq',
    (b, s) => fpFromInts(b, s, CVT_PI2PS),
    (b, r) => b.write(0, low(b, r)),
  ),
  fromMmx('cvtpi2pd', '66 0F 2A Vx,Qq', toDoubles, (b, r) => b.write(0, r)),
  toMmx('cvttps2pi', 'NP 0F 2C Pq,Wq', twoToInts(true, CVT_TPS2PI)),
  toMmx('cvtps2pi', 'NP 0F 2D Pq,Wq', twoToInts(false, CVT_PS2PI)),
  toMmx('cvttpd2pi', '66 0F 2C Pq,Wx', toInts(true, CVT_TPD2DQ)),
  toMmx('cvtpd2pi', '66 0F 2D Pq,Wx', toInts(false, CVT_PD2DQ)),
];
