/**
 * The recorded cases in both tiers: registers, flags, memory and exceptions as the real CPU had them. The translator makes a
 * module for each case, so by default it does one in XENOLITH_CPU_EVERY (32; 1 does all).
 */
import { describe, expect, it } from 'vitest';
import { pack } from '../../src/engine/translator/pack.ts';
import { formatCase, type Group } from './case.ts';
import { differences } from './compare.ts';
import { EngineDriver } from './engine-driver.ts';
import { load } from './recorded.ts';
import { FILES } from './tables.ts';
import { TranslatorDriver } from './translator-driver.ts';

/** Differing cases told per instruction. */
const SHOWN = 5;
const EVERY = Number(process.env.XENOLITH_CPU_EVERY ?? 32);

function run(driver: EngineDriver, groups: readonly Group[], every: number): string[] {
  const failures: string[] = [];
  let n = 0;
  for (const g of groups) {
    for (const [i, c] of g.cases.entries()) {
      // At least the first of each instruction.
      if (n++ % every) continue;
      const d = differences(g.title, c, g.outcomes[i], driver.run([c])[0]);
      if (d.length) failures.push(`${g.title}\n  ${formatCase(c, g.outcomes[i])}\n    ${d.join('\n    ')}`);
    }
  }
  return failures;
}

const translator = new TranslatorDriver();

describe.each([
  { driver: new EngineDriver(), every: 1 },
  { driver: translator, every: EVERY },
])('$driver.name', ({ driver, every }) => {
  describe.each(FILES)('%s', (file) => {
    const byName = Map.groupBy(load(file), (g) => g.title.split(' ')[0]);
    it.each([...byName])('%s', (_, groups) => {
      const failures = run(driver, groups, every);
      expect(failures.length, failures.slice(0, SHOWN).join('\n')).toBe(0);
    });
  });
});

it('the translator took most of its cases', () => {
  expect(translator.translated).toBeGreaterThan(30_000 / EVERY);
});

it('what it made of them can be put together in one module', () => {
  const all = translator.translations;
  expect(all.length).toBeGreaterThan(1000);
  expect(WebAssembly.validate(pack(all))).toBe(true);
});
