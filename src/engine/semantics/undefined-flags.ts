/**
 * Status flags that the manuals leave undefined (SDM vol. 2, "Flags Affected" of each instruction): tests do not compare
 * them. An instruction that is not listed defines all flags.
 */
import { RFLAGS } from '../flags.ts';

/** `count`: the masked shift count; `size`: the operand's width in bits. A count of 0 changes no flags. */
export type When = 'always' | 'count>1' | 'count>=size' | 'count>size';

export interface UndefinedFlags {
  readonly flags: number;
  readonly when: When;
}

const { CF, PF, AF, ZF, SF, OF, STATUS } = RFLAGS;

const always = (flags: number): UndefinedFlags => ({ flags, when: 'always' });
const logic = [always(AF)];
const multiply = [always(SF | ZF | AF | PF)];
const divide = [always(STATUS)];
const shift: readonly UndefinedFlags[] = [
  always(AF),
  { flags: OF, when: 'count>1' },
  { flags: CF, when: 'count>=size' },
];
const rotate: readonly UndefinedFlags[] = [{ flags: OF, when: 'count>1' }];
/** The result is undefined too when the count exceeds the size. */
const double: readonly UndefinedFlags[] = [
  always(AF),
  { flags: OF, when: 'count>1' },
  { flags: STATUS, when: 'count>size' },
];
const bitTest = [always(OF | SF | AF | PF)];
const scan = [always(CF | OF | SF | AF | PF)];
const ascii = [always(OF | SF | ZF | PF)];
const decimal = [always(OF)];
const digits = [always(OF | AF | CF)];

/** By instruction name. */
export const UNDEFINED_FLAGS: Readonly<Record<string, readonly UndefinedFlags[]>> = {
  and: logic,
  or: logic,
  xor: logic,
  test: logic,
  mul: multiply,
  imul: multiply,
  div: divide,
  idiv: divide,
  shl: shift,
  shr: shift,
  sar: [always(AF), { flags: OF, when: 'count>1' }],
  rol: rotate,
  ror: rotate,
  rcl: rotate,
  rcr: rotate,
  shld: double,
  shrd: double,
  bt: bitTest,
  bts: bitTest,
  btr: bitTest,
  btc: bitTest,
  bsf: scan,
  bsr: scan,
  aaa: ascii,
  aas: ascii,
  daa: decimal,
  das: decimal,
  aam: digits,
  aad: digits,
};

/** Mask of the flags undefined after `name`; for shifts, `count` (masked) and operand `size` in bits decide. */
export function undefinedFlags(name: string, size = 0, count = 0): number {
  const holds = (w: When) =>
    w === 'always' ||
    (w === 'count>1' && count > 1) ||
    (w === 'count>=size' && count >= size) ||
    (w === 'count>size' && count > size);
  return (UNDEFINED_FLAGS[name] ?? []).reduce((mask, u) => (holds(u.when) ? mask | u.flags : mask), 0);
}
