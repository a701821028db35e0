/** Makes translations of a page's bytes: on the pCPU's thread, or on one of their own (Workshop). */
import type { Encoding } from '../semantics/table.ts';
import { type CodeView, type PageList, pageOf } from './code-view.ts';
import { compileRegion } from './compile.ts';
import { Discovery } from './discover.ts';
import { bytesOf, type Translation } from './library.ts';

/** A translation just made. */
export interface Made
  extends Pick<Translation, 'hot' | 'left' | 'computed' | 'beside' | 'entries' | 'ranges' | 'bytes' | 'others'> {
  /** A module of it alone. */
  readonly wasm: Uint8Array;
  /** Guest instructions in it. */
  readonly instructions: number;
}

export class Maker {
  private readonly discovery: Discovery;
  constructor(encodings: readonly Encoding[]) {
    this.discovery = new Discovery(encodings);
  }

  /** Of the code at offsets `hot`, the first in the view's first page, `whole` or not (Discovery.region); undefined: no instruction there is for the translator. */
  make(view: CodeView, hot: readonly number[], whole: boolean): Made | undefined {
    const region = this.discovery.region(view, hot, whole);
    if (!region) return undefined;
    const { entries, ranges, blocks, left, computed } = region;
    const part = (delta: number, of: typeof ranges) => ({ ranges: of, bytes: bytesOf(view.page(delta)!, of) });
    const others = region.others.map((p) => ({ delta: p.delta, ...part(p.delta, p.ranges) }));
    const instructions = blocks.reduce((n, b) => n + b.instructions.length, 0);
    // There may not have been room for all.
    const first = hot.filter((o) => entries.includes(o));
    return {
      hot: first,
      left,
      computed,
      beside: computed ? hot.filter((o) => pageOf(o) !== 0) : [],
      entries,
      ...part(0, ranges),
      others,
      wasm: compileRegion(region),
      instructions,
    };
  }
}

/** A job for a workshop, and what came of it: the translation with its compiled module, or nothing. */
export interface Order {
  readonly id: number;
  /** Pages that may be used, the one with the hot offsets among them. */
  readonly pages: PageList;
  /** Offsets; those in the first page are its hot places. */
  readonly hot: readonly number[];
  /** Offsets that were lately seen to run. */
  readonly warm: readonly number[];
  /** The first page's frame; whether it is to go in the place of what was made of that page at these offsets. */
  readonly mfn: number;
  readonly instead: boolean;
  /** As Discovery.region has it. */
  readonly whole: boolean;
  /** Handlers from this number on are translations'. */
  readonly slots: number;
}
export interface Delivery {
  readonly id: number;
  readonly made?: Made & { readonly module: WebAssembly.Module };
  /** There is no need for it: what was made before has the place that it was asked for, or its code is gone. */
  readonly covered?: boolean;
  /** Milliseconds it took. */
  readonly ms: number;
}

/** Another thread that makes translations while the guest runs on in the interpreter. Both calls return at once. */
export interface Workshop {
  order(o: Order): void;
  /** One that is ready. */
  collect(): Delivery | undefined;
}
