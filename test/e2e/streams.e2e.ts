/**
 * Random instruction streams in both tiers, many of them: XENOLITH_STREAMS, from XENOLITH_STREAM_SEED on, on all processors. The
 * translations are more than the memory for them holds, so that they are evicted all the time.
 */
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import type { Compared, Share } from '../cpu/streams-worker.ts';

const COUNT = Number(process.env.XENOLITH_STREAMS ?? 500_000);
const FIRST = Number(process.env.XENOLITH_STREAM_SEED ?? 1);
/** More memory than that is not asked for. */
const MOST_THREADS = 8;

async function compare(share: Share): Promise<Compared> {
  const worker = new Worker(new URL('../cpu/streams-worker.ts', import.meta.url), { workerData: share });
  const [result] = (await once(worker, 'message')) as [Compared];
  await worker.terminate();
  return result;
}

it(`${COUNT} streams`, { timeout: 60_000 + COUNT * 5, retry: 0 }, async () => {
  const threads = Math.min(availableParallelism(), MOST_THREADS, COUNT);
  const shares = Array.from({ length: threads }, (_, n) => ({
    first: FIRST + n,
    step: threads,
    count: Math.ceil((COUNT - n) / threads),
  }));
  const results = await Promise.all(shares.map(compare));
  expect(results.flatMap((r) => r.failures).join('\n')).toBe('');
  const sum = (f: (r: Compared) => number) => results.reduce((n, r) => n + f(r), 0);
  expect(sum((r) => r.count)).toBe(COUNT);
  expect(sum((r) => r.translated)).toBeGreaterThan(COUNT * 0.5);
  expect(sum((r) => r.overwritten)).toBeLessThanOrEqual(Math.ceil(COUNT / 10_000));
});
