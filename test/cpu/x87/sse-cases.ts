/** Scalar SSE cases for the software floating point: operation, MXCSR, operands. Deterministic. */
import { random } from './cases.ts';

export interface SseCase {
  /** Helper of runtime/softfloat/sse.ts, with a constant argument after a colon. */
  readonly name: string;
  readonly mxcsr: number;
  readonly a: bigint;
  readonly b: bigint;
}

const BINARY = ['add', 'sub', 'mul', 'div', 'min', 'max', 'compare:0', 'compare:1'];
const UNARY = ['sqrt', 'round:0', 'round:1', 'round:2', 'round:3', 'round:4', 'round:9'];
const TO_INT = ['to_i32:0', 'to_i32:1', 'to_i64:0', 'to_i64:1'];
export const OPERATIONS: readonly string[] = [
  ...['f32', 'f64'].flatMap((f) => [...BINARY, ...UNARY, ...TO_INT].map((o) => `${f}_${o}`)),
  'f32_to_f64',
  'f64_to_f32',
  ...['i32', 'i64'].flatMap((i) => [`${i}_to_f32`, `${i}_to_f64`]),
];

/** Without sign: zero, denormals, around powers of two and format limits, infinity, NaNs. */
const F32 = [
  0, 1, 3, 0x400000, 0x7fffff, 0x800000, 0x800001, 0xffffff, 0x1000000, 0xc000000, 0x20000000, 0x33800000, 0x34000000,
  0x3effffff, 0x3f000000, 0x3f7fffff, 0x3f800000, 0x3f800001, 0x3fc00000, 0x40000000, 0x40200000, 0x4b000001,
  0x4effffff, 0x4f000000, 0x5effffff, 0x5f000000, 0x7e800000, 0x7f7ffffe, 0x7f7fffff, 0x7f800000, 0x7f800001,
  0x7fa00000, 0x7fc00000, 0x7fc12345,
];
const F64 = [
  0n,
  1n,
  0xfffffffffffffn,
  0x10000000000000n,
  0x10000000000001n,
  0x1fffffffffffffn,
  0x1ff0000000000001n,
  0x2000000000000000n,
  0x3690000000000000n,
  0x3690000000000001n,
  0x36a0000000000000n,
  0x36a8000000000000n,
  0x37ffffffffffffffn,
  0x380fffffe0000000n,
  0x380ffffff0000000n,
  0x380fffffffffffffn,
  0x3810000000000000n,
  0x381fffffffffffffn,
  0x3ca0000000000000n,
  0x3cb0000000000000n,
  0x3fdfffffffffffffn,
  0x3fe0000000000000n,
  0x3fefffffffffffffn,
  0x3ff0000000000000n,
  0x3ff0000000000001n,
  0x3ff8000000000000n,
  0x4000000000000000n,
  0x4004000000000000n,
  0x41dfffffffc00000n,
  0x41dfffffffe00000n,
  0x41e0000000000000n,
  0x41e0000000100000n,
  0x41e0000000200000n,
  0x4330000000000001n,
  0x43dfffffffffffffn,
  0x43e0000000000000n,
  0x47efffffe0000000n,
  0x47efffffefffffffn,
  0x47effffff0000000n,
  0x5fe0000000000000n,
  0x7fefffffffffffffn,
  0x7ff0000000000000n,
  0x7ff0000000000001n,
  0x7ff4000000000000n,
  0x7ff8000000000000n,
  0x7ff8123456789abcn,
]; // prettier-ignore

/** Edge numbers with both signs. */
export const EDGES_F32: readonly bigint[] = F32.flatMap((v) => [BigInt(v), BigInt(v) | 0x80000000n]);
export const EDGES_F64: readonly bigint[] = F64.flatMap((v) => [v, v | (1n << 63n)]);

export function sseCases(count: number, seed: number): SseCase[] {
  const out: SseCase[] = [];
  OPERATIONS.forEach((name, k) => {
    const r = random(seed * 1000 + k);
    const double = name.startsWith('f64');
    const edges = double ? EDGES_F64 : EDGES_F32;
    const [fraction, width] = double ? [52n, 64] : [23n, 32];
    const bias = double ? 1023 : 127;
    const near = (e: number) =>
      (BigInt.asUintN(width, r.bits()) & ~(BigInt(2 * bias + 1) << fraction)) | (BigInt(e) << fraction);
    const operand = (): bigint => {
      switch (r.below(6)) {
        case 0:
        case 1:
          return r.pick(edges);
        case 2:
          return BigInt.asUintN(width, r.bits());
        case 3:
          return near(bias - 10 + r.below(20));
        case 4:
          return near(r.below(60));
        default:
          return r.pick(edges) ^ BigInt(r.below(3));
      }
    };
    for (let n = 0; n < count; n++) {
      // mostly all masked; rounding mode, FTZ, DAZ and sticky flags as they fall
      let mxcsr = 0x1f80 | (r.below(4) << 13) | (r.below(4) ? 0 : 0x8000) | (r.below(4) ? 0 : 0x40);
      if (r.below(3) === 0) mxcsr = (mxcsr & ~0x1f80) | (r.below(64) << 7);
      if (r.below(3) === 0) mxcsr |= r.below(64);
      let a = operand();
      let b = operand();
      if (name[0] === 'i') {
        const bits = name.startsWith('i64') ? 64 : 32;
        a = BigInt.asUintN(bits, BigInt.asIntN(bits, r.bits()) >> BigInt(r.below(bits)));
        b = 0n;
      } else if (/mul/.test(name) && r.below(2)) {
        // a product about the least normal number
        const e = bias - Number((a >> fraction) & BigInt(2 * bias + 1)) + r.below(4);
        b = near(Math.max(0, Math.min(e, 2 * bias + 1)));
      } else if (r.below(4) === 0) b = a ^ (1n << BigInt(r.pick([0, width - 1, Number(fraction)])));
      out.push({ name, mxcsr, a, b });
    }
  });
  return out;
}
