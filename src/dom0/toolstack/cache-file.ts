/**
 * A file of the cache that is open, read part by part and never whole: what is large would take as long to be put in fresh
 * memory as to be used. It stays readable when the cache is emptied meanwhile.
 */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { ToolstackError } from './error.ts';

/** Bytes read at a time, into memory that stays in the processor's caches. */
const STEP = 1 << 18;

/** SHA-256 in hexadecimal of a file's content, and its size in bytes. */
export interface Content {
  readonly hash: string;
  readonly size: number;
}

/** Of what is left to read of a file. */
export function hashOf(fd: number): Content {
  const sum = createHash('sha256');
  const buffer = new Uint8Array(STEP);
  let size = 0;
  for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer)) {
    sum.update(buffer.subarray(0, n));
    size += n;
  }
  return { hash: sum.digest('hex'), size };
}

/** What changes when somebody writes to the file or cuts it off; not when it is removed. */
function stateOf(fd: number): string {
  const { dev, ino, size, mtimeNs } = fstatSync(fd, { bigint: true });
  return [dev, ino, size, mtimeNs].join(' ');
}

const changed = (path: string) =>
  new ToolstackError(`${path} was changed while it was in use: try again, and it is made anew`);

/** Closes what nobody can read any more. */
const unused = new FinalizationRegistry<number>((fd) => closeSync(fd));

/** A file that was looked at, as another thread is told of it. */
export interface KnownFile {
  readonly path: string;
  /** SHA-256 of its content. */
  readonly hash: string;
  readonly size: number;
  /** As stateOf. */
  readonly state: string;
}

export class CacheFile {
  readonly known: KnownFile;
  readonly #fd: number;

  private constructor(known: KnownFile, fd: number) {
    this.known = known;
    this.#fd = fd;
    unused.register(this, fd);
  }

  /** The file, if it is there and has the content of that hash, as `contentOf` says. */
  static open(path: string, hash: string, contentOf: (fd: number) => Content): CacheFile | undefined {
    return CacheFile.#open(path, (fd, state) => {
      const found = contentOf(fd);
      return found.hash === hash && stateOf(fd) === state ? { path, hash, size: found.size, state } : undefined;
    });
  }

  /** The same file again. Throws ToolstackError if it was changed since. */
  static reopen(known: KnownFile): CacheFile {
    const file = CacheFile.#open(known.path, (_, state) => (state === known.state ? known : undefined));
    if (!file) throw changed(known.path);
    return file;
  }

  static #open(path: string, look: (fd: number, state: string) => KnownFile | undefined): CacheFile | undefined {
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    let file: CacheFile | undefined;
    try {
      const known = look(fd, stateOf(fd));
      if (known) file = new CacheFile(known, fd);
    } finally {
      if (!file) closeSync(fd);
    }
    return file;
  }

  get size(): number {
    return this.known.size;
  }

  /** Fills `into` with the bytes from `offset` on. Throws ToolstackError if they are not those that were hashed. */
  read(offset: number, into: Uint8Array): void {
    let done = 0;
    for (let n = -1; n !== 0 && done < into.length; done += n) {
      n = readSync(this.#fd, into, done, into.length - done, offset + done);
    }
    if (done < into.length || stateOf(this.#fd) !== this.known.state) throw changed(this.known.path);
  }
}
