/** ext2, ext3 and ext4, for reading (Linux: Documentation/filesystems/ext4). The journal is not replayed. */
import { BootError, type ByteSource, viewOf } from '../source.ts';
import { ExtInode, type ExtVolume, TYPE } from './ext-inode.ts';
import { components, type FileSystem, NoSuchFile } from './file-system.ts';

const MAGIC = 0xef53;
const ROOT_INODE = 2;
/** Linux follows 40 links. */
const MAX_LINKS = 40;
const MAX_DIRECTORY = 16 << 20;

const INCOMPAT_64BIT = 0x80;
/** Features that change nothing for a reader, or that are read here. Other bits of s_feature_incompat are refused. */
const INCOMPAT_READ: Readonly<Record<number, string>> = {
  2: 'filetype',
  4: 'needs_recovery',
  64: 'extents',
  [INCOMPAT_64BIT]: '64bit',
  256: 'mmp',
  512: 'flex_bg',
  1024: 'ea_inode',
  8192: 'metadata_csum_seed',
  16384: 'large_dir',
  32768: 'inline_data',
  65536: 'encrypt',
  131072: 'casefold',
};
const COMPAT_JOURNAL = 4;
const INCOMPAT_EXTENTS = 64;

export class ExtFileSystem implements FileSystem, ExtVolume {
  readonly kind: string;
  readonly source: ByteSource;
  readonly blockSize: number;
  readonly #inodes: number;
  readonly #inodesPerGroup: number;
  readonly #inodeSize: number;
  readonly #descriptors: number;
  readonly #descriptorSize: number;

  /** The file system that begins at the source's first byte, or undefined if it is another one. */
  static open(source: ByteSource): ExtFileSystem | undefined {
    if (source.size < 2048) return undefined;
    const superblock = viewOf(source.read(1024, 1024));
    return superblock.getUint16(0x38, true) === MAGIC ? new ExtFileSystem(source, superblock) : undefined;
  }

  private constructor(source: ByteSource, s: DataView) {
    const incompat = s.getUint32(0x60, true);
    for (let bit = 0; bit < 32; bit++) {
      const feature = (incompat & (1 << bit)) >>> 0;
      if (feature && !(feature in INCOMPAT_READ)) {
        throw new BootError(
          `its ext file system has a feature that is not supported (incompatible 0x${feature.toString(16)})`,
        );
      }
    }
    const logBlock = s.getUint32(0x18, true);
    if (logBlock > 6) throw new BootError('its ext file system is damaged: blocks of more than 64 KiB');
    this.source = source;
    this.blockSize = 1024 << logBlock;
    this.#inodes = s.getUint32(0, true);
    this.#inodesPerGroup = s.getUint32(0x28, true);
    this.#inodeSize = s.getUint32(0x4c, true) === 0 ? 128 : s.getUint16(0x58, true);
    this.#descriptorSize = incompat & INCOMPAT_64BIT ? s.getUint16(0xfe, true) : 32;
    this.#descriptors = (s.getUint32(0x14, true) + 1) * this.blockSize;
    this.kind = incompat & INCOMPAT_EXTENTS ? 'ext4' : s.getUint32(0x5c, true) & COMPAT_JOURNAL ? 'ext3' : 'ext2';
    if (
      this.#inodesPerGroup === 0 ||
      this.#inodeSize < 128 ||
      this.#inodeSize > this.blockSize ||
      this.#descriptorSize < 32
    ) {
      throw new BootError(`its ${this.kind} file system is damaged: its superblock has impossible sizes`);
    }
  }

  readFile(path: string, limit: number): Uint8Array {
    const inode = this.#find(path);
    if (inode.type !== TYPE.REGULAR) throw new BootError(`${path} is no regular file`);
    if (inode.size > limit) throw new BootError(`${path} has ${inode.size} bytes; at most ${limit} are allowed`);
    return inode.read(inode.size);
  }

  isFile(path: string): boolean {
    try {
      return this.#find(path).type === TYPE.REGULAR;
    } catch (error) {
      if (error instanceof NoSuchFile) return false;
      throw error;
    }
  }

  #inode(number: number): ExtInode {
    if (number < 1 || number > this.#inodes)
      throw new BootError(`its file system is damaged: it names inode ${number}`);
    const group = Math.floor((number - 1) / this.#inodesPerGroup);
    const size = this.#descriptorSize;
    const descriptor = viewOf(this.source.read(this.#descriptors + group * size, size));
    const table = descriptor.getUint32(8, true) + (size >= 64 ? descriptor.getUint32(0x28, true) * 2 ** 32 : 0);
    const index = (number - 1) % this.#inodesPerGroup;
    const at = table * this.blockSize + index * this.#inodeSize;
    return new ExtInode(this, number, this.source.read(at, this.#inodeSize));
  }

  #find(path: string): ExtInode {
    const trail: ExtInode[] = [this.#inode(ROOT_INODE)];
    const todo = components(path).reverse();
    let links = 0;
    for (let name = todo.pop(); name !== undefined; name = todo.pop()) {
      const directory = trail[trail.length - 1];
      if (directory.type !== TYPE.DIRECTORY) throw new NoSuchFile(`${path}: what comes before ${name} is no folder`);
      if (name === '..') {
        if (trail.length > 1) trail.pop();
        continue;
      }
      const number = this.#lookup(directory, name);
      if (!number) throw new NoSuchFile(`${path}: there is no ${name}`);
      const inode = this.#inode(number);
      if (inode.type !== TYPE.SYMLINK) {
        trail.push(inode);
        continue;
      }
      if (++links > MAX_LINKS) throw new BootError(`${path}: too many symbolic links`);
      const target = inode.target();
      if (target.startsWith('/')) trail.length = 1;
      todo.push(...components(target).reverse());
    }
    return trail[trail.length - 1];
  }

  /** The inode of an entry; 0 if there is none. Hashed directories are valid plain ones too. */
  #lookup(directory: ExtInode, name: string): number {
    const wanted = new TextEncoder().encode(name);
    const bytes = directory.read(MAX_DIRECTORY);
    const view = viewOf(bytes);
    for (let at = 0; at + 8 <= bytes.length; ) {
      const inode = view.getUint32(at, true);
      const stored = view.getUint16(at + 4, true);
      // In blocks of 64 KiB, the two values that 16 bits cannot hold.
      const length = this.blockSize === 65536 && (stored === 65535 || stored === 0) ? 65536 : stored;
      const nameLength = bytes[at + 6];
      if (length < 8 || at + length > bytes.length || nameLength + 8 > length) {
        throw new BootError(`the folder with inode ${directory.number} is damaged`);
      }
      const found = bytes.subarray(at + 8, at + 8 + nameLength);
      if (inode && nameLength === wanted.length && wanted.every((b, i) => b === found[i])) return inode;
      at += length;
    }
    return 0;
  }
}
