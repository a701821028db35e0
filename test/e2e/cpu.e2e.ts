/**
 * Records the CPU cases again on this machine's CPU: the generator still makes the committed cases, this CPU agrees.
 * A virtual machine may not start all of them (no 32-bit code, no stack pointer above the lower half): those have no
 * judge there, and that is said.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Case, formatCase, type Group, type Outcome } from '../cpu/case.ts';
import { differences } from '../cpu/compare.ts';
import { NativeCpu, PAGE_FAULT } from '../cpu/native.ts';
import { record } from '../cpu/record.ts';
import { load } from '../cpu/recorded.ts';
import { FILES } from '../cpu/tables.ts';

/** The cases that a machine may be unable to start, by what is special in them. */
const HARD: { name: string; mode: 0 | 1; sp: bigint; is: (c: Case, title: string) => boolean }[] = [
  { name: '32-bit code', mode: 1, sp: 0x1000_1000n, is: (c, title) => c.mode === 1 || DESCRIPTORS.test(title) },
  { name: 'stack pointers above the lower half', mode: 0, sp: 1n << 63n, is: (c) => stackPointer(c) >= 1n << 47n },
];
/** Instructions that read the code segment's descriptor, which a kernel without 32-bit programs has not. */
const DESCRIPTORS = /^(callf|jmpf|retf|iret|lar|lsl|verr|verw) /;
/** A case that differs is run this often by itself: a virtual machine now and then loses a segment base. */
const AGAIN = 3;

const stackPointer = (c: Case) => (c.over.has('sp') ? BigInt(`0x${c.over.get('sp')}`) : 0n);

/** Where both operands of a cmps fault, makes of processors differ in which they read first; both are right. */
function otherOperand(title: string, want: Outcome, got: Outcome): boolean {
  const faults = [want, got].every((o) => o.exception?.vector === PAGE_FAULT && o.ip === want.ip);
  return title.startsWith('cmps ') && faults;
}

let cpu: NativeCpu;
let judged: (c: Case, title: string) => boolean;
beforeAll(() => {
  cpu = new NativeCpu();
  const impossible = HARD.filter((kind) => !cpu.starts(kind));
  for (const { name } of impossible) console.warn(`this machine does not start ${name}: not compared with its CPU`);
  judged = (c, title) => !impossible.some((kind) => kind.is(c, title));
});
afterAll(() => cpu?.close());

/** A case's text without its outcome. */
const inputs = (g: Group) => g.cases.map((c, i) => formatCase(c, g.outcomes[i]).replace(/ >.*/, ''));

describe.each(FILES)('%s', (file) => {
  it('the generator makes the committed cases, and this CPU answers the same', () => {
    const committed = load(file);
    const fresh = record(cpu, file);
    expect(fresh.map((g) => g.title)).toEqual(committed.map((g) => g.title));
    const differing: string[] = [];
    for (const [k, g] of committed.entries()) {
      expect(inputs(fresh[k]), g.title).toEqual(inputs(g));
      for (const [i, c] of g.cases.entries()) {
        if (!judged(c, g.title)) continue;
        const against = (outcome: Outcome) =>
          otherOperand(g.title, g.outcomes[i], outcome) ? [] : differences(g.title, c, g.outcomes[i], outcome);
        let d = against(fresh[k].outcomes[i]);
        for (let n = 0; d.length > 0 && n < AGAIN; n++) d = against(cpu.run([c])[0]);
        if (d.length) differing.push(`${g.title}\n  ${formatCase(c, g.outcomes[i])}\n    ${d.join('\n    ')}`);
      }
    }
    expect(differing.length, differing.slice(0, 10).join('\n')).toBe(0);
  });
});
