/**
 * Translations as bytes, to be loaded by a later run: a count of modules, then for each its wasm, machine code, number of functions,
 * and count of translations, then for each of these its function's number, age, page offsets, ranges and guest bytes of each page. All numbers are u32, little-endian. Nothing but the machine code is believed: what does not
 * hold together is refused as a whole.
 */

import type { Code } from './code.ts';
import { MAX_DELTA, MAX_OTHERS, pageOf } from './code-view.ts';
import type { Part, Translation } from './library.ts';

/** A translation that need not be instantiated yet. */
export interface Saved
  extends Pick<Translation, 'hot' | 'left' | 'computed' | 'beside' | 'entries' | 'ranges' | 'bytes' | 'others'> {
  /** Its module, until it is packed with others. */
  from: Code;
  index: number;
  /** How many runs it was not used in, since it was last. */
  readonly age: number;
}

const PAGE = 4096;
const COMPUTED = 1;
/** Of one module, at most. */
const MAX_FUNCTIONS = 4096;

class Writer {
  readonly bytes: Uint8Array<ArrayBuffer>;
  private readonly view: DataView;
  private length = 0;
  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }
  u32(v: number): void {
    this.view.setUint32(this.length, v, true);
    this.length += 4;
  }
  raw(b: Uint8Array): void {
    this.u32(b.length);
    this.bytes.set(b, this.length);
    this.length += b.length;
  }
  list(values: readonly number[]): void {
    this.u32(values.length);
    for (const v of values) this.u32(v);
  }
}

/** Bytes that it takes. */
function encodedSize(t: Saved): number {
  const parts = [t, ...t.others].reduce((n, p) => n + 12 + 8 * p.ranges.length + p.bytes.length, 0);
  return 32 + 4 * (t.hot.length + t.left.length + t.beside.length + t.entries.length) + parts;
}
const moduleSize = (c: Code, of: readonly Saved[]): number =>
  of.reduce((n, t) => n + encodedSize(t), 16 + c.wasm.length + c.code.length);

/** By module. */
export function byModule<T extends Pick<Saved, 'from'>>(list: Iterable<T>): Map<Code, T[]> {
  const modules = new Map<Code, T[]>();
  for (const t of list) {
    const of = modules.get(t.from);
    if (of) of.push(t);
    else modules.set(t.from, [t]);
  }
  return modules;
}

/** Those of one module are next to each other in what `decodeSaved` makes of it. */
export function encodeSaved(list: Iterable<Saved>): Uint8Array<ArrayBuffer> {
  const modules = [...byModule(list)];
  const w = new Writer(modules.reduce((n, [c, of]) => n + moduleSize(c, of), 4));
  w.u32(modules.length);
  for (const [c, of] of modules) {
    w.raw(c.wasm);
    w.raw(c.code);
    w.u32(c.functions);
    w.u32(of.length);
    for (const t of of) encodeOne(w, t);
  }
  return w.bytes;
}

function encodeOne(w: Writer, t: Saved): void {
  w.u32(t.index);
  w.u32(t.age);
  w.u32(t.computed ? COMPUTED : 0);
  w.list(t.hot);
  w.list(t.left);
  w.list(t.beside);
  w.list(t.entries);
  w.u32(t.others.length);
  for (const p of [t, ...t.others]) {
    w.u32('delta' in p ? p.delta : 0);
    w.list(p.ranges.flat());
    w.raw(p.bytes);
  }
}

class Reader {
  private at = 0;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  u32(): number {
    const v = this.view.getUint32(this.at, true);
    this.at += 4;
    return v;
  }
  /** A view, no copy. */
  raw(): Uint8Array {
    const n = this.u32();
    if (n > this.bytes.length - this.at) throw new RangeError('cut short');
    const b = this.bytes.subarray(this.at, this.at + n);
    this.at += n;
    return b;
  }
  list(limit: number): number[] {
    const n = this.u32();
    if (n > PAGE) throw new RangeError('a list too long');
    return Array.from({ length: n }, () => {
      const v = this.u32();
      if (v > limit) throw new RangeError('an offset beyond the page');
      return v;
    });
  }
  get ended(): boolean {
    return this.at === this.bytes.length;
  }
}

