/**
 * The back end's side of a console ring (xen/include/public/io/console.h). Indices are the guest's to scribble on: each is
 * read once per use, and one that cannot be makes the ring look empty (output) or full (input) until it can be again.
 */
import { XENCONS_IN_SIZE, XENCONS_OUT_SIZE, XenconsInterface } from '../../abi/console.ts';

const { off } = XenconsInterface;

export interface ConsolePage {
  /** Machine memory; the page is its bytes `address` to `address + 4095`. */
  readonly memory: SharedArrayBuffer;
  readonly address: number;
  /** Signals the guest's end of the event channel. */
  readonly notify: () => void;
}

export class ConsoleRing {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;

  constructor(page: ConsolePage) {
    this.#bytes = new Uint8Array(page.memory, page.address, XENCONS_IN_SIZE + XENCONS_OUT_SIZE);
    this.#words = new Int32Array(page.memory, page.address, XenconsInterface.size >>> 2);
  }

  /** Takes what the guest has written: a copy, at most the ring's size. */
  read(): Uint8Array {
    const cons = this.#load(off.out_cons);
    const filled = (this.#load(off.out_prod) - cons) >>> 0;
    if (filled === 0 || filled > XENCONS_OUT_SIZE) return new Uint8Array(0);
    const out = new Uint8Array(filled);
    const at = cons & (XENCONS_OUT_SIZE - 1);
    const run = Math.min(filled, XENCONS_OUT_SIZE - at);
    out.set(this.#bytes.subarray(off.out + at, off.out + at + run));
    out.set(this.#bytes.subarray(off.out, off.out + filled - run), run);
    this.#store(off.out_cons, cons + filled);
    return out;
  }

  /** Gives input to the guest; returns how many bytes fitted. */
  write(bytes: Uint8Array): number {
    const prod = this.#load(off.in_prod);
    const filled = (prod - this.#load(off.in_cons)) >>> 0;
    const count = filled > XENCONS_IN_SIZE ? 0 : Math.min(bytes.length, XENCONS_IN_SIZE - filled);
    if (count === 0) return 0;
    const at = prod & (XENCONS_IN_SIZE - 1);
    const run = Math.min(count, XENCONS_IN_SIZE - at);
    this.#bytes.set(bytes.subarray(0, run), off.in + at);
    this.#bytes.set(bytes.subarray(run, count), off.in);
    this.#store(off.in_prod, prod + count);
    return count;
  }

  #load(offset: number): number {
    return Atomics.load(this.#words, offset >>> 2);
  }

  #store(offset: number, value: number): void {
    Atomics.store(this.#words, offset >>> 2, value | 0);
  }
}
