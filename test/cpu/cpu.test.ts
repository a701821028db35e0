/** The recorded cases in the interpreter: registers, flags, memory and exceptions as the real CPU had them. */
import { describe, expect, it } from 'vitest';
import { formatCase, type Group } from './case.ts';
import { differences } from './compare.ts';
import { EngineDriver } from './engine-driver.ts';
import { load } from './recorded.ts';
import { FILES } from './tables.ts';

/** Differing cases told per instruction. */
const SHOWN = 5;

function run(driver: EngineDriver, groups: readonly Group[]): string[] {
  const failures: string[] = [];
  for (const g of groups) {
    const outcomes = driver.run(g.cases);
    for (const [i, c] of g.cases.entries()) {
      const d = differences(g.title, c, g.outcomes[i], outcomes[i]);
      if (d.length) failures.push(`${g.title}\n  ${formatCase(c, g.outcomes[i])}\n    ${d.join('\n    ')}`);
    }
  }
  return failures;
}

const driver = new EngineDriver();

describe.each(FILES)('%s', (file) => {
  const byName = Map.groupBy(load(file), (g) => g.title.split(' ')[0]);
  it.each([...byName])('%s', (_, groups) => {
    const failures = run(driver, groups);
    expect(failures.length, failures.slice(0, SHOWN).join('\n')).toBe(0);
  });
});
