/** Which registers the instructions of a region name and write. */
import { operandSlot } from '../decode/slots.ts';
import { allNodes, type Instruction } from './prepare.ts';
import { type RegisterUse, registerAt } from './registers.ts';

export function registersOf(instructions: Iterable<Instruction>): RegisterUse {
  const named = new Set<number>();
  const written = new Set<number>();
  const at = (offset: number, writes: boolean) => {
    const { n } = registerAt(offset);
    if (n < 0) return;
    named.add(n);
    if (writes) written.add(n);
  };
  for (const i of instructions) {
    for (const n of allNodes(i.code.nodes)) {
      switch (n.k) {
        case 'regop':
          if (i.uses[n.out.id]) at(operandSlot(i.encoding, n.i, i.d), false);
          break;
        case 'setregop':
          at(operandSlot(i.encoding, n.i, i.d), true);
          break;
        case 'get':
          if (i.uses[n.out.id]) at(n.off, false);
          break;
        case 'set':
          at(n.off, true);
          break;
        case 'ea':
          if (!i.uses[n.out.id]) break;
          if (i.d.base >= 0 && i.d.base < 16) named.add(i.d.base);
          if (i.d.index >= 0) named.add(i.d.index);
          break;
      }
    }
  }
  return { named, written };
}
