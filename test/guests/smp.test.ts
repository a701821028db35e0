/**
 * Test guests with several vCPUs on several pCPUs. Each checks itself and prints what it found wrong. XENOLITH_SMP_RUNS
 * multiplies how much they do (default 1, for which they take a few seconds in all); XENOLITH_LITMUS_RUNS says how often each
 * litmus test is run (10^8 take a minute or so on two cores that have nothing else to do).
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host } from '../../src/dom0/host.ts';
import { runGuest } from './run-guest.ts';
import { imagePath, MEMORY_MIB, type Run } from './runs.ts';

const TIMES = Number(process.env.XENOLITH_SMP_RUNS ?? 1);
const LITMUS = Number(process.env.XENOLITH_LITMUS_RUNS ?? 20_000);
/** Seconds a guest may take, however busy the machine is. */
const SECONDS = 60 + TIMES * 10 + LITMUS / 1000;

const run = (image: string, vcpus: number, options: Record<string, number>): Run => ({
  name: `${image}-${vcpus}`,
  image,
  vcpus,
  cmdline: Object.entries({ cpus: vcpus, ...options })
    .map(([k, v]) => `${k}=${v}`)
    .join(' '),
  seconds: SECONDS,
});

describe.each([
  [2, [run('smp-litmus', 2, { runs: LITMUS }), run('smp-litmus', 4, { runs: LITMUS })]],
  [2, [run('smp-tlb', 2, { rounds: 100 * TIMES })]],
  [2, [run('smp-code', 2, { rounds: 100 * TIMES })]],
  [2, [run('smp-atomics', 2, { rounds: 1000 * TIMES }), run('smp-atomics', 4, { rounds: 300 * TIMES })]],
  [3, [run('smp-events', 2, { rounds: 500 * TIMES }), run('smp-events', 8, { rounds: 500 * TIMES, seed: 2 })]],
] as const)('%i pCPUs', (pcpus, runs) => {
  let host: Host;
  let failure: Error | undefined;
  beforeAll(async () => {
    host = await Host.create({ memoryMiB: 256, pcpus, checkLocks: true });
    host.onFailure((e) => {
      failure = e;
    });
  });
  afterAll(() => host?.stop());

  it.each(runs.map((r) => [r.name, r] as const))('%s', { timeout: SECONDS * 1000 }, async (_, r) => {
    const result = await runGuest(host, r);
    if (TIMES > 1 || process.env.XENOLITH_LITMUS_RUNS) console.log(result.transcript);
    expect(result.transcript).toMatch(/Test result: SUCCESS\n= poweroff\n$/);
    expect(result.freeAfter).toBe(result.freeBefore);
    expect(failure).toBeUndefined();
  });
});

it('litmus tests when everything is interpreted', { timeout: SECONDS * 1000 }, async () => {
  const host = await Host.create({ memoryMiB: 256, pcpus: 2, translationMiB: 0 });
  try {
    for (const vcpus of [2, 4]) {
      const { transcript } = await runGuest(host, run('smp-litmus', vcpus, { runs: LITMUS }));
      if (process.env.XENOLITH_LITMUS_RUNS) console.log(transcript);
      expect(transcript).toMatch(/Test result: SUCCESS\n= poweroff\n$/);
    }
  } finally {
    await host.stop();
  }
});

describe('two busy domains', () => {
  /** Two domains that compute; how much CPU time they got in a while, as a multiple of that while. */
  async function share(pcpus: number): Promise<{ together: number; processors: Set<number> }> {
    const host = await Host.create({ memoryMiB: 256, pcpus, checkLocks: true });
    try {
      const domains = ['one', 'two'].map((name) => {
        const domain = host.toolstack.create({
          name,
          memoryMiB: MEMORY_MIB,
          vcpus: 1,
          kernel: new Uint8Array(readFileSync(imagePath(run('smp-work', 1, {})))),
          kernelName: 'smp-work',
          cmdline: '',
        });
        domain.unpause();
        return domain;
      });
      const used = () =>
        domains.map((d) => host.xen.domctl.getDomainInfo(d.domid)!.cpuTime).reduce((a, b) => a + b, 0n);
      const deadline = Date.now() + 20_000;
      while (used() < 50_000_000n && Date.now() < deadline) await new Promise((r) => setTimeout(r, 20));
      const began = process.hrtime.bigint();
      const before = used();
      const processors = new Set<number>();
      for (let i = 0; i < 30; i++) {
        await new Promise((r) => setTimeout(r, 20));
        for (const d of domains) processors.add(host.xen.domctl.getVcpuInfo(d.domid, 0).cpu);
      }
      const together = Number(used() - before) / Number(process.hrtime.bigint() - began);
      return { together, processors };
    } finally {
      await host.stop();
    }
  }

  it('run at the same time on two pCPUs, in turn on one', { timeout: 60_000 }, async () => {
    // Time on a pCPU counts, whether the host gives its thread a core or not.
    const two = await share(2);
    expect(two.together).toBeGreaterThan(1.7);
    expect(two.processors).toEqual(new Set([0, 1]));
    const one = await share(1);
    expect(one.together).toBeLessThan(1.1);
  });
});
