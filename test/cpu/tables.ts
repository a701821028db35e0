/** The instruction table as the generator sees it, in files of a size to handle. */
import { allEncodings } from '../../src/engine/semantics/index.ts';
import type { Encoding } from '../../src/engine/semantics/table.ts';
import { EXCLUDED } from './exclusions.ts';

export const FILES = ['integer', 'vector', 'x87', 'special'] as const;
export type FileName = (typeof FILES)[number];

export function fileOf(e: Encoding): FileName {
  if (e.map === 0 && ((e.opcode >= 0xd8 && e.opcode <= 0xdf) || e.opcode === 0x9b)) return 'x87';
  return e.insn.fpu ? 'vector' : 'integer';
}

export const encodings = (): Encoding[] => allEncodings();
export const excluded = (e: Encoding): string | undefined => EXCLUDED[e.insn.name];
