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

/**
 * The kind of a recipe's flags. That of an inc or dec is a *step*, and has nothing in its low byte: such an instruction leaves CF
 * as it was, so that flags are of its kind *and* of what they were before.
 */
export function kindOf(r: FlagRecipe): number {
  const kind = (FLAG_KIND[r.op.toUpperCase() as keyof typeof FLAG_KIND] << 2) | Math.log2(r.bytes);
  return r.op === 'inc' || r.op === 'dec' ? kind << STEP_SHIFT : kind;
}
const STEP_SHIFT = 8;
/** What CF follows from, and the step that all else does; 0: none. */
export const baseOf = (kind: number): number => kind & 0xff;
export const stepOf = (kind: number): number => kind >> STEP_SHIFT;
/** Kinds possible after a step of this kind. */
export const stepped = (kinds: Iterable<number>, step: number): ReadonlySet<number> =>
  new Set([...kinds].map((k) => baseOf(k) | step));

/** What flags follow from, as a set of bits: nothing, as they are in CpuState; the four words; operands, result and word c; the result of a step. */
export const FROM = { MEM: 1, WORDS: 2, A: 4, B: 8, R: 16, C: 32, STEP: 64 } as const;

const { ADD, SUB, LOGIC, RESULT } = FLAG_KIND;
/** By kind; A, B and R for those that are not named. */
const SOURCES = new Map<number, number>([
  [ADD, FROM.B | FROM.R],
  [SUB, FROM.A | FROM.B],
  [LOGIC, FROM.R],
  [RESULT, FROM.R | FROM.C],
]);

/** All that flags of these kinds follow from. */
export function sourcesOf(kinds: Iterable<number>): number {
  let all = 0;
  for (const k of kinds) {
    const base = baseOf(k);
    if (stepOf(k)) all |= FROM.STEP;
    if (base === MEM) all |= FROM.MEM;
    else all |= base === WORDS ? FROM.WORDS : (SOURCES.get(base >> 2) ?? FROM.A | FROM.B | FROM.R);
  }
  return all;
}

/**
 * What an instruction does, in order:
 *   set    the flags follow from a recipe
 *   read   a word or condition is read ('carry': for which CF is needed): from any one kind directly, from several if they are
 *          of one step and it is enough, from others only via the locals
 *   words  given words are set: all are in the locals from here on
 *   flush  a helper wants them in CpuState, and may change them there
 */
export type FlagStep =
  | { readonly k: 'set'; readonly kind: number }
  | { readonly k: 'read'; readonly carry: boolean }
  | { readonly k: 'words' }
  | { readonly k: 'flush' };

/** Is CF looked at for this condition code? */
export const readsCarry = (cc: number): boolean => cc >> 1 === 1 || cc >> 1 === 3;
/** Is what is read the same function of the locals for all these kinds? */
export function isDirect(kinds: ReadonlySet<number>, carry: boolean): boolean {
  if (kinds.size === 1) return true;
  const [step, ...others] = [...kinds].map(stepOf);
  return !carry && step !== 0 && others.every((s) => s === step);
}

/** Kinds possible after a step. */
export function after(kinds: ReadonlySet<number>, s: FlagStep): ReadonlySet<number> {
  switch (s.k) {
    case 'set':
      return stepOf(s.kind) ? stepped(kinds, s.kind) : new Set([s.kind]);
    case 'words':
      return new Set([WORDS]);
    case 'flush':
      return new Set([MEM]);
    case 'read':
      return isDirect(kinds, s.carry) ? kinds : new Set([WORDS]);
  }
}

/** Is there one kind after it, whatever there was before? */
export const forgets = (s: FlagStep): boolean => (s.k === 'set' ? stepOf(s.kind) === 0 : s.k !== 'read');

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
    else if (n.k === 'flagword' && uses[n.out.id]) steps.push({ k: 'read', carry: n.w === 'c' });
    else if (n.k === 'cond' && uses[n.out.id]) steps.push({ k: 'read', carry: readsCarry(n.cc) });
    else if (helperFlags(n)) steps.push({ k: 'flush' });
  }
  return steps;
}

/** Must all flags be in the locals before this instruction (they are touched under a condition)? */
export const wordsFirst = (nodes: readonly Node[]): boolean => nested(nodes, touchesFlags);
