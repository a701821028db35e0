/** Which instructions are proved together, and that a group which cannot be proved is done one by one (streams.test.ts compares what they do). */
import { describe, expect, it } from 'vitest';
import { fpGroups } from '../../src/engine/translator/fp-group.ts';
import { regionOf } from './pinned-code.ts';

/** Groups of the first block: index of the first instruction, and how many. */
const groups = (code: string) => [...fpGroups(regionOf(code).blocks[0].instructions)];

const MULSD = 'f20f59c1';
const ADDSD = 'f20f58c2';
const LOAD = 'f20f1007';
const STORE = 'f20f1107';
const ADD_RAX = '4883c001';
const INC_RAX = '48ffc0';
const CMOVE = '480f44c1';
const FADD = 'd8c1';
const LDMXCSR = '0fae17';
const PADDB = '0ffcc1'; // mm0, mm1

describe('a group', () => {
  it('goes from the first to the last of what is proved, and has at least two of it', () => {
    expect(groups(`${LOAD} ${MULSD} ${LOAD} ${ADDSD} ${LOAD} f4`)).toEqual([[1, 3]]);
    expect(groups(`${LOAD} ${MULSD} ${LOAD} f4`)).toEqual([]);
  });

  it('ends at what is more than a change of registers', () => {
    for (const end of [STORE, CMOVE, FADD, LDMXCSR, PADDB])
      expect(groups(`${MULSD} ${ADDSD} ${end} ${MULSD} ${ADDSD} f4`), end).toEqual([
        [0, 2],
        [3, 2],
      ]);
  });

  it('has instructions whose flags nobody sees, and no others', () => {
    // Without what comes later it is not known here that flags are dead (dead-flags.ts): all end it.
    expect(groups(`${MULSD} ${ADD_RAX} ${ADDSD} f4`)).toEqual([]);
    expect(groups(`${MULSD} ${INC_RAX} ${ADDSD} f4`)).toEqual([]);
    expect(groups(`${MULSD} 488d4001 ${ADDSD} f4`)).toEqual([[0, 3]]); // lea rax,[rax+1]
  });

  it('is not longer than what is worth doing twice', () => {
    expect(groups(`${MULSD.repeat(60)} f4`)).toEqual([
      [0, 48],
      [48, 12],
    ]);
  });
});
