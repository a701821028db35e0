/** What the runs of the device lines add up to. */
import { geometricMean, median } from '../report.ts';
import type { DeviceLine } from './lines.ts';

export interface DeviceResult {
  readonly line: DeviceLine;
  /** Figures of the runs, in order. */
  readonly qemu: readonly number[];
  readonly xenolith: readonly number[];
  readonly error?: string;
}

export interface DeviceSummary {
  readonly name: string;
  /** Medians. */
  readonly qemu?: number;
  readonly xenolith?: number;
  /** How far Xenolith is ahead: 2 is twice the rate, or half the time. */
  readonly ratio?: number;
}

export function summariseDevice({ line, qemu, xenolith, error }: DeviceResult): DeviceSummary {
  const of = (figures: readonly number[]) => (figures.length && !error ? median(figures) : undefined);
  const [theirs, ours] = [of(qemu), of(xenolith)];
  const ratio = theirs && ours ? (line.unit.more ? ours / theirs : theirs / ours) : undefined;
  return { name: line.name, qemu: theirs, xenolith: ours, ratio };
}

export function deviceTable(results: readonly DeviceResult[]): string[] {
  const cell = (value: number | undefined, digits: number) => (value?.toFixed(digits) ?? '').padStart(10);
  const lines = [`${''.padEnd(52)}${['QEMU TCG', 'Xenolith', 'ratio'].map((c) => c.padStart(10)).join('')}`];
  let group = '';
  for (const result of results) {
    const { line, error } = result;
    if (line.group !== group) lines.push(line.group);
    group = line.group;
    const left = `  ${line.name.padEnd(12)}${line.what.padEnd(30)}${line.unit.name.padEnd(8)}`;
    const { qemu, xenolith, ratio } = summariseDevice(result);
    if (error) lines.push(`${left}failed: ${error.split('\n')[0]}`);
    else lines.push(`${left}${cell(qemu, line.unit.digits)}${cell(xenolith, line.unit.digits)}${cell(ratio, 2)}`);
  }
  const mean = geometricMean(results.map((r) => summariseDevice(r).ratio));
  if (mean !== undefined) lines.push(`${'geometric mean'.padEnd(72)}${cell(mean, 2)}`);
  return lines;
}

/** As it is kept as JSON, every run included. */
export const deviceJson = (results: readonly DeviceResult[]) =>
  results.map((r) => {
    const { line, qemu, xenolith, error } = r;
    const { group, what, unit } = line;
    return { group, what, unit: unit.name, ...summariseDevice(r), runs: { qemu, xenolith }, error };
  });
