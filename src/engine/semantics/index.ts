/** Every instruction the engine knows. Order is the encodings' identity (build/decoder.bin), so it is only part of a build. */
import { integer } from './integer.ts';
import { mmx } from './mmx.ts';
import { sse } from './sse.ts';
import { type Encoding, type Insn, parseEncoding } from './table.ts';
import { x87 } from './x87.ts';

export const instructions: readonly Insn[] = [...integer, ...mmx, ...sse, ...x87];

/** All encodings, in order; an encoding's index identifies it in the generated tables. */
export function allEncodings(list: readonly Insn[] = instructions): Encoding[] {
  return list.flatMap((i) => i.encodings.map((text) => parseEncoding(i, text)));
}
