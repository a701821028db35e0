/** Random instruction streams do the same in both tiers: XENOLITH_STREAMS of them, from XENOLITH_STREAM_SEED on. */
import { expect, it } from 'vitest';
import { hex } from './case.ts';
import { Streams, text } from './streams.ts';

const COUNT = Number(process.env.XENOLITH_STREAMS ?? 400);
const FIRST = Number(process.env.XENOLITH_STREAM_SEED ?? 1);

it(`${COUNT} streams`, { timeout: 60_000 + COUNT * 50 }, () => {
  const streams = new Streams();
  const failures: string[] = [];
  for (let seed = FIRST; seed < FIRST + COUNT && failures.length < 5; seed++) {
    const d = streams.compare(seed);
    if (d) failures.push(`seed ${seed}: ${hex(d.case.code)}\n  ${text(d.interpreter)}\n  ${text(d.translator)}`);
  }
  expect(failures.join('\n')).toBe('');
  expect(streams.translated).toBeGreaterThan(COUNT * 0.5);
});
