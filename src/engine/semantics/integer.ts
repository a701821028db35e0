/** All integer and system instructions. */
import { alu } from './alu.ts';
import { arith } from './arith.ts';
import { atomics } from './atomic.ts';
import { bcd } from './bcd.ts';
import { bits } from './bit.ts';
import { control } from './control.ts';
import { far } from './far.ts';
import { flagops } from './flagops.ts';
import { mov } from './mov.ts';
import { muldiv } from './muldiv.ts';
import { nops } from './nop.ts';
import { segments } from './segment.ts';
import { shifts } from './shift.ts';
import { stack } from './stack.ts';
import { strings } from './string.ts';
import { system } from './system.ts';
import type { Insn } from './table.ts';

export const integer: Insn[] = [
  ...alu,
  ...arith,
  ...muldiv,
  ...shifts,
  ...bits,
  ...nops,
  ...mov,
  ...atomics,
  ...stack,
  ...control,
  ...far,
  ...strings,
  ...flagops,
  ...segments,
  ...bcd,
  ...system,
];
