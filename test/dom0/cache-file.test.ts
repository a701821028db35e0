/** Files of the cache that are read part by part: what is read is what was hashed, or an error. */
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Cache, sha256 } from '../../src/dom0/toolstack/cache.ts';
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

describe('what a file holds', () => {
  /** As after so many milliseconds; ctime cannot be set. */
  const later = (ms: number) => vi.useFakeTimers({ now: Date.now() + ms, toFake: ['Date'] });
  afterEach(() => void vi.useRealTimers());
  let path: string;
  beforeEach(() => {
    path = join(dir, 'file');
    writeFileSync(path, content);
  });
  const look = () => {
    const fd = openSync(path, 'r');
    try {
      return cache.contentOf(fd);
    } finally {
      closeSync(fd);
    }
  };
  const notes = () => (existsSync(join(dir, 'notes')) ? readdirSync(join(dir, 'notes')) : []);
  /** The note says so of the file as it is now: it is believed if nothing was looked at. */
  const forge = (hash: string) => {
    const [name] = notes().map((n) => n.replace(/\.json$/, ''));
    cache.setNote(name, { ...(cache.note(name) as object), hash });
  };

  it('is looked at once', () => {
    later(3000);
    const found = { hash: sha256(content), size: content.length };
    expect([look(), look()]).toEqual([found, found]);
    expect(notes()).toHaveLength(1);
    forge('seen');
    expect(look()).toEqual({ hash: 'seen', size: content.length });
  });

  it.each<[string, () => void]>([
    ['written to', () => writeFileSync(path, Buffer.alloc(content.length))],
    [
      'written to, with its time set back',
      () => {
        writeFileSync(path, Buffer.alloc(content.length));
        utimesSync(path, 1, 1);
      },
    ],
    [
      'replaced',
      () => {
        writeFileSync(`${path}.new`, Buffer.alloc(content.length));
        renameSync(`${path}.new`, path);
      },
    ],
    ['cut off', () => truncateSync(path, 10)],
  ])('is looked at anew when it was %s', (_, change) => {
    utimesSync(path, 1, 1);
    later(3000);
    look();
    change();
    const { hash, size } = look();
    expect(hash).toBe(sha256(size === 10 ? content.subarray(0, 10) : Buffer.alloc(content.length)));
  });

  it('is not kept of what changed a moment ago', () => {
    look();
    expect(notes()).toEqual([]);
  });

  it('is looked at where the cache cannot be read or written', () => {
    later(3000);
    cache = new Cache(join(path, 'no folder'));
    expect([look(), look()]).toEqual(Array(2).fill({ hash: sha256(content), size: content.length }));
  });

  it('is looked at each time where it is no file', () => {
    later(3000);
    path = '/dev/null';
    expect([look(), look()]).toEqual(Array(2).fill({ hash: sha256(new Uint8Array()), size: 0 }));
    expect(notes()).toEqual([]);
  });

  it('is looked at where a note cannot be understood', () => {
    later(3000);
    look();
    for (const bad of ['null', '{', '[]', '{"seen":1}']) {
      writeFileSync(join(dir, 'notes', notes()[0]), bad);
      expect(look().hash).toBe(sha256(content));
    }
  });
});
