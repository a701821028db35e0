/** What one call of the host reads into. */
import { expect, it } from 'vitest';
import { vector } from '../../../src/dom0/backends/block/vector.ts';
import type { GrantedPage } from '../../../src/dom0/kernel/grant-map.ts';

const memory = new SharedArrayBuffer(16 * 4096);
const page = (n: number): GrantedPage => ({
  ...{ ref: n, handle: n, address: n * 4096, mfn: n, readonly: false },
  bytes: Buffer.from(memory, n * 4096, 4096),
});
const pieces = (...parts: [page: number, from: number, to: number][]) =>
  vector(
    parts.map(([n]) => page(n)),
    parts.map(([, from]) => from),
    parts.map(([, , to]) => to),
  ).map((b) => [b.byteOffset, b.byteOffset + b.length]);

it('joins what lies side by side, and nothing else', () => {
  const whole = (n: number): [number, number, number] => [n, 0, 4096];
  expect(pieces()).toEqual([]);
  expect(pieces(whole(3), whole(4), whole(5))).toEqual([[3 * 4096, 6 * 4096]]);
  expect(pieces(whole(5), whole(4))).toEqual([
    [5 * 4096, 6 * 4096],
    [4 * 4096, 5 * 4096],
  ]);
  expect(pieces(whole(3), whole(3))).toEqual([
    [3 * 4096, 4 * 4096],
    [3 * 4096, 4 * 4096],
  ]);
  expect(pieces([1, 512, 4096], whole(2), [3, 0, 1024], [4, 0, 512])).toEqual([
    [4096 + 512, 3 * 4096 + 1024],
    [4 * 4096, 4 * 4096 + 512],
  ]);
  expect(pieces([1, 0, 512], [1, 512, 1024])).toEqual([[4096, 4096 + 1024]]);
});

it('gives the memory itself', () => {
  vector([page(7)], [0], [4096])[0].fill(9);
  expect(new Uint8Array(memory)[7 * 4096 + 4095]).toBe(9);
});
