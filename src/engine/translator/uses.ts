/** What the instructions of a region do with registers: which they name, need from before, and write for nobody to see. */
import { operandSlot } from '../decode/slots.ts';
import type { Node } from '../semantics/ir.ts';
import { allNodes, type Instruction } from './prepare.ts';
import { registerAt } from './registers.ts';

/** Registers by number (registerAt). */
interface Effect {
  readonly reads: ReadonlySet<number>;
  readonly writes: ReadonlySet<number>;
  /** Written as a whole, whatever happens: nothing of the old value is left. */
  readonly defines: ReadonlySet<number>;
}

/** Does a write of `bytes` at byte `byte` leave nothing of register n? A 4-byte result of an operand clears the rest. */
const whole = (n: number, byte: number, bytes: number, clears: boolean) =>
  byte === 0 && (n >= 16 ? bytes === 16 : bytes === 8 || (bytes === 4 && clears));

export function effectOf(i: Instruction): Effect {
  const reads = new Set<number>();
  const writes = new Set<number>();
  const defines = new Set<number>();
  const read = (offset: number) => {
    const { n } = registerAt(offset);
    if (n >= 0) reads.add(n);
  };
  const write = (node: Node, offset: number, bytes: number, clears: boolean) => {
    const { n, byte } = registerAt(offset);
    if (n < 0) return;
    writes.add(n);
    if (!whole(n, byte, bytes, clears)) reads.add(n);
    else if (i.code.nodes.includes(node)) defines.add(n);
  };
  for (const n of allNodes(i.code.nodes)) {
    switch (n.k) {
      case 'regop':
        if (i.uses[n.out.id]) read(operandSlot(i.encoding, n.i, i.d));
        break;
      case 'setregop':
        write(n, operandSlot(i.encoding, n.i, i.d) + (n.at ?? 0), n.bytes, n.v.t === 'i32');
        break;
      case 'get':
        if (i.uses[n.out.id]) read(n.off);
        break;
      case 'set':
        write(n, n.off, n.bytes, false);
        break;
      case 'ea':
        if (!i.uses[n.out.id]) break;
        if (i.d.base >= 0 && i.d.base < 16) reads.add(i.d.base);
        if (i.d.index >= 0) reads.add(i.d.index);
        break;
    }
  }
  return { reads, writes, defines };
}

/** What each block needs of registers, and which writes go without a store. */
export interface RegisterUse {
  readonly named: ReadonlySet<number>;
  /** Those that must be loaded where the region is entered. */
  readonly needed: ReadonlySet<number>;
  /** Registers whose value after the instruction is written anew before anybody can see it in CpuState. */
  readonly unseen: ReadonlyMap<Instruction, ReadonlySet<number>>;
}

/** `successors`: of each block, inside the region. `entries`: blocks at which it is entered. `mayLeave`: may it be left at an instruction? */
export function registerUse(
  blocks: readonly { readonly instructions: readonly Instruction[] }[],
  successors: readonly (readonly number[])[],
  entries: readonly number[],
  mayLeave: (i: Instruction) => boolean,
): RegisterUse {
  const named = new Set<number>();
  const unseen = new Map<Instruction, ReadonlySet<number>>();
  const before: Set<number>[] = [];
  const defined: Set<number>[] = [];
  for (const { instructions } of blocks) {
    const effects = instructions.map(effectOf);
    const reads = new Set<number>();
    const defines = new Set<number>();
    for (const e of effects) {
      for (const n of [...e.reads, ...e.writes]) named.add(n);
      for (const n of e.reads) if (!defines.has(n)) reads.add(n);
      for (const n of e.defines) defines.add(n);
    }
    before.push(reads);
    defined.push(defines);
    markUnseen(instructions, effects, mayLeave, unseen);
  }
  return { named, needed: liveAt(before, defined, successors, entries), unseen };
}

const leavesAfter = (i: Instruction) => [...allNodes(i.code.nodes)].some((n) => n.k === 'call' || n.k === 'again');

function markUnseen(
  instructions: readonly Instruction[],
  effects: readonly Effect[],
  mayLeave: (i: Instruction) => boolean,
  unseen: Map<Instruction, ReadonlySet<number>>,
): void {
  const later = new Set<number>();
  for (let i = instructions.length - 1; i >= 0; i--) {
    // After a helper, and between the turns of a string instruction, the region may be left with this instruction's writes done.
    const mine = leavesAfter(instructions[i]) ? [] : [...effects[i].writes].filter((n) => later.has(n));
    if (mine.length) unseen.set(instructions[i], new Set(mine));
    if (mayLeave(instructions[i])) later.clear();
    else for (const n of effects[i].defines) later.add(n);
  }
}

/** Registers read before they are defined on some way from an entry. */
function liveAt(
  reads: readonly ReadonlySet<number>[],
  defines: readonly ReadonlySet<number>[],
  successors: readonly (readonly number[])[],
  entries: readonly number[],
): Set<number> {
  const live = reads.map((r) => new Set(r));
  for (let changed = true; changed; ) {
    changed = false;
    for (let b = live.length - 1; b >= 0; b--) {
      const size = live[b].size;
      for (const s of successors[b]) for (const n of live[s]) if (!defines[b].has(n)) live[b].add(n);
      changed ||= live[b].size !== size;
    }
  }
  return new Set(entries.flatMap((e) => [...live[e]]));
}
