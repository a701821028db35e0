/**
 * Frames with the same bytes have one code page: its records are made from those bytes alone. A page is found by a hash of
 * them, and they are kept to be compared with and decoded from, so that it does not matter when a frame's own bytes change: the
 * page is left in time (CodeCache.invalidate, forget).
 */
import type { CodePage } from './code-cache.ts';

const PAGE = 4096;
const WORDS = PAGE / 4;

interface Entry {
  readonly page: CodePage;
  readonly key: number;
  readonly words: Int32Array;
  readonly frames: Set<number>;
}

export class SharedPages {
  /** Machine memory. */
  private readonly memory: Int32Array;
  /** By hash and mode. */
  private readonly byKey = new Map<number, Entry[]>();
  private readonly byPage = new Map<CodePage, Entry>();

  constructor(memory: Int32Array) {
    this.memory = memory;
  }

  private keyOf(mfn: number, mode: 0 | 1): number {
    const start = mfn * WORDS;
    let h = 0;
    for (let i = start; i < start + WORDS; i++) h = Math.imul(h ^ this.memory[i], 0x9e3779b1) ^ (h >>> 15);
    return (h >>> 0) * 2 + mode;
  }

  private equal(mfn: number, words: Int32Array): boolean {
    const start = mfn * WORDS;
    for (let i = 0; i < WORDS; i++) if (this.memory[start + i] !== words[i]) return false;
    return true;
  }

  /** The frame's page: one of frames with the same bytes, else a new one, for which `makeTable` gives the offset table. */
  join(mfn: number, mode: 0 | 1, makeTable: () => number): CodePage {
    const key = this.keyOf(mfn, mode);
    const known = this.byKey.get(key)?.find((e) => this.equal(mfn, e.words));
    if (known) {
      known.frames.add(mfn);
      return known.page;
    }
    const table = makeTable();
    const words = this.memory.slice(mfn * WORDS, (mfn + 1) * WORDS);
    const page: CodePage = { mfn, mode, table, content: new Uint8Array(words.buffer), misses: 0 };
    const entry = { page, key, words, frames: new Set([mfn]) };
    this.byPage.set(page, entry);
    // The table may have taken a flush, so what was under the key is looked up only now.
    const list = this.byKey.get(key);
    if (list) list.push(entry);
    else this.byKey.set(key, [entry]);
    return page;
  }

  /** The page is `mfn`'s alone from now on, for good: the other frames that it was of. */
  keep(page: CodePage, mfn: number): number[] {
    const entry = this.byPage.get(page);
    if (!entry) return [];
    this.byPage.delete(page);
    const rest = this.byKey.get(entry.key)!.filter((e) => e !== entry);
    if (rest.length) this.byKey.set(entry.key, rest);
    else this.byKey.delete(entry.key);
    page.content = undefined;
    page.mfn = mfn;
    entry.frames.delete(mfn);
    return [...entry.frames];
  }

  /** The frame leaves the page to others; false: there are none. */
  leave(page: CodePage, mfn: number): boolean {
    const frames = this.byPage.get(page)?.frames;
    if (!frames || frames.size < 2) {
      this.keep(page, mfn);
      return false;
    }
    frames.delete(mfn);
    if (page.mfn === mfn) [page.mfn] = frames;
    return true;
  }

  clear(): void {
    this.byKey.clear();
    this.byPage.clear();
  }
}
