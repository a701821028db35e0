/**
 * The forms of an encoding: every combination of mode, operand size, register-or-memory r/m, lock, rep, condition code
 * and (where it matters) address size that is described, and so generated, separately.
 */
import type { Form, OperandForm } from './builder.ts';
import type { Encoding, OperandSpec } from './table.ts';

export interface FormOf {
  /** Identifies the form within its encoding (see formKey). */
  readonly key: number;
  readonly form: Form;
  /** r/m is memory; null when the encoding has no choice (and then no memory operand from modrm). */
  readonly memory: boolean | null;
  /** 0: 64-bit mode, 1: compatibility mode. */
  readonly mode: 0 | 1;
  readonly opsize: number;
  readonly lock: boolean;
  readonly rep: Form['rep'];
  readonly cc: number;
}

const REPS = ['', 'rep', 'repne'] as const;

/** Packs what tells the forms of one encoding apart into a number below 4096. */
export function formKey(
  mode: number,
  opsize: number,
  mem: boolean,
  lock: boolean,
  rep: number,
  shortAddress: boolean,
  cc: number,
) {
  return (
    (mode << 11) |
    ((31 - Math.clz32(opsize)) << 9) |
    (+mem << 8) |
    (+lock << 7) |
    (rep << 5) |
    (+shortAddress << 4) |
    cc
  );
}

/** Bytes of an operand at effective operand size `opsize`. */
export function operandBytes(s: OperandSpec, opsize: number): number {
  switch (s.size) {
    case 'b':
      return 1;
    case 'w':
      return 2;
    case 'd':
    case 'ss':
      return 4;
    case 'q':
    case 'sd':
      return 8;
    case 'x':
    case 'u':
      return 16;
    case 'v':
    case 'z':
    case 'bs':
      return opsize;
    case 'y':
      return opsize === 8 ? 8 : 4;
    case '':
      return s.code === 'S' ? 2 : 0;
  }
}

function operandForm(s: OperandSpec, opsize: number, mem: boolean, long: boolean): OperandForm {
  const bytes = operandBytes(s, opsize);
  const plain = (kind: OperandForm['kind'], n = bytes): OperandForm => ({ kind, bytes: n, float: false, align: false });
  switch (s.code) {
    case 'E':
      return plain(mem ? 'mem' : 'gpr');
    case 'G':
    case 'R':
    case 'Z':
    case 'fix':
      return plain('gpr');
    case 'M':
    case 'O':
    case 'X':
    case 'Y':
      return { kind: 'mem', bytes, float: false, align: s.size === 'x' };
    case 'W':
      return {
        kind: mem ? 'mem' : 'xmm',
        bytes,
        float: s.size === 'ss' || s.size === 'sd',
        align: mem && s.size === 'x',
      };
    case 'V':
    case 'U':
      return { kind: 'xmm', bytes, float: s.size === 'ss' || s.size === 'sd', align: false };
    case 'Q':
      return plain(mem ? 'mem' : 'mmx');
    case 'P':
    case 'N':
      return plain('mmx');
    case 'I':
      return plain('imm');
    case 'J':
      return plain('rel', 8);
    case 'S':
      return plain('seg', 2);
    case 'C':
      return plain('cr', long ? 8 : 4);
    case 'D':
      return plain('dr', long ? 8 : 4);
    case 'one':
      return plain('imm', 1);
    case 'sti':
      return plain('st', 4);
    default:
      throw new Error(`operand code ${s.code}?`);
  }
}

/** Whether operand s is memory when the r/m field is (`mem`). */
export function isMemoryOperand(s: OperandSpec, mem: boolean): boolean {
  return 'MOXY'.includes(s.code) || (mem && 'EWQ'.includes(s.code));
}

export function* forms(e: Encoding): Generator<FormOf> {
  const choice = e.operands.some((o) => ['E', 'W', 'Q'].includes(o.code)) && e.modrm < 0;
  const onlyMem = e.operands.some((o) => o.code === 'M') || e.attrs.has('mem');
  const rms: (boolean | null)[] = !choice
    ? onlyMem
      ? [true]
      : [null]
    : onlyMem
      ? [true]
      : e.attrs.has('reg')
        ? [false]
        : [false, true];
  for (const mode of [0, 1] as const) {
    const long = mode === 0;
    for (const opsize of e.sizes[mode]) {
      for (const memory of rms) {
        const mem = memory === true;
        const operands = e.operands.map((s) => operandForm(s, opsize, mem, long));
        const locks = e.attrs.has('lock') && operands[0]?.kind === 'mem' ? [false, true] : [false];
        const reps = e.attrs.has('rep') ? REPS : ([''] as const);
        // The second is with an address size prefix.
        const addrs = (long ? [8, 4] : [4, 2]).slice(0, e.attrs.has('a') ? 2 : 1);
        for (const lock of locks)
          for (const rep of reps)
            for (const addrsize of addrs)
              for (let cc = 0; cc < (e.cc ? 16 : 1); cc++) {
                const form: Form = { operands, opsize, addrsize, long, lock, rep, cc };
                yield {
                  key: formKey(mode, opsize, mem, lock, REPS.indexOf(rep), addrsize !== addrs[0], cc),
                  form,
                  memory,
                  mode,
                  opsize,
                  lock,
                  rep,
                  cc,
                };
              }
      }
    }
  }
}
