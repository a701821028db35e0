/** Where an operand's register lies in CpuState. */
import type { Encoding } from '../semantics/table.ts';
import { CpuState } from '../state.ts';
import type { Decoded } from './decode.ts';

const { off } = CpuState;

/** Byte offset in CpuState of operand i's register; that of `zero` if it is none. */
export function operandSlot(e: Encoding, i: number, d: Decoded): number {
  const n = d.regs[i];
  if (n === undefined || n < 0) return off.zero;
  switch (e.operands[i].code) {
    case 'V':
    case 'W':
    case 'U':
      return off.xmm + n * 16;
    case 'P':
    case 'Q':
    case 'N':
      return off.st + n * 16;
    case 'S':
      return off.sel + n * 2;
    case 'D':
      return off.dr + (n & 7) * 8;
    case 'C':
      return off.zero;
    default:
      return n & 0x100 ? off.gpr + (n & 3) * 8 + 1 : off.gpr + n * 8;
  }
}
