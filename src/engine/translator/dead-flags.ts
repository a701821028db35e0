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

/** What an instruction is to the flags of those before it. */
export interface FlagRole {
  /** It may leave the region before it sets its own. */
  readonly leaves: boolean;
  readonly reads: boolean;
  readonly sets: 'none' | 'some' | 'all';
}

export function flagRole(nodes: readonly Node[], uses: Int32Array, fpu: boolean): FlagRole {
  let sets: FlagRole['sets'] = 'none';
  let leaves = fpu;
  let reads = false;
  for (const n of allNodes(nodes)) {
    leaves ||= LEAVES.has(n.k);
    reads ||= (n.k === 'flagword' || n.k === 'cond') && uses[n.out.id] > 0;
    // inc and dec keep CF.
    const whole = n.k === 'flags' && (n.recipe ? !/inc|dec/.test(n.recipe.op) : !!(n.z && n.s && n.c && n.x));
    if (n.k === 'flags' && sets !== 'all') sets = whole && nodes.includes(n) ? 'all' : 'some';
  }
  return { leaves, reads, sets };
}

/** The block's instructions, with `flagsDead` where it holds. */
export function markDeadFlags(block: readonly Instruction[]): Instruction[] {
  let live = true;
  return block
    .toReversed()
    .map((i) => {
      const { leaves, reads, sets } = i.role;
      const dead = !live && sets !== 'none' && !reads;
      if (!dead && sets === 'all') live = leaves || reads;
      else live ||= leaves || reads;
      return dead ? { ...i, flagsDead: true, flags: [] } : i;
    })
    .toReversed();
}
