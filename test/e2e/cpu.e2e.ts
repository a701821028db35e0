/** Records the CPU cases again on this machine's CPU: the generator still makes the committed cases, this CPU agrees. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatCase, type Group } from '../cpu/case.ts';
import { differences } from '../cpu/compare.ts';
import { NativeCpu } from '../cpu/native.ts';
import { record } from '../cpu/record.ts';
import { load } from '../cpu/recorded.ts';
import { FILES } from '../cpu/tables.ts';

let cpu: NativeCpu;
beforeAll(() => {
  cpu = new NativeCpu();
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
        const d = differences(g.title, c, g.outcomes[i], fresh[k].outcomes[i]);
        if (d.length) differing.push(`${g.title}\n  ${formatCase(c, g.outcomes[i])}\n    ${d.join('\n    ')}`);
      }
    }
    expect(differing.length, differing.slice(0, 10).join('\n')).toBe(0);
  });
});
