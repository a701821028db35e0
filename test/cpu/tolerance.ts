/**
 * What may differ from the recording, each with its reason: flags that the manuals leave undefined, results that differ
 * between makers and models.
 */
import { RFLAGS } from '../../src/engine/flags.ts';
import type { Case, Outcome } from './case.ts';
import { FIELDS } from './state.ts';

const { CF, PF, AF, ZF, SF, OF, STATUS } = RFLAGS;

/** Fields never compared. */
export const IGNORED_FIELDS: ReadonlySet<string> = new Set([
  // Last x87 instruction: AMD keeps the pointers only while an exception is pending, Intel deprecates FCS, FDS and FOP
  // (SDM vol. 1, 8.1.8): the recording cannot tell what is right.
  'op',
  'fip',
  'fdp',
]);

type FlagRule = readonly [name: RegExp, flags: number | ((count: number) => number), why: string];

/** The masked count of a shift or rotate: 1, from the immediate or from CL. */
function shiftCount(title: string, c: Case, block: Uint8Array): number {
  const mask = / op8\b/.test(title) ? 63 : 31;
  if (/,CL/.test(title)) return block[FIELDS.c[0]] & mask;
  if (/,Ib/.test(title)) return c.code[c.code.length - 1] & mask;
  return 1;
}

const FLAG_RULES: readonly FlagRule[] = [
  [/^(and|or|xor|test)$/, AF, 'AF undefined after logical operations'],
  [/^i?mul$/, SF | ZF | AF | PF, 'only CF and OF defined after multiplication'],
  [/^i?div$/, STATUS, 'all undefined after division'],
  [/^(shl|sal|shr|sar|shld|shrd)$/, (n) => (n === 0 ? 0 : n === 1 ? AF : AF | OF), 'OF defined for counts of 1 only'],
  [/^(rol|ror|rcl|rcr)$/, (n) => (n > 1 ? OF : 0), 'OF defined for counts of 1 only'],
  [/^bs[fr]$/, OF | SF | AF | PF | CF, 'only ZF defined'],
  [/^bt[src]?$/, OF | SF | AF | PF, 'ZF kept, the others undefined'],
  [/^(aaa|aas)$/, OF | SF | ZF | PF, 'only AF and CF defined'],
  [/^(daa|das)$/, OF, 'OF undefined'],
  [/^(aam|aad)$/, OF | AF | CF, 'only SF, ZF and PF defined'],
  [/^stream$/, AF, 'the last operation may be a logical one'],
];

/** Flags that may have any value after this case. `title`: of its group. */
export function undefinedFlags(title: string, c: Case, block: Uint8Array): number {
  const name = title.split(' ')[0];
  for (const [re, flags] of FLAG_RULES) {
    if (re.test(name)) return typeof flags === 'number' ? flags : flags(shiftCount(title, c, block));
  }
  return 0;
}

export interface Tolerance {
  /** May this field differ (CPU's value, engine's value)? */
  readonly field?: (field: string, cpu: string, engine: string) => boolean;
  /** CR2 of a page fault may be any byte's of so many behind the operand's first. */
  readonly cr2Within?: number;
  /** Bits of the window byte at an offset that are compared. */
  readonly memoryMask?: (offset: number) => number;
}

/** Are two f32 lanes both within 1.5 * 2^-12 of the same value? */
function nearF32(a: number, b: number): boolean {
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return true;
  return Math.abs(a - b) <= 3 * 2 ** -12 * Math.abs(a);
}

function nearLanes(cpu: string, engine: string): boolean {
  const a = Buffer.from(cpu, 'hex');
  const b = Buffer.from(engine, 'hex');
  for (let i = 0; i < 16; i += 4) if (!nearF32(a.readFloatLE(i), b.readFloatLE(i))) return false;
  return true;
}

/** Are two 80-bit numbers at most one unit in the last place apart? */
function nearF80(cpu: string, engine: string): boolean {
  const order = (h: string) => {
    const v = Buffer.from(h, 'hex');
    const n = (BigInt(v.readUInt16LE(8) & 0x7fff) << 63n) + (v.readBigUInt64LE(0) & ((1n << 63n) - 1n));
    return v[9] & 0x80 ? -n : n;
  };
  const d = order(cpu) - order(engine);
  return d >= -1n && d <= 1n;
}

/** C1 of the status word: the direction of the last rounding. */
const onlyC1 = (cpu: string, engine: string) => (Number.parseInt(cpu, 16) ^ Number.parseInt(engine, 16)) === 0x200;

/** Leaves bytes of an image out; it starts where the CPU's first change is (the generator sees to that). */
function imageMask(cpu: Outcome, ignored: (i: number) => boolean): (offset: number) => number {
  const start = Math.min(...cpu.memory.map((p) => p.offset));
  return (offset) => (ignored(offset - start) ? 0 : 0xff);
}

/** FOP, FIP and FDP in what fnstenv and fnsave write. */
function environment(c: Case, cpu: Outcome): Tolerance {
  const wide = !c.code.subarray(0, 4).includes(0x66);
  return { memoryMask: imageMask(cpu, wide ? (i) => i >= 12 && i < 26 : (i) => i >= 6 && i < 14) };
}

const RULES: readonly (readonly [name: RegExp, t: (c: Case, cpu: Outcome) => Tolerance, why: string])[] = [
  [
    /^(rcp|rsqrt)[sp]s$/,
    () => ({ field: (f, cpu, engine) => f.startsWith('x') && nearLanes(cpu, engine) }),
    'approximations with a relative error of up to 1.5 * 2^-12, different in every model',
  ],
  [
    /^f(2xm1|yl2x|yl2xp1|ptan|patan|sin|cos|sincos)$/,
    () => ({ field: (f, cpu, engine) => (f === 'sw' ? onlyC1(cpu, engine) : /^m\d$/.test(f) && nearF80(cpu, engine)) }),
    'approximations: right to one unit in the last place (SDM vol. 1, 8.3.10), different in every model',
  ],
  [
    /^(fxrstor|fnsave|frstor|fnstenv|fldenv)$/,
    (c, cpu) => ({ ...environment(c, cpu), cr2Within: 512 }),
    'which byte of an image on a missing page is named is up to the implementation',
  ],
  [
    /^(pusha|enter)$/,
    (_, cpu) => (cpu.exception ? { memoryMask: () => 0 } : {}),
    'pushes before the one that faults may or may not be in memory',
  ],
  [
    /^fxsave(64)?$/,
    (_, cpu) => ({ memoryMask: imageMask(cpu, (i) => (i >= 6 && i < 24) || (i >= 28 && i < 32)) }),
    'FOP, FIP and FDP (see above); MXCSR_MASK tells what the model implements',
  ],
  [
    /^popa$/,
    (_, cpu) => (cpu.exception ? { field: (f) => /^(a|b|c|d|si|di|bp)$/.test(f) } : {}),
    'registers popped before the pop that faults may or may not have their new values',
  ],
];

export function tolerance(title: string, c: Case, cpu: Outcome): Tolerance {
  const name = title.split(' ')[0];
  for (const [re, t] of RULES) if (re.test(name)) return t(c, cpu);
  return {};
}
