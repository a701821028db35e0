/**
 * Translations by content: what guest bytes they are good for, and the wasm made from them. Nothing here knows a frame, an
 * address or a domain.
 */

import type { Code } from './code.ts';
import type { Ranges } from './discover.ts';

/** Bytes of a page that a translation was made from. */
export interface Part {
  readonly ranges: Ranges;
  /** The bytes of the ranges, one after the other. */
  readonly bytes: Uint8Array;
}

/** A module as one pCPU has it. */
export interface LoadedCode extends Code {
  /** Compiled; undefined until it is wanted. */
  module: WebAssembly.Module | undefined;
  instance: CodeInstance | undefined;
  /** Those of the library that are in it. */
  readonly members: Set<Translation>;
}
export interface CodeInstance {
  readonly exports: WebAssembly.Exports;
  /** Its functions' own globals, by `cellName`. */
  readonly cells: ReadonlyMap<string, WebAssembly.Global<'i32'>>;
}

/** One translation. */
export interface Translation extends Part {
  /** Page offsets where it was found hot: the first of its entries. */
  readonly hot: readonly number[];
  /** Where its branches and calls lead, as offsets from the page's start, to code that was left out: it could be larger if that turns out to be hot. */
  readonly left: readonly number[];
  /** It has jumps to computed places, returns aside. */
  readonly computed: boolean;
  /** Places in other pages, as offsets from the page's start, that were to be targets of its computed jumps. */
  readonly beside: readonly number[];
  /** Page offsets of the entries. */
  readonly entries: readonly number[];
  /** Parts in other pages, so many pages on. */
  readonly others: readonly (Part & { readonly delta: number })[];
  /** Its module (compile.ts), and which function it is there. */
  readonly from: LoadedCode;
  readonly index: number;
  /** Its slot in the function table; undefined until it is first put in a page. */
  slot: number | undefined;
  /** Of the instance: the offset table of the code page that each of `others` was found in, or UNBOUND, or MISFIT. */
  tables: readonly WebAssembly.Global<'i32'>[];
  /** Runs in which it was not used, since it was last: 0 if it is used in this one. */
  age: number;
  /** An earlier run made it. */
  readonly restored: boolean;
  /** When it was last seen to run, by the count of samples. */
  used: number;
  /** Pages that it stands in. */
  places: number;
}

/** Memory for translations where nothing else is said, in MiB for each pCPU. */
export const TRANSLATION_MIB = 200;
/** Not yet looked for. */
export const UNBOUND = -1;
/** Found to be another code: it is not tried again. */
export const MISFIT = -2;

/** The bytes of a region's ranges in its page. */
export function bytesOf(page: Uint8Array, ranges: Ranges): Uint8Array {
  const out = new Uint8Array(ranges.reduce((n, [from, to]) => n + to - from, 0));
  let at = 0;
  for (const [from, to] of ranges) {
    out.set(page.subarray(from, to), at);
    at += to - from;
  }
  return out;
}

/** Is one of `len` bytes from an offset on in the ranges? */
export const overlaps = (ranges: Ranges, offset: number, len: number): boolean =>
  ranges.some(([from, to]) => from < offset + len && offset < to);

/** Was it made from the bytes of this page? */
export function matches(page: Uint8Array, t: Part): boolean {
  let at = 0;
  for (const [from, to] of t.ranges) {
    for (let o = from; o < to; o++) if (page[o] !== t.bytes[at++]) return false;
  }
  return true;
}

const PAGE = 4096;

/** The first bytes at an entry, little-endian, to tell most pages apart at once. */
interface Known {
  readonly t: Translation;
  readonly mask: number;
  readonly word: number;
}

function known(t: Translation, entry: number): Known {
  let at = 0;
  for (const [from, to] of t.ranges) {
    if (from <= entry && entry < to) {
      let word = 0;
      const n = Math.min(4, to - entry);
      for (let i = 0; i < n; i++) word |= t.bytes[at + entry - from + i] << (i * 8);
      return { t, word, mask: n === 4 ? -1 : (1 << (n * 8)) - 1 };
    }
    at += to - from;
  }
  throw new Error(`entry ${entry} is outside of the ranges`);
}

export class Library {
  /** By page offset. */
  private readonly byEntry: Known[][] = Array.from({ length: PAGE }, () => []);

  /** The newest goes first, as it is the larger one where it has replaced others; those that are hot at an entry before those that pass it. */
  add(t: Translation): void {
    for (const e of t.entries) {
      const list = this.byEntry[e];
      const passing = t.hot.includes(e) ? 0 : list.findIndex((x) => !x.t.hot.includes(e));
      list.splice(passing < 0 ? list.length : passing, 0, known(t, e));
    }
  }
  /** The best translation that may be entered at this offset of the page. */
  find(page: Uint8Array, entry: number): Translation | undefined {
    const list = this.byEntry[entry];
    if (list.length === 0) return undefined;
    const word = page[entry] | (page[entry + 1] << 8) | (page[entry + 2] << 16) | (page[entry + 3] << 24);
    for (const k of list) if (((word ^ k.word) & k.mask) === 0 && matches(page, k.t)) return k.t;
    return undefined;
  }
  remove(t: Translation): void {
    for (const e of t.entries) {
      const list = this.byEntry[e];
      const i = list.findIndex((k) => k.t === t);
      if (i >= 0) list.splice(i, 1);
    }
  }
  /** Each once. */
  all(): Iterable<Translation> {
    return new Set(this.byEntry.flat().map((k) => k.t));
  }
}
