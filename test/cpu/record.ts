/**
 * Records what this machine's CPU makes of the generated cases: `node test/cpu/record.ts [file...]` writes
 * test/cpu/recorded/*.gz. Needs gcc and an x86-64 Linux.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { formatGroups, type Group } from './case.ts';
import { fromTable } from './generate.ts';
import { NativeCpu } from './native.ts';
import { special } from './special.ts';
import { FILES, type FileName } from './tables.ts';

const DIR = new URL('./recorded/', import.meta.url);

/** Generate and run the cases of one file. */
export function record(cpu: NativeCpu, file: FileName): Group[] {
  const groups = file === 'special' ? special() : fromTable(file);
  const outcomes = cpu.run(groups.flatMap((g) => g.cases));
  let next = 0;
  return groups.map((g) => {
    const at = next;
    next += g.cases.length;
    return { ...g, outcomes: outcomes.slice(at, next) };
  });
}

if (import.meta.main) {
  const cpu = new NativeCpu();
  mkdirSync(DIR, { recursive: true });
  const wanted = process.argv.slice(2);
  for (const file of FILES) {
    if (wanted.length && !wanted.includes(file)) continue;
    const groups = record(cpu, file);
    const text = formatGroups(groups);
    const packed = gzipSync(text, { level: 9 });
    writeFileSync(new URL(`${file}.txt.gz`, DIR), packed);
    const n = groups.reduce((s, g) => s + g.cases.length, 0);
    console.log(`${file}: ${groups.length} forms, ${n} cases, ${packed.length} bytes`);
  }
  cpu.close();
}
