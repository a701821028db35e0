/**
 * A domain's console log. It holds at most `limit` bytes: when full it becomes `<file>.1`, replacing an older one, and
 * starts again, so that a guest cannot fill the disk. Writes are synchronous: they are small, and survive a crash of ours.
 */
import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

export const DEFAULT_LOG_LIMIT = 1024 * 1024;

export class LogFile {
  readonly path: string;
  readonly #limit: number;
  readonly #onError: (error: Error) => void;
  #fd: number | undefined;
  #size = 0;

  /** Appends to what is there. An error, now or later, ends the log and is told to `onError`: the console goes on. */
  constructor(path: string, limit = DEFAULT_LOG_LIMIT, onError: (error: Error) => void = () => {}) {
    this.path = path;
    this.#limit = limit;
    this.#onError = onError;
    this.#guard(() => {
      mkdirSync(dirname(path), { recursive: true });
      this.#open();
    });
  }

  write(bytes: Uint8Array): void {
    let rest = bytes;
    this.#guard(() => {
      while (rest.length > 0 && this.#fd !== undefined) {
        if (this.#size >= this.#limit) this.#rotate();
        const written = writeSync(this.#fd, rest, 0, Math.min(rest.length, this.#limit - this.#size));
        this.#size += written;
        rest = rest.subarray(written);
      }
    });
  }

  close(): void {
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    this.#fd = undefined;
  }

  #open(): void {
    this.#fd = openSync(this.path, 'a');
    this.#size = fstatSync(this.#fd).size;
  }

  #rotate(): void {
    this.close();
    renameSync(this.path, `${this.path}.1`);
    this.#open();
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (this.#fd !== undefined) closeSync(this.#fd);
      this.#fd = undefined;
      this.#onError(error as Error);
    }
  }
}
