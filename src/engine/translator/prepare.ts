/** One guest instruction as the translator needs it: its description with immediates decided, and how it ends. */
import type { Decoded } from '../decode/decode.ts';
import { operandSlot } from '../decode/slots.ts';
import { describe, endsAlways, secondImmediate } from '../interpreter/generate.ts';
import type { Form } from '../semantics/builder.ts';
import { type FormOf, forms } from '../semantics/forms.ts';
import type { Code, Node, Val } from '../semantics/ir.ts';
import type { Encoding } from '../semantics/table.ts';
import { CpuState } from '../state.ts';
import { countUses } from '../wasm/ir-emitter.ts';
import { pageOf } from './code-view.ts';
import { type FlagRole, flagRole } from './dead-flags.ts';
import { type FlagStep, flagSteps, wordsFirst } from './flag-steps.ts';
import { constantOf, constantsOf, decides, fold } from './fold.ts';

/**
 * fall      goes on with the next instruction
 * branch    goes to the direct target
 * cond      goes to the direct target or to the next instruction
 * jump      goes to a computed address
 * resync    leaves the region, to where CpuState says (a helper changed rip, and perhaps mode, flags or address space)
 * interpret is left to the interpreter (hypervisor exits, mode changes, anything rare)
 */
export type Ending = 'fall' | 'branch' | 'cond' | 'jump' | 'resync' | 'interpret';

export interface Instruction {
  readonly d: Decoded;
  readonly encoding: Encoding;
  readonly form: Form;
  readonly code: Code;
  /** All of its nodes, those in lists too. */
  readonly all: readonly Node[];
  readonly uses: Int32Array;
  /** By value: it follows from immediates (1). */
  readonly constants: Uint8Array;
  readonly second: number | undefined;
  /** Page offsets of this and of the next instruction. */
  readonly at: number;
  readonly next: number;
  readonly ending: Ending;
  readonly flags: readonly FlagStep[];
  readonly role: FlagRole;
  /** The registers that are its operands are taken to be 0: they are the same one, and it does not matter. */
  readonly clears: boolean;
  /** All flags must be in the locals before it. */
  readonly wordsFirst: boolean;
  /** The region may be left with its writes done: in a helper, or between the turns of a string instruction. */
  readonly leavesAfter: boolean;
  /** Nobody sees its flags: they need not be made (dead-flags.ts). */
  readonly flagsDead?: boolean;
}

/** The page that its last byte is in. */
export const lastPage = ({ next }: Pick<Instruction, 'next'>): number => pageOf(next - 1);

/** Does it reach over the end of its page? */
export const crossesPage = (i: Pick<Instruction, 'at' | 'next'>): boolean => lastPage(i) !== pageOf(i.at);

/** Every node of a list and of the lists in it. */
export const allNodes = (nodes: readonly Node[]): Node[] =>
  nodes.flatMap((n) => (n.k === 'if' ? [n, ...allNodes(n.then), ...allNodes(n.else)] : [n]));

function endingOf(nodes: readonly Node[]): Ending {
  const last = nodes.at(-1);
  if (!last) return 'fall';
  for (const n of allNodes(nodes)) {
    if (n.k === 'resync' && n !== last) return 'interpret';
    // A branch stands at the end, alone or under one condition.
    if (n.k === 'branch' && n !== last && !(last.k === 'if' && last.then.length === 1 && last.then[0] === n)) {
      return 'interpret';
    }
  }
  if (last.k === 'branch') return 'branch';
  if (last.k === 'jump') return 'jump';
  if (last.k === 'resync') return 'resync';
  if (last.k === 'if' && last.then[0]?.k === 'branch' && last.else.length === 0) return 'cond';
  return endsAlways(nodes) ? 'interpret' : 'fall';
}

/** Instructions whose results are the same whatever is in a register that both of their operands are. */
const CLEARING = /^(xor|sub|sbb|cmp|pxor|xorp[sd]|pandn|andnp[sd]|psub.*|pcmp(eq|gt).)$/;

function sameRegister(encoding: Encoding, d: Decoded): boolean {
  const [a, b] = [operandSlot(encoding, 0, d), operandSlot(encoding, 1, d)];
  return a === b && a !== CpuState.off.zero;
}

