/** Instructions that change nothing (SDM vol. 2): nop in all its forms, pause, hints, clflush (fences: sse-move.ts). */
import { type Insn, insn } from './table.ts';

/** Hint opcodes that processors without the feature behind them run as nops: 0F 18..1F. */
const HINTS = ['18', '19', '1A', '1B', '1C', '1D', '1E', '1F'];

export const nops: Insn[] = [
  // F3 90 is pause. Before xchg in the table: with REX.B, 90 exchanges r8 with rax.
  insn('nop', '90 ; b0', () => {}),
  insn(
    'nop',
    HINTS.map((op) => `0F ${op} Ev`),
    () => {},
  ),
  insn('prefetchw', '0F 0D M', () => {}),
  // Orders and checks like a load of one byte.
  insn('clflush', 'NP 0F AE /7 Mb', (b) => void b.read(0)),
];
