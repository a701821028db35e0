/** What samples tell: where guest code runs, and where it goes from translation to translation. Times are counts of samples. */
import { CpuState } from '../state.ts';
import { MAX_DELTA, pageOf } from './code-view.ts';

const { off } = CpuState;
const PAGE = 4096;
/**
 * Samples at entries of a page's translations that make one of those that were seen lately; each SPARSE samples take one
 * away.
 */
const TRANSITIONS = 64;
const SPARSE = 1024;
/** So many times as many where an earlier run made what stands: it went by the same, and each of its runs would go on otherwise. */
const SETTLED = 8;
/** Times as many, at most, after translations were made for them; and after there was nothing to make. */
const MAX_PATIENCE = 64;
const MAX_IDLE_PATIENCE = 8;
/** So many samples tell what lately ran; a power of two. */
const SAMPLES = 4096;
/** So many sets of places of a page are known that were asked for already. */
const MAX_ASKED = 64;

/** Where a page's code was seen. */
export class Heat {
  /** What is not translated, by page offset: how often, and since when. */
  readonly places = new Map<number, { n: number; readonly since: number }>();
  /** Samples at entries of its translations, and the last one. */
  private transitions = 0;
  private last = 0;
  /** How many times as many of them it takes, after what has been done about them before. */
  private patience = 1;
  /** Sets of places that were asked for. */
  private readonly sets = new Set<string>();

  /** One more, which stands for `weight` times as many, at time `now`: do they ask for a translation in the place of several, which are settled or not? */
  transition(now: number, weight: number, settled: boolean): boolean {
    this.transitions = Math.max(0, this.transitions - (now - this.last) / SPARSE) + weight;
    this.last = now;
    return this.transitions >= this.patience * (settled ? TRANSITIONS * SETTLED : TRANSITIONS);
  }
  /** That has been seen to: something has been ordered, or there was nothing to do. Twice as many are wanted the next time. */
  merged(ordered: boolean): void {
    this.transitions = 0;
    const most = ordered ? MAX_PATIENCE : MAX_IDLE_PATIENCE;
    this.patience = Math.max(this.patience, Math.min(2 * this.patience, most));
  }

  /** Have these places been asked for in one translation, when so much that was `left` out of theirs was hot? */
  asked(places: readonly number[], left: readonly number[]): boolean {
    return this.sets.has(keyOf(places, left));
  }
  ask(places: readonly number[], left: readonly number[]): void {
    if (this.sets.size === MAX_ASKED) this.sets.clear();
    this.sets.add(keyOf(places, left));
  }
}

const keyOf = (...lists: readonly (readonly number[])[]): string =>
  lists.map((l) => l.toSorted((a, b) => a - b).join()).join(';');

/** Lengths of slices: all the same, they would show a loop of such a length always at the same places. */
export class Jitter {
  private x = 1;
  /** Between half and one and a half times the mean. */
  around(mean: number): number {
    this.x = (Math.imul(this.x, 1664525) + 1013904223) >>> 0;
    return Math.floor(mean / 2 + (mean * this.x) / 2 ** 32) | 0;
  }
}

/** Where the last samples were: linear addresses. */
export class Recent {
  private readonly i32: Int32Array;
  private readonly low = new Int32Array(SAMPLES);
  /** No address begins like this. */
  private readonly high = new Int32Array(SAMPLES).fill(1 << 30);
  private next = 0;
  constructor(memory: WebAssembly.Memory) {
    this.i32 = new Int32Array(memory.buffer);
  }
  /** One more, at CpuState.rip. */
  add(cpu: number): void {
    const rip = (cpu + off.rip) >>> 2;
    this.low[this.next] = this.i32[rip];
    this.high[this.next] = this.i32[rip + 1];
    this.next = (this.next + 1) & (SAMPLES - 1);
  }
  /** Those within reach of the page at CpuState.rip, as offsets from its start. */
  near(cpu: number): number[] {
    const rip = (cpu + off.rip) >>> 2;
    const [low, high] = [(this.i32[rip] & -PAGE) >>> 0, this.i32[rip + 1]];
    const all = new Set<number>();
    for (const [n, at] of this.low.entries()) {
      const offset = (at >>> 0) - low;
      if (this.high[n] === high && Math.abs(pageOf(offset)) <= MAX_DELTA) all.add(offset);
    }
    return [...all];
  }
}
