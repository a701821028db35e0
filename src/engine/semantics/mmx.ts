/**
 * MMX instructions without an SSE twin: moves and emms (SDM vol. 1 chapter 9). Arithmetic on MMX registers is described
 * with its SSE2 form in sse-integer.ts and sse-shuffle.ts.
 */
import { CpuState } from '../state.ts';
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';
import { FPU, mmxEnter, mmxLeave, mmxWrite, widen } from './vector.ts';

/** dst = f(src), where either may be an MMX register. */
const move = (name: string, encodings: string | string[], f: (b: Builder, s: Val) => Val = (_, s) => s): Insn =>
  insn(
    name,
    encodings,
    (b) => {
      mmxEnter(b);
      const v = f(b, b.read(1));
      if (b.form.operands[0].kind === 'mmx') mmxWrite(b, 0, v);
      else b.write(0, v);
      mmxLeave(b);
    },
    FPU,
  );

export const mmx: Insn[] = [
  move('movd', 'NP 0F 6E Pq,Ey', (b, s) => b.to('i64', s)),
  move('movd', 'NP 0F 7E Ey,Py'),
  move('movq', ['NP 0F 6F Pq,Qq', 'NP 0F 7F Qq,Pq']),
  move('movntq', 'NP 0F E7 Mq,Pq'),
  move('movq2dq', 'F3 0F D6 Vx,Nq', widen),
  move('movdq2q', 'F2 0F D6 Pq,Uq'),
  insn(
    'emms',
    'NP 0F 77',
    (b) => {
      mmxEnter(b);
      mmxLeave(b);
      b.set(CpuState.off.ftw, 2, b.i32(0));
    },
    FPU,
  ),
];
