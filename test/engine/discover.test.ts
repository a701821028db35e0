/** What makes a region: with all that is called, or without what need not be made twice. */
import { expect, it } from 'vitest';
import { allEncodings } from '../../src/engine/semantics/index.ts';
import type { CodeView } from '../../src/engine/translator/code-view.ts';
import { Discovery } from '../../src/engine/translator/discover.ts';

const discovery = new Discovery(allEncodings());

/** Regions of a page with code at the given offsets, all of it executed; `translated`: where translations stand. */
function region(code: Record<number, string>, whole: boolean, translated: readonly number[] = []) {
  const page = new Uint8Array(4096).fill(0xf4);
  for (const [at, hex] of Object.entries(code)) page.set(Buffer.from(hex.replaceAll(' ', ''), 'hex'), Number(at));
  const view: CodeView = {
    page: (delta) => (delta === 0 ? page : undefined),
    seen: (offset) => offset >= 0 && offset < page.length,
    translated: (offset) => translated.includes(offset),
  };
  return discovery.region(view, [0x100], whole)!;
}

const starts = (r: ReturnType<typeof region>) => r.blocks.map((b) => b.start).sort((a, b) => a - b);

// call 0x200; ret
const CALLS = 'e8 fb000000 c3';
const LONG = { 256: CALLS, 512: `${'ffc0'.repeat(30)} c3` };
const SHORT = { 256: CALLS, 512: 'ffc0 c3' };

it('has what is called if it is made whole', () => {
  const r = region(LONG, true);
  expect(starts(r)).toEqual([0x100, 0x105, 0x200]);
  expect(r.open).toBe(false);
});

it('leaves it out otherwise, and goes on where it returns to', () => {
  const r = region(LONG, false);
  expect(starts(r)).toEqual([0x100, 0x105]);
  expect(r.entries).toEqual([0x100, 0x105]);
  expect(r.open).toBe(true);
});

it('has short functions that call nothing in any case', () => {
  expect(starts(region(SHORT, false))).toEqual([0x100, 0x105, 0x200]);
  expect(region(SHORT, false).open).toBe(false);
  // call 0x300 in it: it is none.
  expect(starts(region({ ...SHORT, 512: 'e8 fb000000 c3', 768: 'c3' }, false))).toEqual([0x100, 0x105]);
});

it('ends where a translation stands', () => {
  // test eax,eax; jz 0x180; ret
  const code = { 256: '85c0 747c c3', 384: 'ffc0 c3' };
  expect(starts(region(code, false))).toEqual([0x100, 0x104, 0x180]);
  const r = region(code, false, [0x180]);
  expect(starts(r)).toEqual([0x100, 0x104]);
  expect(r.open).toBe(true);
  expect(starts(region(code, true, [0x180]))).toEqual([0x100, 0x104, 0x180]);
});

it('starts where it is asked to, whatever stands there', () => {
  expect(starts(region({ 256: 'ffc0 c3' }, false, [0x100]))).toEqual([0x100]);
});
