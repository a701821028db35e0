/**
 * MXCSR and the images of the x87 and SSE state: ldmxcsr, stmxcsr, fxsave, fxrstor, xsave, xrstor (SDM vol. 1 chapters
 * 10.5 and 13). The images are the runtime's (runtime/simd/fxsave.ts, xsave.ts).
 */
import { CpuState, GPR, VEC } from '../state.ts';
import type { Builder } from './builder.ts';
import { type Insn, insn } from './table.ts';
import { FPU } from './vector.ts';

const CR4_OSXSAVE = 1 << 18;

/** Which image: bit 0 64-bit pointers (REX.W), bit 1 64-bit mode (xmm8..15). */
const format = (b: Builder) => b.i32((b.size === 8 ? 1 : 0) | (b.long ? 2 : 0));

const image = (name: string, encoding: string, helper: string): Insn =>
  insn(name, `${encoding} M ; y`, (b) => b.callFaulting(helper, [b.ea(0), format(b)]), FPU);

/** xsave and its kin take the requested components in edx:eax. */
const extended = (name: string, encoding: string, helper: string): Insn =>
  insn(
    name,
    `${encoding} M ; y`,
    (b) => {
      b.raiseIf(b.eqz(b.and(b.get(CpuState.off.cr4, 4), b.i32(CR4_OSXSAVE))), VEC.UD);
      const lo = b.to('i64', b.reg(GPR.RAX, 4));
      const hi = b.to('i64', b.reg(GPR.RDX, 4));
      b.callFaulting(helper, [b.ea(0), b.or(lo, b.shl(hi, 32)), format(b)]);
    },
    FPU,
  );

export const state: Insn[] = [
  image('fxsave', 'NP 0F AE /0', 'fxsave'),
  image('fxrstor', 'NP 0F AE /1', 'fxrstor'),
  insn(
    'ldmxcsr',
    'NP 0F AE /2 Md',
    (b) => {
      const v = b.read(0);
      b.raiseIf(b.and(v, b.i32(~0xffff)), VEC.GP, 0);
      b.set(CpuState.off.mxcsr, 4, v);
    },
    FPU,
  ),
  insn('stmxcsr', 'NP 0F AE /3 Md', (b) => b.write(0, b.get(CpuState.off.mxcsr, 4)), FPU),
  extended('xsave', 'NP 0F AE /4', 'xsave'),
  extended('xrstor', 'NP 0F AE /5', 'xrstor'),
];
