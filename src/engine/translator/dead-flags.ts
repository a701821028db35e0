/**
 * Which instructions' flags nobody will see: those that a later instruction of the block sets anew before anything reads them or
 * can leave the region.
 */
import type { Node } from '../semantics/ir.ts';
import { allNodes, type Instruction } from './prepare.ts';

/** Nodes at which a region may be left. */
const LEAVES = new Set<Node['k']>([
  'load',
  'probe',
  'call',
  'raise',
  'exit',
  'faulted',
  'again',
  'atomic',
  'cmpxchg',
  'branch',
  'jump',
]);

/** Those whose page may have been looked up before (accesses.ts). */
const ACCESSES = new Set<Node['k']>(['load', 'probe']);

/** What an instruction is to the flags of those before it. */
export interface FlagRole {
  /** It may leave the region before it sets its own. */
  readonly leaves: boolean;
  /** Only for its accesses to memory, all of which it always makes. */
  readonly accesses: boolean;
  readonly reads: boolean;
  readonly sets: 'none' | 'some' | 'all';
}

export function flagRole(nodes: readonly Node[], uses: Int32Array, fpu: boolean): FlagRole {
  let sets: FlagRole['sets'] = 'none';
  let leaves = fpu;
  let accesses = !fpu;
  let reads = false;
  for (const n of allNodes(nodes)) {
    if (LEAVES.has(n.k)) {
      leaves = true;
      accesses &&= ACCESSES.has(n.k) && nodes.includes(n);
    }
    reads ||= (n.k === 'flagword' || n.k === 'cond') && uses[n.out.id] > 0;
    // inc and dec keep CF.
    const whole = n.k === 'flags' && (n.recipe ? !/inc|dec/.test(n.recipe.op) : !!(n.z && n.s && n.c && n.x));
    if (n.k === 'flags' && sets !== 'all') sets = whole && nodes.includes(n) ? 'all' : 'some';
  }
  return { leaves, accesses: leaves && accesses, reads, sets };
}

/** The block's instructions, with `flagsDead` where it holds. `mayLeave`: may the region be left at an instruction? */
export function markDeadFlags(block: readonly Instruction[], mayLeave: (i: Instruction) => boolean): Instruction[] {
  let live = true;
  return block
    .toReversed()
    .map((i) => {
      const { reads, sets } = i.role;
      const leaves = mayLeave(i);
      const dead = !live && sets !== 'none' && !reads;
      if (!dead && sets === 'all') live = leaves || reads;
      else live ||= leaves || reads;
      // A helper may look at the words, and has its own way with them.
      return dead ? { ...i, flagsDead: true, flags: i.flags.filter(({ k }) => k === 'flush') } : i;
    })
    .toReversed();
}
