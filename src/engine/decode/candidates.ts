/** What decoding asks of an encoding, worked out once: it is asked for each instruction that is decoded. */
import type { Encoding, OperandSpec } from '../semantics/table.ts';

/** Demands on REX bits. */
const W1 = 1;
const W0 = 2;
const B0 = 4;
const R0 = 8;
const R1 = 16;

/** Which mandatory prefix: any, none of 66 F2 F3, or that one. */
const ANY = 0;
const NONE = 1;
const P66 = 2;
const PF3 = 3;
const PF2 = 4;
const PREFIX = { '': ANY, NP: NONE, '66': P66, F3: PF3, F2: PF2 } as const;

/** Whether an r/m operand must be memory, or a register. */
const EITHER = 0;
const MEMORY = 1;
const REGISTER = 2;

export interface Candidate {
  readonly e: Encoding;
  /** Its number among all encodings. */
  readonly index: number;
  readonly prefix: number;
  readonly rm: number;
  readonly memoryOnly: boolean;
  readonly registerOnly: boolean;
  /** W1 | W0 | B0 | R0 | R1. */
  readonly rex: number;
  /** A memory form is told by modrm's mod. */
  readonly mayAddress: boolean;
  /** It has forms with a memory and with a register operand: part of the form's key. */
  readonly memoryForms: boolean;
  readonly hasX: boolean;
  readonly pop: boolean;
  readonly lock: boolean;
  readonly rep: boolean;
  readonly shortAddress: boolean;
  readonly d64: boolean;
}

const some = (e: Encoding, codes: readonly string[]): boolean =>
  e.operands.some((o: OperandSpec) => codes.includes(o.code));

/** Of the `index`th encoding. */
export function candidate(e: Encoding, index: number): Candidate {
  const has = (attribute: string) => e.attrs.has(attribute);
  const asModrm = e.hasModrm && e.modrm < 0;
  // Control and debug register moves ignore mod.
  const ignoresMod = some(e, ['C', 'D']);
  const needsMemory = has('mem') || some(e, ['M']);
  const needsRegister = has('reg') || some(e, ['R', 'U', 'N']);
  const told = asModrm && !ignoresMod;
  return {
    ...{ e, index },
    prefix: PREFIX[e.prefix],
    rm: told && needsMemory ? MEMORY : told && needsRegister ? REGISTER : EITHER,
    memoryOnly: told && needsMemory,
    registerOnly: told && !needsMemory && needsRegister,
    rex:
      (has('w1') ? W1 : 0) | (has('w0') ? W0 : 0) | (has('b0') ? B0 : 0) | (has('r0') ? R0 : 0) | (has('r1') ? R1 : 0),
    mayAddress: asModrm && !some(e, ['C', 'D', 'R']),
    memoryForms: e.modrm < 0 && some(e, ['E', 'W', 'Q', 'M']),
    hasX: some(e, ['X']),
    pop: has('pop'),
    lock: has('lock'),
    rep: has('rep'),
    shortAddress: has('a'),
    d64: has('d64'),
  };
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
    for (let i = 0; i < list.length; i++) {
      const c = list[i];
      const { e } = c;
      if (c.prefix !== ANY && c.prefix !== (rep === 1 ? PF3 : rep === 2 ? PF2 : opsize16 ? P66 : NONE)) continue;
      if (e.modrm >= 0) {
        if (modrm < e.modrm || modrm >= e.modrm + e.modrmSpan) continue;
      } else if (e.digit >= 0 && ((modrm >> 3) & 7) !== e.digit) continue;
      if (c.rm !== EITHER && (c.rm === MEMORY) === modrm >= 0xc0) continue;
      if (c.rex !== 0) {
        if (c.rex & W1 && !(rex & 8)) continue;
        if (c.rex & W0 && rex & 8) continue;
        if (c.rex & B0 && rex & 1) continue;
        if (c.rex & R0 && rex & 4) continue;
        if (c.rex & R1 && !(rex & 4)) continue;
      }
      if (e.sizes[mode].length > 0) return c;
    }
    return undefined;
  }
}
