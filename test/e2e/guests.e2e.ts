/** The test guests' committed images come from their sources, and their expected output from real Xen. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { judge, missing } from '../guests/real-xen.ts';
import { expectedPath, JUDGED } from '../guests/runs.ts';

const GUESTS = fileURLToPath(new URL('../guests/', import.meta.url));

describe('test guests', () => {
  it('build to the committed images', () => {
    const out = mkdtempSync(join(tmpdir(), 'xenolith-guests-'));
    try {
      execFileSync(join(GUESTS, 'build.sh'), [out]);
      const images = readdirSync(join(GUESTS, 'images'));
      expect(readdirSync(out).sort()).toEqual(images.sort());
      for (const i of images) {
        expect(readFileSync(join(out, i)).equals(readFileSync(join(GUESTS, 'images', i))), i).toBe(true);
      }
    } finally {
      rmSync(out, { recursive: true });
    }
  });

  const why = missing();
  it.skipIf(why)(`answer under real Xen as recorded${why ? ` (${why})` : ''}`, async () => {
    const results = await judge();
    for (const r of JUDGED) expect(results.get(r.name), r.name).toBe(readFileSync(expectedPath(r), 'utf8'));
  });
});
