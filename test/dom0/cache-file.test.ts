/** Files of the cache that are read part by part: what is read is what was hashed, or an error. */
import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Cache } from '../../src/dom0/toolstack/cache.ts';
import { CacheFile } from '../../src/dom0/toolstack/cache-file.ts';
import { ToolstackError } from '../../src/dom0/toolstack/error.ts';
import { copyOf, wholeOf } from '../../src/dom0/toolstack/kernel/bytes.ts';

let dir: string;
let cache: Cache;
const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i * 7));
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cache-file-'));
  cache = new Cache(dir);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

it('is read in parts', () => {
  const file = cache.addFile(content);
  expect(file.size).toBe(content.length);
  expect(Buffer.compare(wholeOf(file), content)).toBe(0);
  expect(Buffer.compare(copyOf(file, 262_100, 100), content.subarray(262_100, 262_200))).toBe(0);
  expect(Buffer.compare(wholeOf(CacheFile.reopen(file.known)), content)).toBe(0);
});

it('stays readable when the cache is emptied or the file replaced', () => {
  const file = cache.addFile(content);
  writeFileSync(join(dir, 'other'), 'other');
  renameSync(join(dir, 'other'), file.known.path);
  expect(cache.contentFile(file.known.hash)).toBeUndefined();
  expect(() => CacheFile.reopen(file.known)).toThrow(/was changed while it was in use/);
  rmSync(dir, { recursive: true });
  expect(Buffer.compare(wholeOf(file), content)).toBe(0);
  expect(cache.contentFile(file.known.hash)).toBeUndefined();
  expect(() => CacheFile.reopen(file.known)).toThrow(ToolstackError);
});

it.each<[string, (path: string) => void]>([
  ['cut off', (path) => truncateSync(path, 299_999)],
  ['longer', (path) => appendFileSync(path, 'x')],
  ['of the same size', (path) => writeFileSync(path, Buffer.alloc(content.length))],
  ['empty', (path) => writeFileSync(path, '')],
])('is not read any more when it is %s', (_, change) => {
  const file = cache.addFile(content);
  change(file.known.path);
  expect(() => wholeOf(file)).toThrow(ToolstackError);
  expect(() => copyOf(file, 0, 10)).toThrow(/was changed while it was in use/);
  expect(cache.contentFile(file.known.hash)).toBeUndefined();
  expect(Buffer.compare(wholeOf(cache.addFile(content)), content)).toBe(0);
});
