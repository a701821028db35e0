/** WebAssembly's binary format, read. */

/** Reads what module.ts writes; throws at its end. */
export class Reader {
  at = 0;
  private readonly b: Uint8Array;
  constructor(b: Uint8Array) {
    this.b = b;
  }
  u8(): number {
    if (this.at >= this.b.length) throw new Error('wasm: cut short');
    return this.b[this.at++];
  }
  u32(): number {
    let v = 0;
    for (let shift = 0; ; shift += 7) {
      const x = this.u8();
      v |= (x & 0x7f) << shift;
      if (x < 0x80) return v >>> 0;
    }
  }
  s64(): bigint {
    let v = 0n;
    for (let shift = 0n; ; ) {
      const x = BigInt(this.u8());
      v |= (x & 0x7fn) << shift;
      shift += 7n;
      if (x < 0x80n) return BigInt.asIntN(64, x & 0x40n ? v - (1n << shift) : v);
    }
  }
  /** So many bytes, as they are. */
  raw(n = this.u32()): Uint8Array {
    if (n > this.b.length - this.at) throw new Error('wasm: cut short');
    this.at += n;
    return this.b.subarray(this.at - n, this.at);
  }
  name(): string {
    return new TextDecoder().decode(this.raw());
  }
  list<T>(one: () => T): T[] {
    return Array.from({ length: this.u32() }, one);
  }
  get ended(): boolean {
    return this.at >= this.b.length;
  }
}
