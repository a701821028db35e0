/**
 * Disk images: one interface for every format. Calls are synchronous. They throw the host's own errors (ENOSPC, EIO) when
 * the host refuses, and ImageError when the image itself is not what it should be.
 */
export interface BlockImage {
  /** Name of the format, as in xl-disk-configuration. */
  readonly format: string;
  /** Bytes that the guest sees, a multiple of 512. Changes in `refreshSize` only. */
  readonly size: number;
  /** Smallest piece of the storage below that is written as a whole, in bytes: 512 or 4096. */
  readonly physicalSectorSize: number;
  /** Bytes that are discarded together; 0 if the image cannot discard. */
  readonly discardGranularity: number;
  /** Reads from `position` on into the buffers, one after the other. The range lies within the image. */
  read(position: number, into: readonly Uint8Array[]): void;
  write(position: number, from: readonly Uint8Array[]): void;
  /** What lies in the range is no longer needed, and may read as anything. Whole granules are given back. */
  discard(position: number, length: number): void;
  /** When this returns, what was written before is on the disk. */
  flush(): void;
  /** Looks at how large the file or device is now, if that is the size of the disk: `size` may be another then. */
  refreshSize?(): void;
  /** Flushes, if it can, and gives the file back. */
  close(): void;
}

/** The image is damaged, hostile, of an unknown kind, or used in a way it does not allow: the message says what to do. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
}

export const lengthOf = (buffers: readonly Uint8Array[]): number => {
  let n = 0;
  for (const b of buffers) n += b.length;
  return n;
};

/** The part of the buffers, seen as one, from `from` on: `length` bytes. */
export function slice(buffers: readonly Uint8Array[], from: number, length: number): Uint8Array[] {
  const out: Uint8Array[] = [];
  let at = 0;
  for (const b of buffers) {
    const start = Math.max(from - at, 0);
    const end = Math.min(from + length - at, b.length);
    if (start < end) out.push(start === 0 && end === b.length ? b : b.subarray(start, end));
    at += b.length;
    if (at >= from + length) break;
  }
  return out;
}
