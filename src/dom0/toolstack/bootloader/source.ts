/** Random-access bytes: what a disk, a partition or a file inside a file system looks like to what reads it. */

/** What is wrong with a disk, in words for the user who wants to boot from it. */
export class BootError extends Error {}

export interface ByteSource {
  /** Bytes in all. */
  readonly size: number;
  /** A copy of `length` bytes from `offset`. Throws BootError beyond the end. */
  read(offset: number, length: number): Uint8Array;
}

/** The part of `source` from `offset`, `size` bytes long. */
export function slice(source: ByteSource, offset: number, size: number): ByteSource {
  if (offset < 0 || size < 0 || offset + size > source.size) {
    throw new BootError(
      `a part of ${size} bytes at ${offset} reaches beyond the end of the disk (${source.size} bytes)`,
    );
  }
  return {
    size,
    read(at, length) {
      if (at < 0 || length < 0 || at + length > size) {
        throw new BootError(`a read of ${length} bytes at ${at} reaches beyond the end (${size} bytes)`);
      }
      return source.read(offset + at, length);
    },
  };
}

export const fromBytes = (bytes: Uint8Array): ByteSource =>
  slice({ size: bytes.length, read: (at, length) => bytes.slice(at, at + length) }, 0, bytes.length);

export const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
