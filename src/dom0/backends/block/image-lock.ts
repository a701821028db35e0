/**
 * Locks on image files as QEMU and its tools take them (block/file-posix.c, "locking"), so that they and we keep out of each
 * other's way. They bind nobody who does not ask. Who opens an image says, by shared locks on single bytes, what it does with
 * it and what nobody else may do meanwhile; then it looks, by an exclusive lock for a moment, whether others do or forbid that.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { type FileExtensions, fileExtensions } from './file-extensions.ts';
import { ImageError } from './image.ts';

/** Bits of QEMU's permissions, each a byte of the file from one of the two places on. */
const READ = 0;
const WRITE = 1;
const RESIZE = 3;
const USED_AT = 100;
const FORBIDDEN_AT = 200;

/** Two that look at the same moment both see the other: each tries again after a while of its own. */
const ATTEMPTS = 10;
const PAUSE_MS = 4;

/** Gives the locks back. The end of the thread or the process does so too. */
export type Unlock = () => void;

/**
 * Locks the file that is open as `fd`: others may read it, and not write to it. Does nothing where there are no such locks.
 * Throws ImageError if another open file has it in a way that does not go together with that.
 */
export function lockImage(fd: number, path: string, readOnly: boolean): Unlock {
  if (!fileExtensions) return () => {};
  const x = fileExtensions;
  const own = openAgain(fd);
  try {
    for (let attempt = 0; ; attempt++) {
      const other = tryAll(x, own.fd, readOnly ? [READ] : [READ, WRITE, RESIZE], own.writable);
      if (other === undefined) return () => closeSync(own.fd);
      if (attempt === ATTEMPTS) throw new ImageError(`${path} is in use: another program ${other}`);
      x.unlock(own.fd, USED_AT, FORBIDDEN_AT);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Math.random() * PAUSE_MS);
    }
  } catch (e) {
    closeSync(own.fd);
    throw e;
  }
}

/** Locks belong to an open file: this one is for them alone. Only one that is open for writing takes exclusive locks. */
function openAgain(fd: number): { readonly fd: number; readonly writable: boolean } {
  const name = `/proc/self/fd/${fd}`;
  try {
    return { fd: openSync(name, constants.O_RDWR | constants.O_NONBLOCK), writable: true };
  } catch {
    return { fd: openSync(name, constants.O_RDONLY | constants.O_NONBLOCK), writable: false };
  }
}

/** What another program does that does not go with `uses`; undefined: nothing, and the locks are taken. */
function tryAll(x: FileExtensions, fd: number, uses: readonly number[], writable: boolean): string | undefined {
  const forbids = [WRITE, RESIZE];
  const mine = new Set([...uses.map((p) => USED_AT + p), ...forbids.map((p) => FORBIDDEN_AT + p)]);
  for (const byte of mine) if (!x.tryLock(fd, byte, 1, { shared: true })) return 'is just opening it';
  // A file that we may not write cannot be asked about: who writes to it already is not noticed.
  if (!writable) return undefined;
  const free = (byte: number): boolean => {
    if (!x.tryLock(fd, byte, 1)) return false;
    if (mine.has(byte)) return x.tryLock(fd, byte, 1, { shared: true });
    x.unlock(fd, byte, 1);
    return true;
  };
  if (!forbids.every((p) => free(USED_AT + p))) return 'has it open for writing';
  if (!uses.every((p) => free(FORBIDDEN_AT + p))) return 'reads it and does not want it written';
  return undefined;
}
