/** Huge pages below machine memory, as the host's kernel tells of them. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect, it } from 'vitest';
import { askForHugePages, hugePagesForAsking } from '../../src/machine/huge-pages.ts';

const installed = () => {
  try {
    return !!createRequire(import.meta.url)('koffi');
  } catch {
    return false;
  }
};

/** Mappings of at least so many bytes that have asked for huge pages (VmFlags hg), and the KiB that they were given. */
function asking(bytes: number): number[] {
  const found: number[] = [];
  for (const text of readFileSync('/proc/self/smaps', 'utf8').split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/)) {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) /.exec(text)!;
    if (Number(`0x${to}`) - Number(`0x${from}`) < bytes || !/^VmFlags:.* hg\b/m.test(text)) continue;
    found.push(Number(/^AnonHugePages: +(\d+)/m.exec(text)![1]));
  }
  return found;
}

it.runIf(hugePagesForAsking() && installed())('memory that is asked for as huge pages is given so', () => {
  const MIB = 2 ** 20;
  const memory = new WebAssembly.Memory({ initial: 64 * 16, maximum: 65536, shared: true });
  expect(asking(60 * MIB)).toEqual([]);
  expect(askForHugePages(memory.buffer)).toBe(true);
  expect(asking(60 * MIB)).toEqual([0]);
  const bytes = new Uint8Array(memory.buffer);
  for (let at = 0; at < bytes.length; at += 4096) bytes[at] = 1;
  // A host that is short of memory may give some small pages.
  expect(asking(60 * MIB)[0]).toBeGreaterThan(0);
});

it.runIf(hugePagesForAsking() && installed())(
  'memory that begins within a page is asked for from the next one on',
  () => {
    const MIB = 2 ** 20;
    const memory = new SharedArrayBuffer(100 * MIB + 5000);
    expect(asking(99 * MIB)).toEqual([]);
    expect(askForHugePages(memory)).toBe(true);
    expect(asking(99 * MIB)).toEqual([0]);
    new Uint8Array(memory).fill(1);
    expect(asking(99 * MIB)[0]).toBeGreaterThan(0);
    // Not a page of it is whole.
    expect(askForHugePages(new SharedArrayBuffer(1000))).toBe(false);
  },
);

it.runIf(!hugePagesForAsking())('a host that gives them unasked, or never, is not asked', () => {
  expect(askForHugePages(new SharedArrayBuffer(1 << 20))).toBe(false);
});
