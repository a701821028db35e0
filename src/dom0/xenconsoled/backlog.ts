/** Output that waits for a reader: the latest `limit` bytes of it, in order; what is older is dropped. */
export class Backlog {
  readonly #limit: number;
  #pieces: Uint8Array[] = [];
  #bytes = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get length(): number {
    return this.#bytes;
  }

  /** Keeps the array: it must not change afterwards. */
  push(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.#bytes += bytes.length;
    while (this.#bytes > this.#limit) this.drop(Math.min(this.#pieces[0].length, this.#bytes - this.#limit));
  }

  /** The oldest bytes, as many as lie together; empty if there are none. */
  head(): Uint8Array {
    return this.#pieces[0] ?? new Uint8Array(0);
  }

  /** Removes the first `count` bytes of the head. */
  drop(count: number): void {
    const head = this.#pieces[0];
    if (count === head.length) this.#pieces.shift();
    else this.#pieces[0] = head.subarray(count);
    this.#bytes -= count;
  }
}
