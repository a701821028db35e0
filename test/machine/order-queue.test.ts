import { describe, expect, it } from 'vitest';
import type { Order } from '../../src/engine/translator/maker.ts';
import { type Job, OrderQueue } from '../../src/machine/order-queue.ts';

let id = 0;
const job = (hot: number[], instead = false, mfn = 7, pcpu = 0): Job => ({
  pcpu,
  order: { id: ++id, pages: new Int32Array(), hot, warm: [], mfn, instead, whole: instead, slots: 0 } satisfies Order,
});

describe('the order of orders', () => {
  it('is that in which they come', () => {
    const q = new OrderQueue();
    const all = [job([1]), job([2]), job([3])];
    for (const j of all) q.add(j, 0);
    expect([q.next(0), q.next(50), q.next(1), q.next(2)]).toEqual([...all, undefined]);
  });

  it('has what makes one of several wait for a time when nothing is new', () => {
    const q = new OrderQueue();
    const merge = job([1, 2], true);
    q.add(merge, 0);
    const [a, b] = [job([3]), job([4])];
    q.add(a, 0);
    expect(q.next(10)).toBe(a);
    // It is new until it is begun, at 10 ms.
    expect(q.next(50)).toBe(60);
    q.add(b, 70);
    expect(q.next(120)).toBe(b);
    expect(q.next(219)).toBe(1);
    expect(q.next(220)).toBe(merge);
    expect(q.next(220)).toBeUndefined();
  });

  it('lets nothing wait for much longer than a second', () => {
    const q = new OrderQueue();
    const merges = [job([1, 2], true), job([1, 2], true, 8)];
    q.add(merges[0], 0);
    q.add(merges[1], 500);
    for (let t = 0; t < 1000; t += 90) {
      q.add(job([3]), t);
      expect(q.next(t)).toBeTypeOf('object');
      expect(q.next(t)).toBe(Math.min(100, 1000 - t));
    }
    const [a, b] = [job([3]), job([3])];
    q.add(a, 1000);
    q.add(b, 1000);
    expect(q.next(1000)).toBe(merges[0]);
    // Then it is in turns.
    expect([q.next(1600), q.next(1600), q.next(1600), q.next(1600)]).toEqual([a, merges[1], b, undefined]);
  });

  it('leaves out what lies in a translation that was made meanwhile', () => {
    const q = new OrderQueue();
    const first = job([0x10]);
    const [inside, atEnd, other, pcpu, merge] = [
      job([0x18]),
      job([0x20]),
      job([0x18], false, 8),
      job([0x18], false, 7, 1),
      job([0x10, 0x18], true),
    ];
    for (const j of [first, inside, atEnd, other, pcpu, merge]) q.add(j, 0);
    expect(q.next(0)).toBe(first);
    expect(q.covered(first, { ranges: [[0x10, 0x20]] })).toEqual([inside]);
    expect([q.next(0), q.next(0), q.next(0), q.next(100)]).toEqual([atEnd, other, pcpu, merge]);
    expect(q.covered(first, { ranges: [[0x10, 0x20]] })).toEqual([]);
  });
});
