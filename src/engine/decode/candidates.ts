/** What decoding asks of an encoding, worked out once: by the translator's decoder, and for the tables of the runtime's. */
import * as T from '../decode-tables.ts';
import { isMemoryOperand } from '../semantics/forms.ts';
import type { Encoding, OperandSpec } from '../semantics/table.ts';

const PREFIX = {
  '': T.PREFIX_ANY,
  NP: T.PREFIX_NONE,
  '66': T.PREFIX_66,
  F3: T.PREFIX_F3,
  F2: T.PREFIX_F2,
} as const;

export interface Candidate {
  readonly e: Encoding;
  /** Its number among all encodings. */
  readonly index: number;
  /** PREFIX_* and ENCODING_* (decode-tables.ts). */
  readonly flags: number;
}

function flagsOf(e: Encoding): number {
  const has = (attribute: string) => e.attrs.has(attribute);
  const some = (codes: readonly string[]) => e.operands.some((o: OperandSpec) => codes.includes(o.code));
  const asModrm = e.hasModrm && e.modrm < 0;
  // Control and debug register moves ignore mod.
  const told = asModrm && !some(['C', 'D']);
  const memory = told && (has('mem') || some(['M']));
  const locked = has('lock') ? e.operands[0] : undefined;
  const flags: readonly (readonly [boolean, number])[] = [
    [memory, T.ENCODING_MEMORY],
    [told && !memory && (has('reg') || some(['R', 'U', 'N'])), T.ENCODING_REGISTER],
    [has('w1'), T.ENCODING_W1],
    [has('w0'), T.ENCODING_W0],
    [has('b0'), T.ENCODING_B0],
    [has('r0'), T.ENCODING_R0],
    [has('r1'), T.ENCODING_R1],
    [e.hasModrm, T.ENCODING_HAS_MODRM],
    [asModrm && !some(['C', 'D', 'R']), T.ENCODING_MAY_ADDRESS],
    [e.modrm < 0 && some(['E', 'W', 'Q', 'M']), T.ENCODING_MEMORY_FORMS],
    [some(['X']), T.ENCODING_HAS_X],
    [has('pop'), T.ENCODING_POP],
    [locked !== undefined && isMemoryOperand(locked, false), T.ENCODING_LOCK],
    [locked !== undefined && isMemoryOperand(locked, true), T.ENCODING_LOCK_RM],
    [has('rep'), T.ENCODING_REP],
    [has('a'), T.ENCODING_SHORT_ADDRESS],
    [has('d64'), T.ENCODING_D64],
    [e.cc, T.ENCODING_CC],
  ];
  return flags.reduce((all, [set, flag]) => (set ? all | flag : all), PREFIX[e.prefix] as number);
}

/** The candidates of each map and opcode (map * 256 + opcode). */
export function opcodes(encodings: readonly Encoding[]): readonly Candidates[] {
  const all = Array.from({ length: 4 * 256 }, () => new Candidates());
  for (const [index, e] of encodings.entries()) {
    const c = { e, index, flags: flagsOf(e) };
    for (let i = 0; i < e.span; i++) all[e.map * 256 + e.opcode + i].add(c);
  }
  for (const candidates of all) candidates.sort();
  return all;
}

/** The candidates of one opcode, in the order in which they are tried. */
export class Candidates {
  readonly list: Candidate[] = [];
  /** Some of them, or all, have a modrm byte. */
  anyModrm = false;
  allModrm = true;

  add(c: Candidate): void {
    this.list.push(c);
    this.anyModrm ||= c.e.hasModrm;
    this.allModrm &&= c.e.hasModrm;
  }

  /** Exact modrm before a digit before anything; mandatory prefixes before none. */
  sort(): void {
    const rank = ({ e }: Candidate) => (e.prefix === '' ? 4 : 0) + (e.modrm >= 0 ? 0 : e.digit >= 0 ? 1 : 2);
    this.list.sort((a, b) => rank(a) - rank(b));
  }

  /** The one for these prefixes (rep: 0, 1 = F3, 2 = F2), REX bits and modrm. */
  find(opsize16: boolean, rep: number, rex: number, modrm: number, mode: 0 | 1): Candidate | undefined {
    const { list } = this;
    const prefix = rep === 1 ? T.PREFIX_F3 : rep === 2 ? T.PREFIX_F2 : opsize16 ? T.PREFIX_66 : T.PREFIX_NONE;
    for (let i = 0; i < list.length; i++) {
      const c = list[i];
      const { e, flags } = c;
      const wanted = flags & T.PREFIX_MASK;
      if (wanted !== T.PREFIX_ANY && wanted !== prefix) continue;
      if (e.modrm >= 0) {
        if (modrm < e.modrm || modrm >= e.modrm + e.modrmSpan) continue;
      } else if (e.digit >= 0 && ((modrm >> 3) & 7) !== e.digit) continue;
      if (flags & (modrm >= 0xc0 ? T.ENCODING_MEMORY : T.ENCODING_REGISTER)) continue;
      if (flags & T.ENCODING_REX) {
        if (flags & T.ENCODING_W1 && !(rex & 8)) continue;
        if (flags & T.ENCODING_W0 && rex & 8) continue;
        if (flags & T.ENCODING_B0 && rex & 1) continue;
        if (flags & T.ENCODING_R0 && rex & 4) continue;
        if (flags & T.ENCODING_R1 && !(rex & 4)) continue;
      }
      if (e.sizes[mode].length > 0) return c;
    }
    return undefined;
  }
}