/** What follows from a description alone, with its decided `if`s. */
type Facts = Pick<
  Instruction,
  'code' | 'all' | 'uses' | 'constants' | 'ending' | 'flags' | 'role' | 'wordsFirst' | 'leavesAfter'
>;

function factsOf(nodes: readonly Node[], code: Code, fpu: boolean): Facts {
  const uses = new Int32Array(code.values);
  countUses(nodes, uses, true);
  const flags = flagSteps(nodes, uses);
  const all = allNodes(nodes);
  return {
    code: { ...code, nodes: nodes as Node[] },
    all,
    uses,
    constants: constantsOf(all, code.values),
    ending: flags ? endingOf(nodes) : 'interpret',
    flags: flags ?? [],
    role: flagRole(nodes, uses, fpu),
    wordsFirst: wordsFirst(nodes),
    leavesAfter: all.some((n) => n.k === 'call' || n.k === 'again'),
  };
}

interface Known {
  readonly form: FormOf;
  readonly code: Code;
  readonly second: number | undefined;
  readonly facts: Facts;
  /** It is CLEARING. */
  readonly clearing: boolean;
  /** It has `if`s that immediates decide. */
  readonly decides: boolean;
  /** What it compares with or subtracts, if that follows from immediates; and what follows if it is nothing. */
  readonly subtrahend: Val | undefined;
  less0?: Facts;
}

/** What a list subtracts, as far as its flags are concerned. */
function subtrahendOf(nodes: readonly Node[], constants: Uint8Array): Val | undefined {
  for (const n of nodes) {
    const b = n.k === 'flags' && n.recipe?.op === 'sub' ? n.recipe.b : undefined;
    if (b && constants[b.id]) return b;
  }
  return undefined;
}

/** The list with the flags of a - b made those of a: if b is 0 they are the same, and follow from less. */
const withoutSubtrahend = (nodes: readonly Node[], b: Val): Node[] =>
  nodes.map((n) => {
    if (n.k !== 'flags' || n.recipe?.op !== 'sub' || n.recipe.b !== b) return n;
    return { ...n, recipe: { op: 'logic', bytes: n.recipe.bytes, r: n.recipe.a! } };
  });

/** Descriptions by encoding and form, made when first met. */
export class Descriptions {
  private readonly known = new Map<number, Known | undefined>();
  private readonly encodings: readonly Encoding[];
  constructor(encodings: readonly Encoding[]) {
    this.encodings = encodings;
  }

  private find(d: Decoded) {
    const id = d.encoding * 4096 + d.key;
    if (!this.known.has(id)) {
      const e = this.encodings[d.encoding];
      for (const form of forms(e)) {
        if (form.key !== d.key) continue;
        const code = describe(e, form);
        const facts = factsOf(code.nodes, code, !!e.insn.fpu);
        const second = secondImmediate(form);
        const { constants } = facts;
        const subtrahend = subtrahendOf(code.nodes, constants);
        this.known.set(id, {
          form,
          code,
          second,
          facts,
          clearing: CLEARING.test(e.insn.name),
          decides: decides(code.nodes, constants),
          subtrahend,
        });
      }
    }
    return this.known.get(id);
  }

  /** Undefined: no such form (#UD). */
  instruction(d: Decoded, at: number): Instruction | undefined {
    const found = this.find(d);
    if (!found) return undefined;
    const encoding = this.encodings[d.encoding];
    const facts = this.facts(found, d);
    const clears = found.clearing && sameRegister(encoding, d);
    const i = {
      d,
      encoding,
      form: found.form.form,
      second: found.second,
      at,
      next: at + d.length,
      ...facts,
      clears,
    };
    // The region is left before it if the next page has something else by now.
    return crossesPage(i) ? { ...i, role: { ...i.role, leaves: true, accesses: false } } : i;
  }

  private facts(found: Known, d: Decoded): Facts {
    const { code, second, subtrahend } = found;
    const fpu = !!this.encodings[d.encoding].insn.fpu;
    if (found.decides) return factsOf(fold(code.nodes, d, second), code, fpu);
    if (!subtrahend || constantOf(subtrahend, d, second) !== 0n) return found.facts;
    found.less0 ??= factsOf(withoutSubtrahend(code.nodes, subtrahend), code, fpu);
    return found.less0;
  }
}
