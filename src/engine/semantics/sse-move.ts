/** SSE…SSE4.1 moves, non-temporal and masked stores, fences (SDM vol. 2). Prefetches are hints: nop.ts. */
import { GPR } from '../state.ts';
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';
import { FPU, high, isMmx, lanes, low, simd, splat64, vec, widen } from './vector.ts';

/** dst = f(src), writing all of operand 0. */
const move = (
  name: string,
  encodings: string | string[],
  f: (b: Builder, s: Val) => Val = (_, s) => s,
  options: { fpu?: boolean } = FPU,
): Insn => insn(name, encodings, (b) => b.write(0, f(b, b.read(1))), options);

/** Upper half of operand 0 = x (i64). */
const writeHigh = (b: Builder, x: Val): void => b.writeAt(0, 8, 8, x);

export const sseMove: Insn[] = [
  move('movaps', ['NP 0F 28 Vx,Wx', 'NP 0F 29 Wx,Vx']),
  move('movapd', ['66 0F 28 Vx,Wx', '66 0F 29 Wx,Vx']),
  move('movups', ['NP 0F 10 Vx,Wu', 'NP 0F 11 Wu,Vx']),
  move('movupd', ['66 0F 10 Vx,Wu', '66 0F 11 Wu,Vx']),
  move('movdqa', ['66 0F 6F Vx,Wx', '66 0F 7F Wx,Vx']),
  move('movdqu', ['F3 0F 6F Vx,Wu', 'F3 0F 7F Wu,Vx']),
  move('lddqu', 'F2 0F F0 Vx,Mu'),
  move('movntdqa', '66 0F 38 2A Vx,Mx'),
  move('movntdq', '66 0F E7 Mx,Vx'),
  move('movntps', 'NP 0F 2B Mx,Vx'),
  move('movntpd', '66 0F 2B Mx,Vx'),
  move('movnti', 'NP 0F C3 My,Gy', undefined, {}),

  // Scalars: between registers only the low part changes; a load clears the rest.
  move('movss', ['F3 0F 10 Vss,Uss', 'F3 0F 11 Wss,Vss']),
  move('movsd', ['F2 0F 10 Vsd,Usd', 'F2 0F 11 Wsd,Vsd']),
  move('movss', 'F3 0F 10 Vx,Md', widen),
  move('movsd', 'F2 0F 10 Vx,Mq', widen),
  move('movd', '66 0F 6E Vx,Ey', widen),
  move('movd', '66 0F 7E Ey,Vy'),
  move('movq', 'F3 0F 7E Vx,Wq', widen),
  move('movq', '66 0F D6 Ux,Vq', widen),
  move('movq', '66 0F D6 Mq,Vq'),

  move('movlps', ['NP 0F 12 Vq,Mq', 'NP 0F 13 Mq,Vq']),
  move('movlpd', ['66 0F 12 Vq,Mq', '66 0F 13 Mq,Vq']),
  move('movhlps', 'NP 0F 12 Vq,Ux', high),
  insn('movhps', 'NP 0F 16 Vq,Mq', (b) => writeHigh(b, b.read(1)), FPU),
  insn('movhpd', '66 0F 16 Vq,Mq', (b) => writeHigh(b, b.read(1)), FPU),
  insn('movlhps', 'NP 0F 16 Vq,Uq', (b) => writeHigh(b, b.read(1)), FPU),
  move('movhps', 'NP 0F 17 Mq,Vx', high),
  move('movhpd', '66 0F 17 Mq,Vx', high),
  move('movddup', 'F2 0F 12 Vx,Wq', splat64),
  move('movsldup', 'F3 0F 12 Vx,Wx', (b, s) => lanes(b, s, s, 4, [0, 0, 2, 2])),
  move('movshdup', 'F3 0F 16 Vx,Wx', (b, s) => lanes(b, s, s, 4, [1, 1, 3, 3])),

  move('movmskps', 'NP 0F 50 Gd,Ux', (b, s) => b.op('i32x4.bitmask', 'i32', [s])),
  move('movmskpd', '66 0F 50 Gd,Ux', (b, s) => b.op('i64x2.bitmask', 'i32', [s])),

  // Bytes of operand 0 whose mask byte (operand 1) has its sign bit set, to DS:[rDI].
  insn(
    'maskmovdqu',
    ['66 0F F7 Vx,Ux,X ; a', 'NP 0F F7 Pq,Nq,X ; a'],
    (b) =>
      simd(b, () => {
        const v = vec(b, 0);
        const m = b.op('i8x16.bitmask', 'i32', [vec(b, 1)]);
        const mask = isMmx(b) ? b.and(m, b.i32(0xff)) : m;
        b.callFaulting('maskmov', [maskmovAddress(b), low(b, v), high(b, v), mask]);
      }),
    FPU,
  ),

  // Guest loads and stores are ordered as on x86 except that a load may pass an earlier store: mfence forbids it.
  insn('lfence', 'NP 0F AE =E8+i', () => {}),
  insn('mfence', 'NP 0F AE =F0+i', (b) => b.call('fence', [])),
  insn('sfence', 'NP 0F AE =F8+i', () => {}),
];

/**
 * DS:rDI, where DS may be overridden and the register's size is the address size. The implicit operand X is DS:rSI, so its
 * address less rSI is the segment's base.
 */
function maskmovAddress(b: Builder): Val {
  const bytes = b.form.addrsize;
  const base = b.sub(b.ea(2), b.to('i64', b.reg(GPR.RSI, bytes)));
  const at = b.add(base, b.to('i64', b.reg(GPR.RDI, bytes)));
  return b.form.long ? at : b.and(at, b.i64(0xffffffffn));
}
