/**
 * Where the flags are (FLAG_KIND in ../flags.ts), followed through instructions. A region knows at each point the set of
 * kinds that are possible there; mostly it is one, and then conditions become plain comparisons.
 */
import { FLAG_KIND } from '../flags.ts';
import type { FlagRecipe, Node } from '../semantics/ir.ts';
import { effectsOf } from './helpers.ts';

/** The words in CpuState are up to date. */
export const MEM = 0;
/** The four locals are. */
export const WORDS = 1;

export function kindOf(r: FlagRecipe): number {
  return (FLAG_KIND[r.op.toUpperCase() as keyof typeof FLAG_KIND] << 2) | Math.log2(r.bytes);
}

/**
 * What an instruction does, in order:
 *   set    the flags follow from a recipe
 *   read   a word or condition is read: from any one kind directly, from one of several only via the locals
 *   words  given words are set: all are in the locals from here on
 *   flush  a helper wants them in CpuState, and may change them there
 */
export type FlagStep = { readonly k: 'set'; readonly kind: number } | { readonly k: 'read' | 'words' | 'flush' };

/** Kinds possible after a step. */
export function after(kinds: ReadonlySet<number>, s: FlagStep): ReadonlySet<number> {
  if (s.k === 'set') return new Set([s.kind]);
  if (s.k === 'words') return new Set([WORDS]);
  if (s.k === 'flush') return new Set([MEM]);
  return kinds.size === 1 ? kinds : new Set([WORDS]);
}

const touchesFlags = (n: Node) => n.k === 'flags' || n.k === 'flagword' || n.k === 'cond';
const helperFlags = (n: Node) => n.k === 'call' && effectsOf(n.name).flags;

function nested(nodes: readonly Node[], what: (n: Node) => boolean): boolean {
  return nodes.some((n) => n.k === 'if' && [...n.then, ...n.else].some((m) => what(m) || nested([m], what)));
}

/**
 * Undefined: flags are changed in ways that this does not follow. Flags that are touched under a condition go through the
 * locals from the start of the instruction.
 */
export function flagSteps(nodes: readonly Node[], uses: Int32Array): readonly FlagStep[] | undefined {
  const steps: FlagStep[] = [];
  if (nested(nodes, helperFlags)) return undefined;
  if (nested(nodes, touchesFlags)) {
    if (nodes.some(helperFlags)) return undefined;
    if (nested(nodes, (n) => n.k === 'flags') && nodes.some((n) => n.k === 'flags')) return undefined;
    steps.push({ k: 'words' });
  }
  for (const n of nodes) {
    if (n.k === 'flags') steps.push(n.recipe ? { k: 'set', kind: kindOf(n.recipe) } : { k: 'words' });
    else if ((n.k === 'flagword' || n.k === 'cond') && uses[n.out.id]) steps.push({ k: 'read' });
    else if (helperFlags(n)) steps.push({ k: 'flush' });
  }
  return steps;
}

/** Must all flags be in the locals before this instruction (they are touched under a condition)? */
export const wordsFirst = (nodes: readonly Node[]): boolean => nested(nodes, touchesFlags);
