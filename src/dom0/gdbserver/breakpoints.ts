/** Software breakpoints: `int3` in the guest's code, hidden from whoever reads memory through here. */
import type { DebugTarget } from './target.ts';

const INT3 = 0xcc;

export class Breakpoints {
  readonly #target: DebugTarget;
  /** The byte that each has replaced. */
  readonly #original = new Map<bigint, number>();

  constructor(target: DebugTarget) {
    this.#target = target;
  }

  has(address: bigint): boolean {
    return this.#original.has(address);
  }

  /** False: the memory cannot be written. */
  insert(address: bigint): boolean {
    if (this.has(address)) return true;
    const [byte] = this.#target.read(address, 1);
    if (byte === undefined || this.#target.write(address, Uint8Array.of(INT3)) !== 1) return false;
    this.#original.set(address, byte);
    return true;
  }

  /** False: there is none, or its memory is gone. */
  remove(address: bigint): boolean {
    const byte = this.#original.get(address);
    if (byte === undefined) return false;
    this.#original.delete(address);
    // The guest may have put something else there since: that is its own.
    if (this.#target.read(address, 1)[0] !== INT3) return true;
    return this.#target.write(address, Uint8Array.of(byte)) === 1;
  }

  removeAll(): void {
    for (const address of [...this.#original.keys()]) this.remove(address);
  }

  /** Memory as it is without breakpoints. */
  read(address: bigint, length: number): Uint8Array {
    const bytes = this.#target.read(address, length);
    for (const [at, byte] of this.#original) {
      const i = Number(at - address);
      if (i >= 0 && i < bytes.length && bytes[i] === INT3) bytes[i] = byte;
    }
    return bytes;
  }

  /** Writes around the breakpoints, whose places get their bytes when they are removed. Returns the bytes written. */
  write(address: bigint, data: Uint8Array): number {
    const bytes = data.slice();
    for (const at of this.#original.keys()) {
      const i = Number(at - address);
      if (i >= 0 && i < bytes.length) bytes[i] = INT3;
    }
    const written = this.#target.write(address, bytes);
    for (const at of this.#original.keys()) {
      const i = Number(at - address);
      if (i >= 0 && i < written) this.#original.set(at, data[i]);
    }
    return written;
  }
}
