/** A file or block device of the host, with positional synchronous I/O. All offsets and lengths are bytes. */
import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  readvSync,
  writeSync,
  writevSync,
} from 'node:fs';
import { fileExtensions } from './file-extensions.ts';
import { ImageError } from './image.ts';
import { lockImage, type Unlock } from './image-lock.ts';

/** Most buffers of one preadv or pwritev (IOV_MAX). */
const IOV_MAX = 1024;
/** Zeros at a time. */
const ZEROS = new Uint8Array(1 << 20);

export interface HostFileOptions {
  readonly readOnly: boolean;
  /** Makes a file that must not be there. */
  readonly create?: boolean;
  /** Default: true. */
  readonly lock?: boolean;
}

export class HostFile {
  readonly path: string;
  readonly isBlockDevice: boolean;
  /** The same for two names of one file. */
  readonly identity: string;
  readonly #fd: number;
  /** Folder of a block device in sysfs. */
  readonly #device: string | undefined;
  readonly #unlock: Unlock;

  /**
   * Opens a regular file or a block device. Throws ImageError with what the user can do, also if another program has it open
   * in a way that does not go together (image-lock.ts), unless `lock` is false.
   */
  constructor(path: string, options: HostFileOptions) {
    this.path = path;
    const { readOnly } = options;
    const mode = readOnly ? constants.O_RDONLY : constants.O_RDWR;
    // Not blocking: a FIFO is refused below, and must not hold us up before.
    const create = options.create ? constants.O_CREAT | constants.O_EXCL : 0;
    this.#fd = open(path, mode | create | constants.O_NONBLOCK, readOnly);
    try {
      const stat = fstatSync(this.#fd);
      this.isBlockDevice = stat.isBlockDevice();
      this.identity = this.isBlockDevice ? `block ${stat.rdev}` : `${stat.dev}:${stat.ino}`;
      if (!stat.isFile() && !this.isBlockDevice) throw new ImageError(`${path} is neither a file nor a block device`);
      if (this.isBlockDevice) this.#device = blockDevice(path, stat.rdev, readOnly);
      this.#unlock = options.lock === false ? () => {} : lockImage(this.#fd, path, readOnly);
    } catch (e) {
      closeSync(this.#fd);
      throw e;
    }
  }

  /** Bytes it has now. */
  get size(): number {
    if (!this.#device) return fstatSync(this.#fd).size;
    return Number(readFileSync(`${this.#device}/size`, 'utf8')) * 512;
  }

  /** Of a block device; a file has none of its own: 512. */
  get logicalSectorSize(): number {
    return this.#queueLimit('logical_block_size');
  }

  get physicalSectorSize(): number {
    return this.#queueLimit('physical_block_size');
  }

  /** Fills the buffers from `position` on; what lies behind the end reads as zeros. */
  read(position: number, into: readonly Uint8Array[]): void {
    if (into.length === 1) this.#readOne(position, into[0]);
    else this.#vector(position, into, readvSync, true);
  }

  write(position: number, from: readonly Uint8Array[]): void {
    if (from.length === 1) this.#writeOne(position, from[0]);
    else this.#vector(position, from, writevSync, false);
  }

  /** A copy of `length` bytes. */
  bytes(position: number, length: number): Buffer<ArrayBuffer> {
    const out = Buffer.alloc(length);
    this.#readOne(position, out);
    return out;
  }

  zero(position: number, length: number): void {
    for (let done = 0; done < length; done += ZEROS.length) {
      this.#writeOne(position + done, ZEROS.subarray(0, Math.min(ZEROS.length, length - done)));
    }
  }

  truncate(size: number): void {
    ftruncateSync(this.#fd, size);
  }

  /** Can ranges be given back (punchHole)? */
  get canPunchHoles(): boolean {
    return fileExtensions !== undefined;
  }

  /** Gives the range back to the file system or the device; it reads as zeros then. False: that cannot be, nothing happened. */
  punchHole(position: number, length: number): boolean {
    try {
      fileExtensions?.trimSync(this.#fd, position, length);
      return fileExtensions !== undefined;
    } catch {
      return false;
    }
  }

  /** When this returns, data and all that is needed to read them are on the disk. */
  flush(): void {
    fdatasyncSync(this.#fd);
  }

  close(): void {
    closeSync(this.#fd);
    this.#unlock();
  }

  #readOne(position: number, into: Uint8Array): void {
    for (let done = 0; done < into.length; ) {
      const n = readSync(this.#fd, into, done, into.length - done, position + done);
      if (n === 0) {
        into.fill(0, done);
        return;
      }
      done += n;
    }
  }

  #writeOne(position: number, from: Uint8Array): void {
    for (let done = 0; done < from.length; ) {
      done += writeSync(this.#fd, from, done, from.length - done, position + done);
    }
  }

  #vector(
    position: number,
    buffers: readonly Uint8Array[],
    io: (fd: number, buffers: Uint8Array[], position: number) => number,
    reading: boolean,
  ): void {
    let at = position;
    for (let i = 0; i < buffers.length; i += IOV_MAX) {
      const part = buffers.slice(i, i + IOV_MAX);
      let want = 0;
      for (const b of part) want += b.length;
      const n = io(this.#fd, part, at);
      if (n < want) this.#rest(at, part, n, reading);
      at += want;
    }
  }

  /** What a short vectored call left, one buffer at a time. */
  #rest(position: number, buffers: readonly Uint8Array[], done: number, reading: boolean): void {
    let at = 0;
    for (const b of buffers) {
      const skip = Math.min(b.length, Math.max(0, done - at));
      if (skip < b.length) {
        if (reading) this.#readOne(position + at + skip, b.subarray(skip));
        else this.#writeOne(position + at + skip, b.subarray(skip));
      }
      at += b.length;
    }
  }

  #queueLimit(name: string): number {
    if (!this.#device) return 512;
    for (const dir of ['queue', '../queue']) {
      try {
        return Number(readFileSync(`${this.#device}/${dir}/${name}`, 'utf8'));
      } catch {}
    }
    return 512;
  }
}

function open(path: string, flags: number, readOnly: boolean): number {
  try {
    return openSync(path, flags, 0o666);
  } catch (e) {
    throw new ImageError(`${path} cannot be opened${readOnly ? '' : ' for writing'}: ${reason(e)}`);
  }
}

/** The folder in sysfs of a block device. Throws ImageError if it is not to be written, or the host uses it itself. */
function blockDevice(path: string, rdev: number, readOnly: boolean): string {
  // Numbers as the kernel packs them for user space: 12 bits of major, 20 of minor.
  const major = Math.floor(rdev / 256) & 0xfff;
  const minor = (rdev & 0xff) | (Math.floor(rdev / 2 ** 12) & 0xfff00);
  const device = `/sys/dev/block/${major}:${minor}`;
  if (readOnly) return device;
  if (readFileSync(`${device}/ro`, 'utf8').trim() === '1') {
    throw new ImageError(`${path} is a read-only device: its disk must be read-only too (access=ro)`);
  }
  // Without O_CREAT this asks whether the device is mounted, or in use by the host in some other way.
  closeSync(open(path, constants.O_RDWR | constants.O_EXCL | constants.O_NONBLOCK, readOnly));
  return device;
}

function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOENT':
      return 'there is no such file';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'EISDIR':
      return 'it is a folder';
    case 'EBUSY':
      return 'the host uses it (is it mounted?)';
    case 'EEXIST':
      return 'it exists already';
    default:
      return message;
  }
}
