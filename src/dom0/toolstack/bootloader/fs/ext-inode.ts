/**
 * An inode of ext2, ext3 or ext4 and where its blocks lie: a tree of extents, or blocks named directly and by up to three
 * levels of indirect blocks (Linux: Documentation/filesystems/ext4).
 */
import { BootError, type ByteSource, viewOf } from '../source.ts';

/** What an inode needs to know of its file system. */
export interface ExtVolume {
  readonly source: ByteSource;
  readonly blockSize: number;
}

export const TYPE = { DIRECTORY: 0x4000, REGULAR: 0x8000, SYMLINK: 0xa000 } as const;

const FLAG_ENCRYPTED = 0x800;
const FLAG_EXTENTS = 0x80000;
const FLAG_INLINE_DATA = 0x10000000;
const EXTENT_MAGIC = 0xf30a;
/** ext4_ext_check's bound. */
const MAX_EXTENT_DEPTH = 5;
/** An extent longer than this is allocated but not written: it reads as zeros. */
const EXTENT_WRITTEN_MAX = 32768;
const BLOCK_AREA = 0x28;
const BLOCK_AREA_SIZE = 60;
const DIRECT_BLOCKS = 12;

/** A run of a file's blocks that follow each other on the disk; `start` 0: they read as zeros. */
interface Run {
  readonly start: number;
  readonly blocks: number;
}

export class ExtInode {
  readonly number: number;
  readonly type: number;
  readonly size: number;
  readonly #volume: ExtVolume;
  readonly #raw: Uint8Array;
  readonly #flags: number;

  constructor(volume: ExtVolume, number: number, raw: Uint8Array) {
    const view = viewOf(raw);
    this.#volume = volume;
    this.#raw = raw;
    this.number = number;
    this.type = view.getUint16(0, true) & 0xf000;
    this.size = view.getUint32(4, true) + view.getUint32(0x6c, true) * 2 ** 32;
    this.#flags = view.getUint32(0x20, true);
  }

  /** The first `length` bytes at most; the caller has bounded `length`. */
  read(length: number): Uint8Array {
    if (this.#flags & FLAG_ENCRYPTED) throw new BootError(`inode ${this.number} is encrypted`);
    if (this.#flags & FLAG_INLINE_DATA)
      throw new BootError(`inode ${this.number} keeps its data inline: not supported`);
    const total = Math.min(length, this.size);
    const out = new Uint8Array(total);
    const { source, blockSize } = this.#volume;
    let done = 0;
    while (done < total) {
      const run = this.#run(Math.floor(done / blockSize));
      const bytes = Math.min(total - done, run.blocks * blockSize);
      if (run.start) out.set(source.read(run.start * blockSize, bytes), done);
      done += bytes;
    }
    return out;
  }

  /** The target of a symbolic link. A short one stands where the block numbers would. */
  target(): string {
    const short = this.size < BLOCK_AREA_SIZE && !(this.#flags & FLAG_EXTENTS);
    const bytes = short ? this.#raw.subarray(BLOCK_AREA, BLOCK_AREA + this.size) : this.read(4096);
    return new TextDecoder().decode(bytes);
  }

  /** Where the file's block number `block` lies, and how many follow it there. */
  #run(block: number): Run {
    return this.#flags & FLAG_EXTENTS ? this.#extent(block) : this.#mapped(block);
  }

  #extent(block: number): Run {
    let node = this.#raw.subarray(BLOCK_AREA, BLOCK_AREA + BLOCK_AREA_SIZE);
    for (let level = 0; level <= MAX_EXTENT_DEPTH; level++) {
      const view = viewOf(node);
      const entries = view.getUint16(2, true);
      const depth = view.getUint16(6, true);
      if (view.getUint16(0, true) !== EXTENT_MAGIC || 12 + entries * 12 > node.length) {
        throw new BootError(`the extents of inode ${this.number} are damaged`);
      }
      const at = lastNotAbove(view, entries, block);
      const next = at + 12 < 12 + entries * 12 ? view.getUint32(at + 12, true) : 2 ** 32;
      if (depth === 0) {
        const hole = { start: 0, blocks: Math.max(1, (at ? next : firstOf(view, entries)) - block) };
        if (!at) return hole;
        const inside = block - view.getUint32(at, true);
        const length = view.getUint16(at + 4, true);
        const blocks = length > EXTENT_WRITTEN_MAX ? length - EXTENT_WRITTEN_MAX : length;
        if (inside >= blocks) return hole;
        const start = view.getUint16(at + 6, true) * 2 ** 32 + view.getUint32(at + 8, true);
        return { start: length > EXTENT_WRITTEN_MAX ? 0 : start + inside, blocks: blocks - inside };
      }
      if (!at) return { start: 0, blocks: Math.max(1, firstOf(view, entries) - block) };
      node = this.#block(view.getUint32(at + 4, true) + view.getUint16(at + 8, true) * 2 ** 32);
    }
    throw new BootError(`the extents of inode ${this.number} nest too deeply`);
  }

  #mapped(block: number): Run {
    const view = viewOf(this.#raw);
    const perBlock = this.#volume.blockSize / 4;
    if (block < DIRECT_BLOCKS) return { start: view.getUint32(BLOCK_AREA + block * 4, true), blocks: 1 };
    let rest = block - DIRECT_BLOCKS;
    for (let levels = 1; levels <= 3; levels++) {
      const covered = perBlock ** levels;
      if (rest >= covered) {
        rest -= covered;
        continue;
      }
      let at = view.getUint32(BLOCK_AREA + (DIRECT_BLOCKS + levels - 1) * 4, true);
      for (let level = levels - 1; level >= 0 && at; level--) {
        const span = perBlock ** level;
        at = viewOf(this.#block(at)).getUint32(Math.floor(rest / span) * 4, true);
        rest %= span;
      }
      return { start: at, blocks: 1 };
    }
    throw new BootError(`inode ${this.number} has more blocks than it can have`);
  }

  #block(number: number): Uint8Array {
    const { source, blockSize } = this.#volume;
    return source.read(number * blockSize, blockSize);
  }
}

const firstOf = (view: DataView, entries: number) => (entries ? view.getUint32(12, true) : 2 ** 32);

/** Offset of the last entry whose first block is not above `block`; 0 if there is none. */
function lastNotAbove(view: DataView, entries: number, block: number): number {
  let found = 0;
  for (let at = 12; at < 12 + entries * 12 && view.getUint32(at, true) <= block; at += 12) found = at;
  return found;
}
