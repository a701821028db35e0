/** When a back end lets requests gather: a guest as a function of how many it had answered says how many it sends. */
import { describe, expect, it } from 'vitest';
import { Patience } from '../../../src/dom0/kernel/patience.ts';

/** `requests` in batches: one at a time while nothing gathers, else `gathered` at a time. The share of those that gathered. */
function run(patience: Patience, requests: number, gathered: number, awaited = false): number {
  let [on, together, served] = [false, 0, run.served];
  for (const end = served + requests; served < end; ) {
    const batch = on ? gathered : 1;
    served += batch;
    if (on) together += batch;
    on = patience.next(served, on && awaited);
  }
  run.served = served;
  return together / requests;
}
run.served = 0;

const fresh = () => {
  run.served = 0;
  return new Patience();
};

describe('requests gather', () => {
  it('while several come at a time', () => {
    expect(run(fresh(), 10_000, 4)).toBeGreaterThan(0.98);
    expect(run(fresh(), 10_000, 2)).toBeGreaterThan(0.98);
  });

  it('hardly ever for a guest that waits for each answer', () => {
    expect(run(fresh(), 100_000, 1)).toBeLessThan(0.01);
    expect(run(fresh(), 100_000, 1, true)).toBeLessThan(0.01);
  });

  it('hardly ever for a guest that does nothing but wait for two', () => {
    expect(run(fresh(), 100_000, 2, true)).toBeLessThan(0.02);
    expect(run(fresh(), 10_000, 8, true)).toBeGreaterThan(0.98);
  });

  it('again soon once it is worthwhile, however long it was not', () => {
    const patience = fresh();
    run(patience, 100_000, 1);
    expect(run(patience, 10_000, 4)).toBeGreaterThan(0.85);
  });

  it('though now and then none has come', () => {
    const patience = fresh();
    let on = false;
    for (let served = 0, i = 0; i < 1000; i++) {
      if (i % 4) served += on ? 3 : 1;
      on = patience.next(served, false);
      if (i > 100) expect(on).toBe(true);
    }
  });

  it('no longer when none comes, or a ring has gone', () => {
    const patience = fresh();
    for (let served = 0; !patience.next(served, false); ) served += 16;
    expect(patience.next(64, false)).toBe(true);
    let empty = 0;
    while (patience.next(64, false)) empty++;
    expect(empty).toBeLessThan(6);
    for (let served = 64; !patience.next(served, false); ) served += 16;
    for (empty = 0; patience.next(0, false); ) empty++;
    expect(empty).toBeLessThan(6);
  });
});