/** Empty if the bytes are not what encodeSaved makes. */
export function decodeSaved(bytes: Uint8Array): Saved[] {
  try {
    const r = new Reader(bytes);
    const out: Saved[] = [];
    for (let n = r.u32(); n > 0; n--) {
      const from: Code = { wasm: r.raw(), code: r.raw(), functions: r.u32() };
      if (from.functions > MAX_FUNCTIONS) throw new RangeError('too many functions');
      for (let m = r.u32(); m > 0; m--) out.push(one(r, from));
    }
    return r.ended ? out : [];
  } catch (error) {
    if (error instanceof RangeError) return [];
    throw error;
  }
}

function one(r: Reader, from: Code): Saved {
  const index = r.u32();
  if (index >= from.functions) throw new RangeError('no such function');
  const age = r.u32();
  const computed = (r.u32() & COMPUTED) !== 0;
  const hot = r.list(PAGE - 1);
  const left = r.list(2 ** 32 - 1).map((o) => o | 0);
  if (left.some((o) => Math.abs(pageOf(o)) > MAX_DELTA)) throw new RangeError('a place out of reach');
  const beside = r.list(2 ** 32 - 1).map((o) => o | 0);
  const entries = r.list(PAGE - 1);
  const others = r.u32();
  if (!entries.length || others > MAX_OTHERS) throw new RangeError('no entry, or too many pages');
  const { delta: _, ...first } = part(r);
  if (!entries.every((e) => first.ranges.some(([from, to]) => from <= e && e < to)))
    throw new RangeError('an entry that is not in the code');
  const rest = Array.from({ length: others }, () => part(r));
  if (rest.some((p) => p.delta === 0 || Math.abs(p.delta) > MAX_DELTA)) throw new RangeError('a page out of reach');
  if (beside.some((o) => pageOf(o) === 0 || Math.abs(pageOf(o)) > MAX_DELTA))
    throw new RangeError('a place out of reach');
  return { age, left, computed, hot, beside, entries, ...first, others: rest, from, index };
}

function part(r: Reader): Part & { delta: number } {
  const delta = r.u32() | 0;
  const flat = r.list(PAGE);
  const ranges: [number, number][] = [];
  let last = -1;
  for (let i = 0; i + 1 < flat.length; i += 2) {
    if (flat[i] <= last || flat[i + 1] <= flat[i]) throw new RangeError('ranges out of order');
    last = flat[i + 1];
    ranges.push([flat[i], flat[i + 1]]);
  }
  const bytes = r.raw();
  if (flat.length % 2 || bytes.length !== ranges.reduce((n, [from, to]) => n + to - from, 0)) {
    throw new RangeError('bytes and ranges differ');
  }
  return { delta, ranges, bytes };
}

/** Most bytes that are saved: a shell, two disks and a network have some 2,000 translations of 35 KB. */
export const SAVED_LIMIT = 128 << 20;
/** Runs that a translation is kept for without being used, whatever there is besides; and up to how many bytes it is kept longer. */
const KEPT_RUNS = 8;
const KEPT_ANYHOW = 48 << 20;

/** One of each, with all others of their modules, those used last first, in `limit` bytes; those of old only up to `anyhow`. */
export function mergeSaved(lists: readonly (readonly Saved[])[], limit: number, anyhow = KEPT_ANYHOW): Saved[] {
  const best = new Map<string, Saved>();
  for (const t of lists.flat()) {
    const pieces = [t, ...t.others].map((p) => `${p.ranges}:${Buffer.from(p.bytes).toString('latin1')}`);
    const key = `${t.entries}:${t.others.map((p) => p.delta)}:${pieces}`;
    const known = best.get(key);
    if (!known || t.age < known.age) best.set(key, t);
  }
  let size = 0;
  return [...byModule(best.values())]
    .map(([from, of]) => ({ from, of, age: Math.min(...of.map((t) => t.age)) }))
    .sort((a, b) => a.age - b.age)
    .filter(({ from, of, age }) => {
      size += moduleSize(from, of);
      return size <= (age <= KEPT_RUNS ? limit : Math.min(limit, anyhow));
    })
    .flatMap(({ of }) => of);
}
