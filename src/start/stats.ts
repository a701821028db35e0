/** `--stats`: what a run took, printed at its end. */
import type { Host } from '../dom0/host.ts';
import type { Count, MachineStats } from '../machine/stats.ts';

/** What Linux prints when it starts the first user program. */
const INIT = 'Run /init as init process';

export class StatsRecorder {
  #tail = '';
  #toInit: number | undefined;

  /** Output of the guest; looked at until /init runs. */
  console(bytes: Uint8Array): void {
    if (this.#toInit !== undefined) return;
    this.#tail = (this.#tail + Buffer.from(bytes).toString('latin1')).slice(-4096);
    if (!this.#tail.includes(INIT)) return;
    // Node's clock starts with the process, which is as near to the command as can be seen from inside.
    this.#toInit = performance.now();
    this.#tail = '';
  }

  report(host: Host): string[] {
    return [
      `time to /init: ${this.#toInit === undefined ? 'not reached' : `${(this.#toInit / 1000).toFixed(2)} s`}`,
      `time in all: ${(performance.now() / 1000).toFixed(2)} s`,
      ...machineStats(host.stats()),
    ];
  }
}

const group = (n: bigint | number) => n.toLocaleString('en-US');
const seconds = (ns: bigint) => (Number(ns) / 1e9).toFixed(2);

/** Lines of the figures of a run, most frequent first; times where they were taken. */
export function machineStats(stats: MachineStats): string[] {
  const timed = stats.guestNs > 0n;
  const row = (name: string, n: bigint, ns?: bigint) => {
    const time =
      ns === undefined || !timed ? '' : `${seconds(ns).padStart(9)} s ${group(ns / (n || 1n)).padStart(9)} ns each`;
    return `  ${name.padEnd(28)} ${group(n).padStart(14)}${time}`;
  };
  const rows = (title: string, counts: ReadonlyMap<string, Count>) => {
    const entries = [...counts].sort(([, a], [, b]) => (a.count < b.count ? 1 : -1));
    const total = entries.reduce((sum, [, { count }]) => sum + count, 0n);
    return [`${title}: ${group(total)}`, ...entries.map(([name, { count, ns }]) => row(name, count, ns))];
  };
  const untimed = (counts: ReadonlyMap<string, bigint>) =>
    [...counts].sort(([, a], [, b]) => (a < b ? 1 : -1)).map(([name, n]) => row(name, n));
  const inExits = [...stats.exits.values()].reduce((sum, { ns }) => sum + ns, 0n);
  return [
    ...(timed ? [`time in guest code: ${seconds(stats.guestNs)} s, for exits from it: ${seconds(inExits)} s`] : []),
    `guest instructions: ${group(stats.instructions)}`,
    ...[...stats.engine].map(([what, n]) => row(what, n)),
    ...rows('hypercalls', stats.hypercalls),
    ...rows('exits from guest code', stats.exits),
    'guest exceptions:',
    ...untimed(stats.exceptions),
  ];
}

/** What each pCPU's decoder counted, added up. */
export function decoderStats(pcpus: readonly Record<string, number>[]): string[] {
  const sums = new Map<string, number>();
  for (const counts of pcpus) {
    for (const [name, n] of Object.entries(counts ?? {})) sums.set(name, (sums.get(name) ?? 0) + n);
  }
  if (sums.size === 0) return [];
  // What took time differs from run to run, and is told like the other times.
  const times = [...sums].filter(([name]) => name.startsWith('time '));
  const counts = [...sums].filter(([name]) => !name.startsWith('time '));
  return [
    ...times.map(([name, ms]) => `${name}: ${(ms / 1000).toFixed(2)} s`),
    'decoded and translated code:',
    ...counts.map(([name, n]) => `  ${name.padEnd(28)} ${group(n).padStart(14)}`),
  ];
}
