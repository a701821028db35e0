/** SSE to SSE4.2, the MMX forms of shared instructions included; mmx.ts has the rest of MMX. */

import { sseArith } from './sse-arith.ts';
import { sseConvert } from './sse-convert.ts';
import { sseInteger } from './sse-integer.ts';
import { sseMove } from './sse-move.ts';
import { sseShuffle } from './sse-shuffle.ts';
import { sse41 } from './sse41.ts';
import { sse42 } from './sse42.ts';
import { state } from './state.ts';
import type { Insn } from './table.ts';

export const sse: Insn[] = [
  ...sseMove,
  ...sseArith,
  ...sseConvert,
  ...sseInteger,
  ...sseShuffle,
  ...sse41,
  ...sse42,
  ...state,
];
