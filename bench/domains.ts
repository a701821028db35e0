/**
 * The same total work by 1, 8, 32 and 128 domains at once (test/guests/src/load.c), on one pCPU: what many domains cost. Units a
 * second, and the host's processor time beside that of one domain, which a loaded host disturbs less. Xen's paper of 2003
 * has 128 domains at 7.5 % below one.
 */
import { Host } from '../src/dom0/host.ts';
import { createLoad } from '../test/guests/load-guest.ts';

const COUNTS = [1, 8, 32, 128];

export interface DomainsResult {
  readonly domains: number;
  /** Units of work a second, and seconds of the host's processor time: medians. */
  readonly unitsPerSecond: number;
  readonly cpuSeconds: number;
}

/** `units`: the work of one run, a multiple of 128. */
export async function measureDomains(runs: number, units: number): Promise<DomainsResult[]> {
  const host = await Host.create({ pcpus: 1 });
  const got = new Map<number, { seconds: number; cpu: number }[]>(COUNTS.map((n) => [n, []]));
  try {
    const failure = new Promise<never>((_, reject) => host.onFailure(reject));
    failure.catch(() => {});
    for (let run = 0; run < runs; run++) {
      for (const n of run % 2 ? [...COUNTS].reverse() : COUNTS) {
        const guests = Array.from({ length: n }, (_, i) => createLoad(host, `g${i}`, `work ${units / n}`));
        const [start, cpu] = [performance.now(), process.cpuUsage()];
        for (const g of guests) g.domain.unpause();
        await Promise.race([failure, Promise.all(guests.map((g) => g.domain.ended))]);
        const used = process.cpuUsage(cpu);
        got.get(n)!.push({ seconds: (performance.now() - start) / 1e3, cpu: (used.user + used.system) / 1e6 });
        for (const g of guests) g.domain.destroy();
      }
    }
  } finally {
    await host.stop();
  }
  const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1];
  return COUNTS.map((domains) => {
    const all = got.get(domains)!;
    return {
      domains,
      unitsPerSecond: units / median(all.map((x) => x.seconds)),
      cpuSeconds: median(all.map((x) => x.cpu)),
    };
  });
}

export function domainsTable(results: readonly DomainsResult[]): string {
  const [one] = results;
  const percent = (x: number) => `${x >= 0 ? '+' : ''}${(x * 100).toFixed(1)} %`;
  return [
    'domains   units/s             CPU s',
    ...results.map(
      (r) =>
        `${String(r.domains).padStart(7)}${r.unitsPerSecond.toFixed(1).padStart(10)} ${percent(r.unitsPerSecond / one.unitsPerSecond - 1).padStart(9)}` +
        `${r.cpuSeconds.toFixed(2).padStart(9)} ${percent(r.cpuSeconds / one.cpuSeconds - 1).padStart(9)}`,
    ),
  ].join('\n');
}
