/** A kernel's ELF file, wherever it is: in memory, or in a file of which each part is read when it is wanted. */

/** The most that a kernel may have uncompressed. Debian's largest has 66 MB. */
export const MAX_KERNEL_BYTES = 512 << 20;

export interface KernelBytes {
  /** Bytes in all. */
  readonly size: number;
  /** Fills `into` with the bytes from `offset` on, all of which are there. Throws ToolstackError if the file was changed. */
  read(offset: number, into: Uint8Array): void;
}

export function inMemory(bytes: Uint8Array): KernelBytes {
  return { size: bytes.length, read: (offset, into) => into.set(bytes.subarray(offset, offset + into.length)) };
}

/** A copy of `length` bytes from `offset` on. */
export function copyOf(bytes: KernelBytes, offset = 0, length = bytes.size): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(length);
  bytes.read(offset, copy);
  return copy;
}

/** `length` bytes from `offset` on. */
export function slice(bytes: KernelBytes, offset: number, length: number): KernelBytes {
  return { size: length, read: (at, into) => bytes.read(offset + at, into) };
}

/** All of it, in memory. */
export const wholeOf = (file: KernelBytes | Uint8Array): Uint8Array =>
  file instanceof Uint8Array ? file : copyOf(file);
