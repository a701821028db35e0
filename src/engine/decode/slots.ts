/** Where an operand's register lies in CpuState. */
import type { Encoding } from '../semantics/table.ts';
import { CpuState } from '../state.ts';
import type { Decoded } from './decode.ts';

const { off } = CpuState;

/** Control registers as `mov` reads them. */
const CONTROL: Record<number, number> = { 0: off.cr0, 2: off.cr2, 3: off.guest_cr3, 4: off.cr4, 8: off.cr8 };

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
      return CONTROL[n] ?? off.zero;
    default:
      return n & 0x100 ? off.gpr + (n & 3) * 8 + 1 : off.gpr + n * 8;
  }
}
