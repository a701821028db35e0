/** x87 control: fwait, control and status word, environment and state images (SDM vol. 1 8.1, 8.3.11-8.3.13). */
import { CpuState, GPR, VEC } from '../state.ts';
import type { Builder } from './builder.ts';
import { type Insn, insn } from './table.ts';
import { fpu, fpuNoWait, pending } from './x87-common.ts';

/** The image is of the 32-bit format, unless the operand size is 16. */
const wide = (b: Builder) => b.i32(b.size === 2 ? 0 : 1);

/** The status word. */
const status = (b: Builder) => b.or(b.get(CpuState.off.fsw, 2), b.shl(b.get(CpuState.off.ftop, 2), 11));

export const x87Control: Insn[] = [
  // Unlike the rest it raises #NM only with CR0.MP and CR0.TS both set.
  insn('fwait', '9B', (b) => {
    const both = b.i32(0xa);
    const cr0 = b.to('i32', b.get(CpuState.off.cr0, 8));
    b.raiseIf(b.cmp('eq', b.and(cr0, both), both), VEC.NM);
    pending(b);
  }),
  fpu('fnop', 'D9 =D0', () => {}),
  // 8087 and 80287 instructions that do nothing since: fneni, fndisi, fnsetpm.
  fpuNoWait('fnop', ['DB =E0', 'DB =E1', 'DB =E4'], () => {}),
  fpuNoWait('fninit', 'DB =E3', (b) => b.call('fp_init', [])),
  fpuNoWait('fnclex', 'DB =E2', (b) => b.call('fp_clear', [])),
  fpuNoWait('fnstcw', 'D9 /7 Mw', (b) => b.write(0, b.get(CpuState.off.fcw, 2))),
  fpuNoWait('fnstsw', 'DD /7 Mw', (b) => b.write(0, status(b))),
  fpuNoWait('fnstsw', 'DF =E0', (b) => b.setReg(GPR.RAX, 2, status(b))),
  fpu('fldcw', 'D9 /5 Mw', (b) => b.call('fp_set_control', [b.read(0)])),
  fpuNoWait('fnstenv', 'D9 /6 M ; v', (b) => b.callFaulting('fp_store_env', [b.ea(0), wide(b)])),
  fpu('fldenv', 'D9 /4 M ; v', (b) => b.callFaulting('fp_load_env', [b.ea(0), wide(b)])),
  fpuNoWait('fnsave', 'DD /6 M ; v', (b) => b.callFaulting('fp_save', [b.ea(0), wide(b)])),
  fpu('frstor', 'DD /4 M ; v', (b) => b.callFaulting('fp_restore', [b.ea(0), wide(b)])),
];
