/** What makes a region: with all that is called, or without what need not be made twice. */
import { expect, it } from 'vitest';
import { allEncodings } from '../../src/engine/semantics/index.ts';
import type { CodeView } from '../../src/engine/translator/code-view.ts';
import { Discovery } from '../../src/engine/translator/discover.ts';

const discovery = new Discovery(allEncodings());

/** Regions of two pages with code at the given offsets, all of it executed; `translated`: where translations stand; `beside`: places to start at besides 0x100; `warm`: what lately ran. */
function region(
  code: Record<number, string>,
  whole: boolean,
  translated: readonly number[] = [],
  beside: readonly number[] = [],
  warm: readonly number[] = [],
) {
  const pages = new Uint8Array(8192).fill(0xf4);
  for (const [at, hex] of Object.entries(code)) pages.set(Buffer.from(hex.replaceAll(' ', ''), 'hex'), Number(at));
  const view: CodeView = {
    page: (delta) => (delta === 0 || delta === 1 ? pages.subarray(delta * 4096, delta * 4096 + 4096) : undefined),
    seen: (offset) => offset >= 0 && offset < pages.length,
    translated: (offset) => translated.includes(offset),
    warm: (offset) => warm.includes(offset),
  };
  return discovery.region(view, [0x100, ...beside], whole)!;
}

const starts = (r: ReturnType<typeof region>) => r.blocks.map((b) => b.start).sort((a, b) => a - b);

// call 0x200; ret
const CALLS = 'e8 fb000000 c3';
const LONG = { 256: CALLS, 512: `${'ffc0'.repeat(30)} c3` };
const SHORT = { 256: CALLS, 512: 'ffc0 c3' };

it('has what is called if it is made whole', () => {
  const r = region(LONG, true);
  expect(starts(r)).toEqual([0x100, 0x105, 0x200]);
  expect(r.left).toEqual([]);
});

it('leaves it out otherwise, and goes on where it returns to', () => {
  const r = region(LONG, false);
  expect(starts(r)).toEqual([0x100, 0x105]);
  expect(r.entries).toEqual([0x100, 0x105]);
  expect(r.left).toEqual([0x200]);
});

it('has short functions that call nothing in any case', () => {
  expect(starts(region(SHORT, false))).toEqual([0x100, 0x105, 0x200]);
  expect(region(SHORT, false).left).toEqual([]);
  // call 0x300 in it: it is none.
  expect(starts(region({ ...SHORT, 512: 'e8 fb000000 c3', 768: 'c3' }, false))).toEqual([0x100, 0x105]);
});

it('ends where a translation stands', () => {
  // test eax,eax; jz 0x180; ret
  const code = { 256: '85c0 747c c3', 384: 'ffc0 c3' };
  expect(starts(region(code, false))).toEqual([0x100, 0x104, 0x180]);
  const r = region(code, false, [0x180]);
  expect(starts(r)).toEqual([0x100, 0x104]);
  expect(r.left).toEqual([0x180]);
  expect(starts(region(code, true, [0x180]))).toEqual([0x100, 0x104, 0x180]);
});

it('starts where it is asked to, whatever stands there', () => {
  expect(starts(region({ 256: 'ffc0 c3' }, false, [0x100]))).toEqual([0x100]);
});

it('has places of other pages as targets of computed jumps, if it has any', () => {
  // jmp *%rcx in both; the second page's is no entry.
  const r = region({ 256: 'ffc0 ffe1', 4352: 'ffc8 ffe1' }, true, [], [4352]);
  expect(starts(r)).toEqual([0x100, 4352]);
  expect([r.computed, r.entries, r.targets]).toEqual([true, [0x100], [0x100, 4352]]);
  expect(r.others.map((p) => p.delta)).toEqual([1]);
  // ret is none: what it leads to is known by the calls.
  const returns = region({ 256: 'ffc0 c3', 4352: 'ffc8 c3' }, true, [], [4352]);
  expect(starts(returns)).toEqual([0x100]);
  expect(returns.computed).toBe(false);
});

