/** Every described encoding has recorded cases, in every form, or a reason why not. */
import { expect, it } from 'vitest';
import { instructions } from '../../src/engine/semantics/index.ts';
import { EXCLUDED } from './exclusions.ts';
import { fromTable } from './generate.ts';
import { load } from './recorded.ts';
import { FILES } from './tables.ts';

it.each(FILES.filter((f) => f !== 'special'))('%s: the recording has the generator’s groups', (file) => {
  const recorded = new Set(load(file).map((g) => g.title));
  const missing = fromTable(file).filter((g) => !recorded.has(g.title));
  expect(missing.map((g) => g.title)).toEqual([]);
});

it('excludes only what exists', () => {
  const names = new Set(instructions.map((i) => i.name));
  expect(Object.keys(EXCLUDED).filter((n) => !names.has(n))).toEqual([]);
});

it('has enough cases', () => {
  const count = FILES.flatMap(load).reduce((n, g) => n + g.cases.length, 0);
  expect(count).toBeGreaterThan(40_000);
});
