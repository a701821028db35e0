/**
 * A pseudo-terminal for a console: what `console/tty` in XenStore names, for `minicom`, `screen` and the like. Output waits
 * for whoever opens it, the latest `CONSOLE_LIMIT` bytes of it, so that it may be opened and closed at any time without
 * loss; it never holds the guest up.
 *
 * The pty itself comes from an optional package (docs/SUPPORT.md). Its stream on the master writes blockingly, so output
 * goes to the descriptor directly, which does not block, and is tried again by a timer while it is full: nothing tells
 * when there is room.
 */
import { closeSync, constants, fstatSync, openSync, readdirSync, statSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { ReadStream } from 'node:tty';
import { Backlog } from './backlog.ts';
import type { Console } from './console.ts';
import { CONSOLE_LIMIT } from './limits.ts';

/** How long a full pty is left alone, in ms: at first, and at most (nobody has it open). */
const RETRY_MIN = 2;
const RETRY_MAX = 200;

/** The part of @lydell/node-pty that is used: `open` makes a pair without a process. */
interface OpenedPty {
  readonly fd: number;
  readonly ptsName: string;
  readonly master: ReadStream;
  readonly slave: ReadStream;
}
interface PtyLibrary {
  open(options: { encoding: null }): OpenedPty;
}

/** undefined: the package is not installed, or not for this system. */
function library(): PtyLibrary | undefined {
  try {
    return createRequire(import.meta.url)('@lydell/node-pty') as PtyLibrary;
  } catch {
    return undefined;
  }
}

/** The descriptor that a terminal's stream reads from: libuv opens a slave anew, and leaves the one that it was given open. */
const descriptorOf = (stream: ReadStream) => (stream as unknown as { _handle: { fd: number } })._handle.fd;

/** The slave's descriptor that the package has opened and lost. */
function lostDescriptor(opened: OpenedPty): number | undefined {
  const { rdev } = statSync(opened.ptsName);
  const isSlave = (fd: number) => {
    try {
      return fd !== descriptorOf(opened.slave) && fstatSync(fd).rdev === rdev;
    } catch {
      return false; // The folder's own, which is closed by now.
    }
  };
  return readdirSync('/dev/fd').map(Number).find(isSlave);
}

/** A stream on the terminal's slave that owns all that it has opened. */
function openSlave(path: string): ReadStream {
  const fd = openSync(path, constants.O_RDWR | constants.O_NOCTTY);
  const stream = new ReadStream(fd);
  if (descriptorOf(stream) !== fd) closeSync(fd);
  return stream;
}

export class Pty {
  /** Of the terminal: /dev/pts/N. */
  readonly path: string;
  readonly #fd: number;
  readonly #master: ReadStream;
  /** Held open so that the pty survives those who open and close it. Never read from. */
  readonly #slave: ReadStream;
  readonly #waiting = new Backlog(CONSOLE_LIMIT);
  readonly #detach: () => void;
  #retry = RETRY_MIN;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  private constructor(opened: OpenedPty, console: Console) {
    this.path = opened.ptsName;
    this.#fd = opened.fd;
    this.#master = opened.master;
    const lost = lostDescriptor(opened);
    this.#slave = openSlave(this.path);
    this.#slave.setRawMode(true);
    opened.slave.destroy(); // it would take the input of those who open the terminal
    if (lost !== undefined) closeSync(lost);
    this.#master.removeAllListeners('error'); // the package's own needs a process
    this.#master.on('error', () => this.close());
    this.#master.on('data', (bytes: Uint8Array) => this.#input(console, bytes));
    this.#detach = console.attach({ paces: false, write: (bytes) => this.#output(bytes), onDrain: () => {} });
  }

  /** A pty that shows `console` and types into it; undefined where there are none. */
  static open(console: Console): Pty | undefined {
    const opened = library()?.open({ encoding: null });
    return opened && new Pty(opened, console);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#detach();
    // Not the package's `destroy`, which signals a process that there is not.
    this.#slave.destroy();
    this.#master.destroy();
  }

  #input(console: Console, bytes: Uint8Array): void {
    if (console.input(bytes)) return;
    this.#master.pause();
    console.onInputRoom(() => this.#master.resume());
  }

  #output(bytes: Uint8Array): boolean {
    this.#waiting.push(bytes);
    if (this.#timer === undefined) this.#flush();
    return true;
  }

  #flush(): void {
    this.#timer = undefined;
    while (this.#waiting.length > 0 && !this.#closed) {
      const written = this.#write(this.#waiting.head());
      if (written === 0) {
        this.#timer = setTimeout(() => this.#flush(), this.#retry);
        this.#timer.unref(); // output that nobody reads keeps no process alive
        this.#retry = Math.min(2 * this.#retry, RETRY_MAX);
        return;
      }
      this.#retry = RETRY_MIN;
      this.#waiting.drop(written);
    }
  }

  /** Bytes that went; 0: the terminal is full. */
  #write(bytes: Uint8Array): number {
    try {
      return writeSync(this.#fd, bytes);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
      this.close();
      return bytes.length;
    }
  }
}
