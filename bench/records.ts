/** What a pCPU has decoded, for instruments. */
import { AreaHeader } from '../src/engine/area.ts';
import { CODE_TABLE_BYTES } from '../src/engine/state.ts';

/** Each record that an offset table names: its address, and that of the table. `area`: address of the pCPU's engine area. */
export function* decodedRecords(memory: Uint32Array, area: number): Generator<{ table: number; rec: number }> {
  for (let table = memory[(area + AreaHeader.off.code_tables) >>> 2]; table !== 0; ) {
    for (let offset = 0; offset < 4096; offset++) {
      const rec = memory[(table >>> 2) + offset];
      if (rec) yield { table, rec };
    }
    table = memory[(table + CODE_TABLE_BYTES) >>> 2];
  }
}
