/** Builds at the same time, of sources that change meanwhile: what counts as built is what belongs to the sources. */
import { mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { areAsSeen, bringUpToDate, type Part } from '../../scripts/up-to-date.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'build-'));
  write('source', 'old');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const write = (name: string, text: string) => writeFileSync(join(root, name), text);
const read = (name: string) => readFileSync(join(root, name), 'utf8');

/** Copies `from`; `before` and `after` it has read, it can be held up. */
function copy(hold: { read?: Promise<unknown>; write?: Promise<unknown> } = {}, from = 'source', to = 'output'): Part {
  return {
    name: to,
    inputs: [from],
    outputs: [to],
    run: async () => {
      await hold.read;
      const text = read(from);
      await hold.write;
      write(to, text);
      return '';
    },
  };
}

const build = (part: Part, force = false) => bringUpToDate(root, join(root, 'stamps'), part, { force });

it('builds once, and again when the source or the output is another', async () => {
  expect(await build(copy())).toBe(true);
  expect(await build(copy())).toBe(false);
  write('source', 'new');
  expect(await build(copy())).toBe(true);
  expect(read('output')).toBe('new');
  write('output', 'damaged');
  expect(await build(copy())).toBe(true);
  rmSync(join(root, 'output'));
  expect(await build(copy())).toBe(true);
  expect(await build(copy(), true)).toBe(true);
  write('stamps/output.json', '{');
  expect(await build(copy())).toBe(true);
  expect(await build(copy())).toBe(false);
});

it('knows by times alone what was compared when it had not changed for a while', async () => {
  const seen = (...parts: Part[]) => areAsSeen(root, join(root, 'stamps'), parts.length ? parts : [copy()]);
  expect(await seen()).toBe(false);
  await build(copy());
  await build(copy());
  expect(await seen()).toBe(false); // changed just now
  vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 5000);
  expect(await build(copy())).toBe(false);
  vi.restoreAllMocks();
  expect(await seen()).toBe(true);
  expect(await build(copy())).toBe(false);
  expect(await seen({ ...copy(), key: async () => 'other' })).toBe(false);
  // Of the same size, with its old time.
  const { atime, mtime } = statSync(join(root, 'source'));
  write('source', 'odd');
  utimesSync(join(root, 'source'), atime, mtime);
  expect(await seen()).toBe(false);
  expect(await build(copy())).toBe(true);
  expect(read('output')).toBe('odd');
  write('output', 'bad');
  expect(await build(copy())).toBe(true);
});

it('builds again when what else it depends on is another', async () => {
  const keyed = (key: string): Part => ({ ...copy(), key: async () => key });
  expect(await build(keyed('a'))).toBe(true);
  expect(await build(keyed('a'))).toBe(false);
  expect(await build(keyed('b'))).toBe(true);
  expect(await build(copy())).toBe(true);
});

it('does not take what an earlier build leaves behind for what belongs to the new sources', async () => {
  const slow = Promise.withResolvers<void>();
  const first = build(copy({ write: slow.promise }));
  write('source', 'new');
  expect(await build(copy())).toBe(true);
  slow.resolve(); // and the old output replaces the new one
  await first;
  await build(copy());
  expect(read('output')).toBe('new');
});

it('builds again what was changed on the way', async () => {
  const slow = Promise.withResolvers<void>();
  const building = build(copy({ write: slow.promise }));
  write('source', 'new');
  slow.resolve();
  await building;
  expect(read('output')).toBe('new');
});

it('follows from part to part', async () => {
  const chain = async () => [await build(copy()), await build(copy({}, 'output', 'final'))];
  expect(await chain()).toEqual([true, true]);
  expect(await chain()).toEqual([false, false]);
  // Another build, of other sources, has just made the part between.
  write('output', 'other');
  await build(copy({}, 'output', 'final'));
  expect(await chain()).toEqual([true, true]);
  expect(read('final')).toBe('old');
});
