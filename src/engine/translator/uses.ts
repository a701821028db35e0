/** What the instructions of a region do with registers: which they name, need from before, and write for nobody to see. */
import { operandSlot } from '../decode/slots.ts';
import type { Node } from '../semantics/ir.ts';
import type { Instruction } from './prepare.ts';
import { bitOf, NO_REGISTERS, type RegisterSet, registerAt } from './registers.ts';

interface Effect {
  readonly reads: RegisterSet;
  readonly writes: RegisterSet;
  /** Written as a whole, whatever happens: nothing of the old value is left. */
  readonly defines: RegisterSet;
}

/** Does a write of `bytes` at byte `byte` leave nothing of register n? A 4-byte result of an operand clears the rest. */
const whole = (n: number, byte: number, bytes: number, clears: boolean) =>
  byte === 0 && (n >= 16 ? bytes === 16 : bytes === 8 || (bytes === 4 && clears));

export function effectOf(i: Instruction): Effect {
  let reads = NO_REGISTERS;
  let writes = NO_REGISTERS;
  let defines = NO_REGISTERS;
  const read = (offset: number) => {
    reads |= bitOf(registerAt(offset).n);
  };
  const write = (node: Node, offset: number, bytes: number, clears: boolean) => {
    const { n, byte } = registerAt(offset);
    const bit = bitOf(n);
    writes |= bit;
    if (!whole(n, byte, bytes, clears)) reads |= bit;
    else if (i.code.nodes.includes(node)) defines |= bit;
  };
  for (const n of i.all) {
    switch (n.k) {
      case 'regop':
        if (i.uses[n.out.id] && !i.clears) read(operandSlot(i.encoding, n.i, i.d));
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
        if (i.d.base < 16) reads |= bitOf(i.d.base);
        reads |= bitOf(i.d.index);
        break;
    }
  }
  return { reads, writes, defines };
}

/** What each block needs of registers, and which writes go without a store. */
export interface RegisterUse {
  readonly named: RegisterSet;
  /** By block: those whose values from before it are needed. */
  readonly live: readonly RegisterSet[];
  /** Registers whose value after the instruction is written anew before anybody can see it in CpuState. */
  readonly unseen: ReadonlyMap<Instruction, RegisterSet>;
}

/** `successors`: of each block, those that take registers from it. `mayLeave`: may the region be left at an instruction? */
export function registerUse(
  blocks: readonly { readonly instructions: readonly Instruction[] }[],
  successors: readonly (readonly number[])[],
  mayLeave: (i: Instruction) => boolean,
): RegisterUse {
  let named = NO_REGISTERS;
  const unseen = new Map<Instruction, RegisterSet>();
  const before: RegisterSet[] = [];
  const defined: RegisterSet[] = [];
  for (const { instructions } of blocks) {
    const effects = instructions.map(effectOf);
    let reads = NO_REGISTERS;
    let defines = NO_REGISTERS;
    for (const e of effects) {
      named |= e.reads | e.writes;
      reads |= e.reads & ~defines;
      defines |= e.defines;
    }
    before.push(reads);
    defined.push(defines);
    markUnseen(instructions, effects, mayLeave, unseen);
  }
  return { named, live: liveAt(before, defined, successors), unseen };
}

function markUnseen(
  instructions: readonly Instruction[],
  effects: readonly Effect[],
  mayLeave: (i: Instruction) => boolean,
  unseen: Map<Instruction, RegisterSet>,
): void {
  let later = NO_REGISTERS;
  for (let n = instructions.length - 1; n >= 0; n--) {
    const i = instructions[n];
    const mine = i.leavesAfter ? NO_REGISTERS : effects[n].writes & later;
    if (mine !== NO_REGISTERS) unseen.set(i, mine);
    if (mayLeave(i)) later = NO_REGISTERS;
    else later |= effects[n].defines;
  }
}

/** By block: registers read before they are defined on some way from there. */
function liveAt(
  reads: readonly RegisterSet[],
  defines: readonly RegisterSet[],
  successors: readonly (readonly number[])[],
): RegisterSet[] {
  const live = [...reads];
  for (let changed = true; changed; ) {
    changed = false;
    for (let b = live.length - 1; b >= 0; b--) {
      let now = live[b];
      for (const s of successors[b]) now |= live[s] & ~defines[b];
      changed ||= now !== live[b];
      live[b] = now;
    }
  }
  return live;
}
