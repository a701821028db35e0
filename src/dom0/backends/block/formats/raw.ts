/** Raw images: the guest's bytes as they are, in a file or on a block device of the host. */
import type { HostFile } from '../host-file.ts';
import type { BlockImage } from '../image.ts';

/** Blocks of a file system: what a hole is made of. */
const FILE_GRANULARITY = 4096;
const SECTOR = 512;

export class RawImage implements BlockImage {
  readonly format = 'raw';
  readonly physicalSectorSize: number;
  readonly discardGranularity: number;
  readonly #file: HostFile;
  readonly #readOnly: boolean;
  #size: number;

  /** Takes the file over. Bytes of an unfinished last sector cannot be reached. */
  constructor(file: HostFile, readOnly: boolean) {
    this.#file = file;
    this.#readOnly = readOnly;
    this.#size = wholeSectors(file);
    this.physicalSectorSize = Math.max(SECTOR, Math.min(4096, file.physicalSectorSize));
    this.discardGranularity = readOnly || !file.canPunchHoles ? 0 : FILE_GRANULARITY;
  }

  get size(): number {
    return this.#size;
  }

  refreshSize(): void {
    this.#size = wholeSectors(this.#file);
  }

  read(position: number, into: readonly Uint8Array[]): void {
    this.#file.read(position, into);
  }

  write(position: number, from: readonly Uint8Array[]): void {
    this.#file.write(position, from);
  }

  discard(position: number, length: number): void {
    const start = Math.ceil(position / FILE_GRANULARITY) * FILE_GRANULARITY;
    const end = Math.floor((position + length) / FILE_GRANULARITY) * FILE_GRANULARITY;
    // Advice only: a file system without holes keeps the bytes.
    if (end > start) this.#file.punchHole(start, end - start);
  }

  flush(): void {
    if (!this.#readOnly) this.#file.flush();
  }

  close(): void {
    try {
      this.flush();
    } finally {
      this.#file.close();
    }
  }
}

const wholeSectors = (file: HostFile): number => Math.floor(file.size / SECTOR) * SECTOR;
