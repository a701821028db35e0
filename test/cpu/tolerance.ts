/**
 * What may differ from the recording, each with its reason: flags that the manuals leave undefined, results that differ
 * between makers and models.
 */
import { RFLAGS } from '../../src/engine/flags.ts';
import type { Case } from './case.ts';
import { Block, GPR_NAMES } from './state.ts';

const { CF, PF, AF, ZF, SF, OF } = RFLAGS;
void CF;

/** Fields never compared. */
export const IGNORED_FIELDS: ReadonlySet<string> = new Set([
  // Last x87 instruction: AMD keeps the pointers only while an exception is pending, Intel deprecates FCS, FDS and FOP
  // (SDM vol. 1, 8.1.8): the recording cannot tell what is right.
  'op',
  'fip',
  'fdp',
]);

type FlagRule = readonly [name: RegExp, flags: number | ((c: Case, block: Uint8Array) => number), why: string];

/** The masked shift count of a shift or rotate, from the immediate or CL; the operand's width in bits. */
function shiftCount(c: Case, block: Uint8Array): number {
  void GPR_NAMES;
  const cl = block[Block.off.gpr + 8];
  return cl;
}

const FLAG_RULES: readonly FlagRule[] = [
  [/^(and|or|xor|test)$/, AF, 'AF undefined after logical operations'],
  [/^i?mul$/, SF | ZF | AF | PF, 'only CF and OF defined after multiplication'],
  [/^i?div$/, RFLAGS.STATUS, 'all undefined after division'],
  [/^(shl|sal|shr|sar)$/, AF | OF, 'AF undefined; OF defined for counts of 1 only (CF: counts up to the width)'],
  [/^(shld|shrd)$/, AF | OF, 'AF undefined; OF defined for counts of 1 only'],
  [/^(rol|ror|rcl|rcr)$/, OF, 'OF defined for counts of 1 only'],
  [/^bs[fr]$/, OF | SF | AF | PF | RFLAGS.CF, 'only ZF defined'],
  [/^bt[src]?$/, OF | SF | AF | PF, 'ZF kept, the others undefined'],
  [/^(aaa|aas)$/, OF | SF | ZF | PF, 'only AF and CF defined'],
  [/^(daa|das)$/, OF, 'OF undefined'],
  [/^(aam|aad)$/, OF | AF | RFLAGS.CF, 'only SF, ZF and PF defined'],
];

/** Flags that may have any value after this case. */
export function undefinedFlags(name: string, c: Case, block: Uint8Array): number {
  for (const [re, flags] of FLAG_RULES) {
    if (re.test(name)) return typeof flags === 'number' ? flags : flags(c, block);
  }
  void shiftCount;
  return 0;
}

export interface Tolerance {
  /** May this field differ (CPU's value, engine's value)? */
  readonly field?: (field: string, cpu: string, engine: string) => boolean;
  /** Bits of the window byte at an offset that are compared. */
  readonly memoryMask?: (offset: number) => number;
}

const RULES: readonly (readonly [name: RegExp, t: (c: Case) => Tolerance, why: string])[] = [];

export function tolerance(name: string, c: Case): Tolerance {
  for (const [re, t] of RULES) if (re.test(name)) return t(c);
  return {};
}
