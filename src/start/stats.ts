/** `--stats`: what a run took, printed at its end. */
import type { Host } from '../dom0/host.ts';
import type { MachineStats } from '../machine/stats.ts';

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
    const stats = host.stats();
    return [
      `time to /init: ${this.#toInit === undefined ? 'not reached' : `${(this.#toInit / 1000).toFixed(2)} s`}`,
      `time in all: ${(performance.now() / 1000).toFixed(2)} s`,
      ...machineStats(stats),
    ];
  }
}

const count = (n: bigint | number) => n.toLocaleString('en-US');

function machineStats(stats: MachineStats): string[] {
  const rows = (title: string, counts: ReadonlyMap<string, bigint>) => {
    const entries = [...counts].filter(([, n]) => n > 0n).sort(([, a], [, b]) => (a < b ? 1 : -1));
    const total = entries.reduce((sum, [, n]) => sum + n, 0n);
    return [
      `${title}: ${count(total)}`,
      ...entries.map(([name, n]) => `  ${name.padEnd(28)} ${count(n).padStart(14)}`),
    ];
  };
  return [
    `guest instructions: ${count(stats.instructions)}`,
    `TLB misses: ${count(stats.tlbMisses)}`,
    ...rows('hypercalls', stats.hypercalls),
    ...rows('exits from guest code', stats.exits),
    ...rows('guest exceptions', stats.exceptions),
  ];
}
