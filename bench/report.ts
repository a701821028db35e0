/** What the runs add up to: medians, ratios, the table, the comparison with the baseline. */

import type { Measured } from './guest.ts';
import type { Line } from './lines.ts';

export const median = (values: readonly number[]) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** Runs of one line on one side, in order. */
export type Runs = readonly Pick<Measured, 'seconds' | 'cpuSeconds'>[];

export interface Result {
  readonly line: Line;
  readonly times: number;
  readonly native?: number;
  readonly qemu?: Runs;
  readonly xenolith?: Runs;
  readonly error?: string;
}

export interface Summary {
  readonly name: string;
  readonly native?: number;
  readonly qemu?: number;
  readonly xenolith?: number;
  /** QEMU / Xenolith, above 1 is ahead: of the medians, of the first runs, of the processor times. */
  readonly ratio?: number;
  readonly firstRatio?: number;
  readonly cpuRatio?: number;
}

export function summarise(result: Result): Summary {
  const { line, native, qemu, xenolith, error } = result;
  const seconds = (runs: Runs | undefined) => (runs?.length ? median(runs.map((r) => r.seconds)) : undefined);
  const cpu = (runs: Runs | undefined) => {
    const known = runs?.map((r) => r.cpuSeconds).filter((s) => s !== undefined);
    return known?.length ? median(known) : undefined;
  };
  const over = (a: number | undefined, b: number | undefined) => (error || !a || !b ? undefined : a / b);
  return {
    name: line.name,
    native,
    qemu: seconds(qemu),
    xenolith: seconds(xenolith),
    ratio: over(seconds(qemu), seconds(xenolith)),
    firstRatio: over(qemu?.[0]?.seconds, xenolith?.[0]?.seconds),
    cpuRatio: over(cpu(qemu), cpu(xenolith)),
  };
}

export function geometricMean(ratios: readonly (number | undefined)[]): number | undefined {
  const known = ratios.filter((r) => r !== undefined);
  return known.length ? Math.exp(known.reduce((sum, r) => sum + Math.log(r), 0) / known.length) : undefined;
}

const COLUMNS = ['native', 'QEMU TCG', 'Xenolith', 'ratio', 'first', 'cpu'] as const;

/** Seconds, and the ratios QEMU / Xenolith; the mean is over all lines. */
export function table(results: readonly Result[]): string[] {
  const cell = (value: number | undefined, digits: number) => (value?.toFixed(digits) ?? '').padStart(10);
  const lines = [`${''.padEnd(46)}${COLUMNS.map((c) => c.padStart(10)).join('')}`];
  let group = '';
  for (const result of results) {
    const { line } = result;
    if (line.group !== group) lines.push(`${line.group}`);
    group = line.group;
    const s = summarise(result);
    const left = `  ${line.name.padEnd(12)}${line.what.padEnd(32)}`;
    if (result.error) lines.push(`${left}failed: ${result.error.split('\n')[0]}`);
    else
      lines.push(
        left +
          [s.native, s.qemu, s.xenolith].map((v) => cell(v, 3)).join('') +
          [s.ratio, s.firstRatio, s.cpuRatio].map((v) => cell(v, 2)).join(''),
      );
  }
  const all = results.map(summarise);
  const means = (['ratio', 'firstRatio', 'cpuRatio'] as const).map((k) => geometricMean(all.map((s) => s[k])));
  if (means[0] !== undefined) lines.push(`${'geometric mean'.padEnd(76)}${means.map((m) => cell(m, 2)).join('')}`);
  return lines;
}

/** Ratios as they were, and by which part they may be lower. */
export interface Baseline {
  readonly tolerance: number;
  readonly ratios: Readonly<Record<string, number>>;
}

/** A line's ratio, if it has one. */
export type Ratio = Pick<Summary, 'name' | 'ratio'>;

/** What has become slower than the baseline allows, one message a line. */
export function regressions(lines: readonly Ratio[], baseline: Baseline): string[] {
  return lines.flatMap(({ name, ratio }) => {
    const wanted = baseline.ratios[name];
    if (ratio === undefined || wanted === undefined || ratio >= wanted * (1 - baseline.tolerance)) return [];
    return [`${name}: ${ratio.toFixed(2)}, was ${wanted.toFixed(2)}`];
  });
}
