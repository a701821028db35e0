/** bin/compile-cache.mjs: what is compiled once is kept where the user's cache is, for threads too; without one all works. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';

const dir = mkdtempSync(join(tmpdir(), 'compile-cache-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function help(env: Record<string, string>): string {
  const { NODE_COMPILE_CACHE: _, ...inherited } = process.env;
  const script = fileURLToPath(new URL('../../bin/xl.mjs', import.meta.url));
  return execFileSync(process.execPath, [script, 'help'], { encoding: 'utf8', env: { ...inherited, ...env } });
}

it('keeps modules in the cache folder', () => {
  const first = help({ XDG_CACHE_HOME: dir });
  const [version] = readdirSync(join(dir, 'xenolith/modules'));
  expect(readdirSync(join(dir, 'xenolith/modules', version)).length).toBeGreaterThan(10);
  expect(help({ XDG_CACHE_HOME: dir })).toBe(first);
});

it('does without one that cannot be written', () => {
  writeFileSync(join(dir, 'file'), '');
  expect(help({ XDG_CACHE_HOME: join(dir, 'file') })).toContain('create');
});

it('can be told not to', () => {
  const other = join(dir, 'other');
  expect(help({ XDG_CACHE_HOME: other, NODE_DISABLE_COMPILE_CACHE: '1' })).toContain('create');
  expect(existsSync(other)).toBe(false);
});
