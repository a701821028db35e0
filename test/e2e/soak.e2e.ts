/**
 * A guest runs all programs of the benchmark, in turns, for XENOLITH_SOAK_SECONDS, with so little memory for translations that
 * they are evicted all the time. Each result must be what the program computes on the host itself.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeFiles } from '../../bench/files.ts';
import { Guest } from '../../bench/guest.ts';
import { BOOT, LINES } from '../../bench/lines.ts';
import { runNative } from '../../bench/programs.ts';
import { xenolith } from '../../bench/sides.ts';

const SECONDS = Number(process.env.XENOLITH_SOAK_SECONDS ?? 60);
const MEMORY_MIB = 2;

let dir: string;
let files: Awaited<ReturnType<typeof makeFiles>>;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'soak-'));
  files = await makeFiles(dir);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it(`${SECONDS} s with ${MEMORY_MIB} MiB for translations`, { timeout: (SECONDS + 240) * 1000 }, async () => {
  const { guest } = await Guest.boot(xenolith(['--translation-memory', `${MEMORY_MIB}`, '--stats']), files);
  await guest.ready();
  const programs = LINES.filter((l) => l.name !== BOOT).map(({ name, times }) => {
    const n = Math.ceil(times / 4);
    return { name, n, checksum: runNative(files.executable, name, n).checksum };
  });
  const end = performance.now() + SECONDS * 1000;
  do {
    for (const { name, n, checksum } of programs)
      expect({ name, checksum: (await guest.run(name, n)).checksum }).toEqual({ name, checksum });
  } while (performance.now() < end);
  const stats = await guest.stop();
  const full = /translation memory full\s+([\d,]+)/.exec(stats);
  expect(Number(full?.[1].replaceAll(',', ''))).toBeGreaterThan(20);
});
