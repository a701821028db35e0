/** Many small guests at once on the real engine: their work, what they cost, and that nothing of them remains. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Host } from '../../src/dom0/host.ts';
import { cpuTime, createLoad, type LoadGuest, overhead, sleep } from './load-guest.ts';

/** What `load` prints for `n` units of work (src/load.c, unit), worked out here. */
function expectedSum(n: number): RegExp {
  const u64 = (v: bigint) => BigInt.asUintN(64, v);
  const buffer = new BigUint64Array(8192);
  let x = 1n;
  for (let round = 0; round < 8 * n; round++) {
    for (let i = 0; i < buffer.length; i++) {
      x ^= u64(x << 13n);
      x ^= x >> 7n;
      x ^= u64(x << 17n);
      buffer[i] += x;
      x = u64(x + (buffer[i] >> 3n));
    }
  }
  return new RegExp(`^sum ${x.toString(16)}$`, 'm');
}
const SUM = expectedSum(1);

let host: Host;
let failed: Error | undefined;
const start = async (memoryMiB: number, pcpus: number) => {
  host = await Host.create({ memoryMiB, pcpus });
  failed = undefined;
  host.onFailure((e) => {
    failed = e;
  });
};
afterEach(async () => {
  await host.stop();
  expect(failed).toBeUndefined();
});

/** Runs all to their end; the machine's failure ends it too. */
async function finish(guests: readonly LoadGuest[]): Promise<void> {
  const failure = new Promise<never>((_, reject) => host.onFailure(reject));
  failure.catch(() => {});
  for (const g of guests) g.domain.unpause();
  await Promise.race([Promise.all(guests.map((g) => g.domain.ended)), failure]);
}

test('a guest whose memory lies above 2 GiB works like any other', async () => {
  await start(4096, 1);
  // Takes the lower half and never runs.
  createLoad(host, 'big', 'idle', 2400);
  const g = createLoad(host, 'high', 'work 1');
  await finish([g]);
  expect(g.output()).toMatch(SUM);
});

describe('two dozen guests on two pCPUs', () => {
  const N = 24;
  beforeEach(() => start(1024, 2));

  test('each does its work; every page comes back, and they leave no more the second time', async () => {
    const round = async () => {
      const guests = Array.from({ length: N }, (_, i) => createLoad(host, `g${i}`, 'work 1', 8));
      await finish(guests);
      for (const g of guests) expect(g.output()).toMatch(SUM);
      for (const g of guests) g.domain.destroy();
      return host.xen.sysctl.physInfo().freePages;
    };
    // The first round leaves what dom0 keeps for good: its event channels' table has grown.
    const free = await round();
    expect(await round()).toBe(free);
    expect(host.toolstack.list()).toEqual([]);
    expect(host.store.directory('/local/domain')).toEqual(['0']);
  });

  test('idle ones take no time and, beside their memory, less than 1 MiB each', async () => {
    const before = overhead(host);
    const guests = Array.from({ length: N }, (_, i) => createLoad(host, `g${i}`, 'idle', 8));
    for (const g of guests) g.domain.unpause();
    await sleep(500);
    for (const g of guests) expect(host.xen.domctl.getDomainInfo(g.domain.domid)?.blocked).toBe(true);
    const each = (overhead(host) - before) / N - 8 * 2 ** 20;
    expect(each).toBeLessThan(2 ** 20);
    const used = () => guests.reduce((sum, g) => sum + cpuTime(host, g.domain.domid), 0);
    const [cpu, ran] = [process.cpuUsage(), used()];
    await sleep(1000);
    expect(used() - ran).toBe(0);
    const { user, system } = process.cpuUsage(cpu);
    expect((user + system) / 1e3).toBeLessThan(100);
  });
});
