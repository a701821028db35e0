/** What the descriptions of x87 instructions share: the check for pending exceptions, and recording new ones. */
import { CpuState, VEC } from '../state.ts';
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';

/** An x87 instruction. */
export function fpu(name: string, encodings: string | string[], describe: (b: Builder) => void): Insn {
  return insn(
    name,
    encodings,
    (b) => {
      pending(b);
      describe(b);
    },
    { fpu: true },
  );
}

/** One that does not wait. */
export function fpuNoWait(name: string, encodings: string | string[], describe: (b: Builder) => void): Insn {
  return insn(name, encodings, describe, { fpu: true });
}

/** #MF if an unmasked exception is pending. */
export function pending(b: Builder): void {
  const sw = b.get(CpuState.off.fsw, 2);
  b.raiseIf(b.and(sw, b.i32(0x80)), VEC.MF);
}

/** Call a computing helper, and record the instruction if it met an unmasked exception. */
export function compute(b: Builder, helper: string, args: readonly Val[]): void {
  record(b, b.call(helper, args, 'i32'));
}

/** Record this instruction as the one that met an unmasked exception, if `bad`. */
export function record(b: Builder, bad: Val): void {
  b.if(bad, () => {
    const memory = b.isMem(0);
    const fdp = memory ? b.offset(0) : b.i64(0);
    b.call('fp_record', [b.nextRip(), b.length(), fdp, b.i32(memory ? 1 : 0)]);
  });
}
