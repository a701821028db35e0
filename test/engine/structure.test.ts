/** Flow graphs as nested blocks and loops. */
import { expect, it } from 'vitest';
import { ANY_ENTRY, makeGraph, nest } from '../../src/engine/translator/structure.ts';

it('has a loop with one head, and a node that is jumped to from two places', () => {
  // 0 → 1 → 2 → 1, 2 → 3, 0 → 3
  const g = makeGraph([[1, 3], [2], [1, 3], []], [0]);
  const { isLoop, isMerge, children } = nest(g);
  expect([...isLoop]).toEqual([1]);
  expect([...isMerge]).toEqual([3]);
  expect(children[0].toSorted()).toEqual([1, 3]);
});

it('gives a loop with two heads a dispatch node', () => {
  // 0 → 1, 0 → 2, 1 ⇄ 2
  const g = makeGraph([[1, 2], [2], [1]], [0]);
  expect(g.edges).toHaveLength(4);
  expect(nest(g).isLoop.has(3)).toBe(true);
});

it('has the entries behind a root of their own, where jumps may lead to any', () => {
  const g = makeGraph([[ANY_ENTRY], []], [0, 1]);
  expect(g.root).toBe(2);
  expect(g.edges[2].map((e) => e.to)).toEqual([0, 1]);
});

it('leaves a loop alone that nothing leads to', () => {
  const g = makeGraph([[], [2], [1]], [0]);
  expect(nest(g).order).toEqual(Int32Array.of(0, -1, -1));
});