it('has returns that lead inside if it calls, or starts after a call', () => {
  expect(region(SHORT, false).returns).toBe(true);
  expect(region({ 256: 'ffc0 c3' }, true).returns).toBe(false);
  // call rel32; call r8; call [rip+0]; call [rsp+8], and what is none: mov eax,0xff; inc [rax]
  for (const before of ['e800000000', '41ffd0', 'ff1500000000', 'ff542408'])
    expect(region({ [256 - before.length / 2]: before, 256: 'ffc0 c3' }, true).returns, before).toBe(true);
  for (const before of ['b8ff000000', 'ff00', '00e800'])
    expect(region({ [256 - before.length / 2]: before, 256: 'ffc0 c3' }, true).returns, before).toBe(false);
});

// jz 0x400; jmp 0x800; and at both places 200 instructions.
const WIDE = { 256: '0f84 fa020000 e9 f5060000', 1024: `${'ffc0'.repeat(200)} c3`, 2048: `${'ffc8'.repeat(200)} c3` };
const size = (r: ReturnType<typeof region>, at: number) => r.blocks.find((b) => b.start === at)?.instructions.length;

it('has what lately ran before what was once executed, of which there is only so much', () => {
  // In order, where nothing is known.
  const r = region(WIDE, true);
  expect([size(r, 0x400), size(r, 0x800)]).toEqual([201, 53]);
  expect(r.left).toEqual([0x800 + 2 * 53]);
  // From what lately ran the way leads on, if a branch is not known to be taken.
  const next = region(WIDE, true, [], [], [0x100]);
  expect([size(next, 0x400), size(next, 0x800)]).toEqual([54, 201]);
  const both = region(WIDE, true, [], [], [0x400, 0x800]);
  expect([size(both, 0x400), size(both, 0x800)]).toEqual([201, 201]);
  expect(both.left).toEqual([]);
});

it('leaves nothing to be made anew only when there was no room for what lately ran', () => {
  // Either goes on with 400 instructions more.
  const more = { ...WIDE, 1424: `${'ffc0'.repeat(200)} c3`, 2448: `${'ffc8'.repeat(400)} c3` };
  const full = region(more, true, [], [], [0x100, 0x400, 0x800]);
  expect(full.blocks.reduce((n, b) => n + b.instructions.length, 0)).toBe(640);
  expect(full.left).toEqual([]);
  const cold = region(more, true, [], [], [0x400]);
  expect(size(cold, 0x400)).toBe(401);
  expect(cold.left).toEqual([0x800 + 2 * 237]);
});

it('has an instruction over the end of a page, of both pages', () => {
  // jmp 0xffd; there: add rax,0x11223344, of which 3 bytes are in the next page; ret
  const r = region({ 256: 'e9 f80e0000', 4093: '48 05 44332211 c3' }, true);
  expect(starts(r)).toEqual([0x100, 0xffd, 0x1003]);
  expect(r.ranges).toEqual([
    [0x100, 0x105],
    [0xffd, 0x1000],
  ]);
  expect(r.others).toEqual([{ delta: 1, ranges: [[0, 4]] }]);
});

it('ends before one if there is no next page to be had', () => {
  // jmp 0x1ffd; there: as above, in the last page
  const r = region({ 256: 'e9 f81e0000', 8189: '48 05 44' }, true);
  expect(starts(r)).toEqual([0x100]);
});

it('is not gone on in at such an instruction by a return', () => {
  // jmp 0xff8; there: call 0x200; add rax,0x11223344 over the end of the page; jmp back to the call
  const code = { 256: 'e9 f30e0000', 4088: 'e8 03f2ffff 48 05 44332211 ebed', 512: 'c3' };
  const r = region(code, true);
  expect(starts(r)).toEqual([0x100, 0x200, 0xff8]);
  expect(r.entries).toEqual([0x100]);
});
