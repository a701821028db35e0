/** What `npm run bench` makes of its measurements. */
import { describe, expect, it } from 'vitest';
import { chooseLines, LINES } from '../../bench/lines.ts';
import { parseOutcome } from '../../bench/programs.ts';
import { geometricMean, median, type Result, regressions, summarise, table } from '../../bench/report.ts';

const runs = (...seconds: number[]) => seconds.map((s) => ({ seconds: s, cpuSeconds: s / 2 }));
const sieve = LINES.find((line) => line.name === 'sieve')!;
const result: Result = { line: sieve, times: 1, native: 0.1, qemu: runs(3, 1, 2), xenolith: runs(6, 1, 0.5) };

describe('lines', () => {
  it('have names of their own', () => {
    expect(new Set(LINES.map((line) => line.name)).size).toBe(LINES.length);
  });

  it('are chosen by name and by group', () => {
    const integer = LINES.filter((line) => line.group === 'integer');
    expect(chooseLines(LINES, undefined)).toEqual(LINES);
    expect(chooseLines(LINES, 'integer')).toEqual(integer);
    expect(chooseLines(LINES, 'pipe,integer').map((line) => line.name)).toEqual([
      ...integer.map((l) => l.name),
      'pipe',
    ]);
    expect(() => chooseLines(LINES, 'sieve,nothing')).toThrow('--lines nothing');
  });
});

describe('what a program prints', () => {
  it.each([
    ['bench> sieve 0.125000 00000000deadbeef\n', undefined],
    ['[  1.0] noise\nsieve 0.125000 00000000deadbeef\nbench> ', { seconds: 0.125, checksum: '00000000deadbeef' }],
    ['sieve2 0.125000 00000000deadbeef\n', undefined],
    ['failed: mmap: Cannot allocate memory\n', undefined],
  ])('%j', (text, outcome) => {
    expect(parseOutcome('sieve', text)).toEqual(outcome);
  });
});

describe('figures', () => {
  it('medians, also of an even number', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
  });

  it('a ratio above 1 is ahead of QEMU', () => {
    expect(summarise(result)).toEqual({
      ...{ name: 'sieve', native: 0.1, qemu: 2, xenolith: 1 },
      ...{ ratio: 2, firstRatio: 0.5, cpuRatio: 2 },
    });
  });

  it('a line that failed has no ratio, and one side alone neither', () => {
    expect(summarise({ ...result, error: 'no' }).ratio).toBeUndefined();
    expect(summarise({ ...result, qemu: [] }).ratio).toBeUndefined();
    expect(table([{ ...result, error: 'no\nmore' }]).join('\n')).toMatch(/sieve .*failed: no$/m);
  });

  it('the mean is geometric and over what is known', () => {
    expect(geometricMean([4, undefined, 0.25])).toBeCloseTo(1);
    expect(geometricMean([undefined])).toBeUndefined();
  });

  it('a regression is below the baseline by more than the tolerance', () => {
    const baseline = (ratio: number) => ({ tolerance: 0.2, ratios: { sieve: ratio, other: 9 } });
    expect(regressions([summarise(result)], baseline(2.4))).toEqual([]);
    expect(regressions([summarise(result)], baseline(2.6))).toEqual(['sieve: 2.00, was 2.60']);
    expect(regressions([summarise({ ...result, qemu: undefined })], baseline(9))).toEqual([]);
  });
});
