/** Every instruction the engine knows. Order is the encodings' identity (interpreter.json), so it is only part of a build. */
import { alu } from './alu.ts';
import { type Encoding, type Insn, parseEncoding } from './table.ts';

export const instructions: readonly Insn[] = [...alu];

/** All encodings, in order; an encoding's index identifies it in the generated tables. */
export function allEncodings(list: readonly Insn[] = instructions): Encoding[] {
  return list.flatMap((i) => i.encodings.map((text) => parseEncoding(i, text)));
}
