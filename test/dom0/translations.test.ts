/** The file that translations are kept in: whole, of this engine, and the user's own, or not at all. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TranslationFile } from '../../src/dom0/translations.ts';

const ENGINE = new Uint8Array(32).fill(7);
const CONTENT = Uint8Array.from({ length: 1000 }, (_, i) => i);
const EMPTY = new Uint8Array();
let dir: string;
let path: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'xenolith-'));
  path = join(dir, 'cache', 'translations');
});
afterEach(() => rmSync(dir, { recursive: true }));

it('gives back what was saved', async () => {
  const file = new TranslationFile(path, ENGINE);
  expect(file.load()).toEqual(EMPTY);
  await file.save(CONTENT);
  expect(Uint8Array.from(file.load())).toEqual(CONTENT);
});

it('is nothing to another engine', async () => {
  await new TranslationFile(path, ENGINE).save(CONTENT);
  expect(new TranslationFile(path, new Uint8Array(32)).load()).toEqual(EMPTY);
});

it('is nothing when damaged, cut short, or writable by others', async () => {
  const file = new TranslationFile(path, ENGINE);
  await file.save(CONTENT);
  const bytes = readFileSync(path);
  for (const at of [0, 34, 70, bytes.length - 1]) {
    const bad = Buffer.from(bytes);
    bad[at] ^= 1;
    writeFileSync(path, bad);
    expect(file.load()).toEqual(EMPTY);
  }
  writeFileSync(path, bytes.subarray(0, 50));
  expect(file.load()).toEqual(EMPTY);
  writeFileSync(path, bytes);
  chmodSync(path, 0o622);
  expect(file.load()).toEqual(EMPTY);
});

it('is no error where it cannot be kept', async () => {
  writeFileSync(join(dir, 'cache'), '');
  await new TranslationFile(path, ENGINE).save(CONTENT);
  expect(existsSync(path)).toBe(false);
});
