/** What the decompressors of this folder share: a bounded output buffer, input with checked reads, and their error. */

/** The data are not what the format demands, or there are more of them than allowed. */
export class DecompressError extends Error {
  override readonly name = 'DecompressError';
}

/** A decompressor: the whole input in, the whole output out. Throws DecompressError; never gives more than `limit` bytes. */
export type Decompressor = (input: Uint8Array, limit: number) => Uint8Array;

const FIRST_CAPACITY = 1 << 20;

/** Growing output. `bytes` is valid up to `length`; both may be used directly by an inner loop after `reserve`. */
export class Output {
  bytes: Uint8Array;
  length = 0;
  readonly limit: number;

  /** `expected`: bytes that are likely to come (a hint), `limit`: the most that may. */
  constructor(limit: number, expected = FIRST_CAPACITY) {
    this.limit = limit;
    this.bytes = new Uint8Array(Math.min(limit, Math.max(expected, 64)));
  }

  /** Makes room for n more bytes. */
  reserve(n: number): void {
    const need = this.length + n;
    if (need > this.limit) throw new DecompressError(`more than the expected ${this.limit} bytes come out`);
    if (need <= this.bytes.length) return;
    const grown = new Uint8Array(Math.min(this.limit, Math.max(need, this.bytes.length * 2)));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  append(data: Uint8Array): void {
    this.reserve(data.length);
    this.bytes.set(data, this.length);
    this.length += data.length;
  }

  /** Appends n bytes that stand `distance` before the end: the two ranges may overlap. */
  copy(distance: number, n: number): void {
    if (distance > this.length || distance <= 0) {
      throw new DecompressError(`a match at ${this.length} reaches ${distance - this.length} bytes before the start`);
    }
    this.reserve(n);
    const { bytes } = this;
    let to = this.length;
    if (distance >= n) bytes.copyWithin(to, to - distance, to - distance + n);
    else for (let from = to - distance, end = to + n; to < end; ) bytes[to++] = bytes[from++];
    this.length += n;
  }

  finish(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}

/** Input with a read position; reading past the end is an error. */
export class Input {
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.at = at;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  private need(n: number): number {
    const at = this.at;
    if (n > this.bytes.length - at) throw new DecompressError(`truncated: ends at byte ${this.bytes.length}`);
    this.at += n;
    return at;
  }

  u8(): number {
    return this.bytes[this.need(1)];
  }

  u16be(): number {
    return this.view.getUint16(this.need(2));
  }

  u32be(): number {
    return this.view.getUint32(this.need(4));
  }

  u32le(): number {
    return this.view.getUint32(this.need(4), true);
  }

  take(n: number): Uint8Array {
    const at = this.need(n);
    return this.bytes.subarray(at, at + n);
  }
}
