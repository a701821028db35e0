/** Random instruction streams do the same in both tiers: XENOLITH_STREAMS of them, from XENOLITH_STREAM_SEED on. */
import { expect, it } from 'vitest';
import { Streams } from './streams.ts';

const COUNT = Number(process.env.XENOLITH_STREAMS ?? 400);
const FIRST = Number(process.env.XENOLITH_STREAM_SEED ?? 1);

it(`${COUNT} streams`, { timeout: 60_000 + COUNT * 50 }, () => {
  const streams = new Streams();
  expect(streams.failures(FIRST, 1, COUNT).join('\n')).toBe('');
  expect(streams.translated).toBeGreaterThan(COUNT * 0.5);
});
