/** Makes translations of a page's bytes: on the pCPU's thread, or on one of their own (Workshop). */
import type { Encoding } from '../semantics/table.ts';
import { compileRegions } from './compile.ts';
import { Discovery } from './discover.ts';
import { bytesOf, type Translation } from './library.ts';

/** A translation just made. */
export interface Made extends Pick<Translation, 'hot' | 'entries' | 'ranges' | 'bytes' | 'wasm'> {
  /** Guest instructions in it. */
  readonly instructions: number;
}

export class Maker {
  private readonly discovery: Discovery;
  constructor(encodings: readonly Encoding[]) {
    this.discovery = new Discovery(encodings);
  }

  /** Of the code at page offsets `hot`; undefined: no instruction there is for the translator. */
  make(page: Uint8Array, hot: readonly number[]): Made | undefined {
    const region = this.discovery.region(page, hot);
    if (!region) return undefined;
    const { entries, ranges, blocks } = region;
    const instructions = blocks.reduce((n, b) => n + b.instructions.length, 0);
    return { hot, entries, ranges, bytes: bytesOf(page, ranges), wasm: compileRegions([region]), instructions };
  }
}

/** A job for a workshop, and what came of it: the translation with its compiled module, or nothing. */
export interface Order {
  readonly id: number;
  readonly page: Uint8Array;
  readonly hot: readonly number[];
}
export interface Delivery {
  readonly id: number;
  readonly made?: Made & { readonly module: WebAssembly.Module };
  /** Milliseconds it took. */
  readonly ms: number;
}

/** Another thread that makes translations while the guest runs on in the interpreter. Both calls return at once. */
export interface Workshop {
  order(o: Order): void;
  /** One that is ready. */
  collect(): Delivery | undefined;
}
