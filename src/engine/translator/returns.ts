/**
 * Where the returns of a region lead that are those of functions it calls itself: to after these calls. The others' callers are
 * not known.
 */
import type { Block } from './discover.ts';

/** A function that is called from more places is left like one whose callers are not known. */
const MAX_CALLERS = 4;

/** By block that ends in a return: the blocks after the calls, at most MAX_CALLERS. `index`: the block that starts at an offset. */
export function returnsOf(
  blocks: readonly Block[],
  index: ReadonlyMap<number, number>,
): ReadonlyMap<number, readonly number[]> {
  const found = new Map<number, Set<number>>();
  const bodies = new Map<number, readonly number[]>();
  for (const b of blocks) {
    const callee = isCall(b) && b.taken !== undefined ? index.get(b.taken) : undefined;
    const after = index.get(end(b));
    if (callee === undefined || after === undefined) continue;
    let returns = bodies.get(callee);
    if (!returns) {
      returns = returnsFrom(blocks, index, callee);
      bodies.set(callee, returns);
    }
    for (const r of returns) {
      const to = found.get(r);
      if (to) to.add(after);
      else found.set(r, new Set([after]));
    }
  }
  return new Map([...found].filter(([, to]) => to.size <= MAX_CALLERS).map(([r, to]) => [r, [...to]]));
}

/** Is there a call to a computed place that returns to one of the blocks? */
export const callsByAddress = (blocks: readonly Block[], index: ReadonlyMap<number, number>): boolean =>
  blocks.some((b) => isCall(b) && b.taken === undefined && index.has(end(b)));

const last = (b: Block) => b.instructions.at(-1)!;
const end = (b: Block) => last(b).next;
const isCall = (b: Block) => last(b).encoding.insn.name === 'call';
const isReturn = (b: Block) => last(b).encoding.insn.name === 'ret';

/** The returns of the function that begins at a block: what it calls comes back. */
function returnsFrom(blocks: readonly Block[], index: ReadonlyMap<number, number>, start: number): number[] {
  const seen = new Set([start]);
  const queue = [start];
  const returns: number[] = [];
  while (queue.length) {
    const n = queue.pop()!;
    const b = blocks[n];
    if (isReturn(b)) returns.push(n);
    for (const o of isCall(b) ? [end(b)] : [b.taken, b.next]) {
      const to = o === undefined ? undefined : index.get(o);
      if (to === undefined || seen.has(to)) continue;
      seen.add(to);
      queue.push(to);
    }
  }
  return returns;
}
