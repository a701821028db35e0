/**
 * One console: its ring, the viewers of its output, its log, and the input that waits for the guest to have room.
 *
 * Output is taken from the ring only while no pacing viewer is behind, so a slow terminal slows the guest's writes and
 * nothing is lost; and no faster than its budget allows, so one that nobody waits for does not take the host's time. Input
 * goes into the ring as the guest consumes; `input` says when to stop sending.
 */
import { Budget } from './budget.ts';
import type { LogFile } from './log.ts';
import { type ConsolePage, ConsoleRing } from './ring.ts';
import type { Viewer } from './viewer.ts';

/** Input that waits for the guest, in bytes, before `input` asks for a pause. */
const INPUT_HIGH_WATER = 64 * 1024;
/** Refuse more than this outright: the sender did not pause. */
const INPUT_LIMIT = 16 * INPUT_HIGH_WATER;
/** Rings emptied in one go before others get their turn. */
const BURST = 16;
/** Latest output, kept for viewers who come later. */
const HISTORY = 64 * 1024;

interface Attached {
  readonly viewer: Viewer;
  behind: boolean;
  skipped: number;
}

export interface ConsoleOptions {
  log?: LogFile;
  /** The ring is served whenever the guest asks, however often: for deterministic guests, which time must not concern. */
  unlimited?: boolean;
}

export class Console {
  readonly #ring: ConsoleRing;
  readonly #notify: () => void;
  readonly #log: LogFile | undefined;
  readonly #budget: Budget | undefined;
  readonly #viewers = new Set<Attached>();
  #history: Uint8Array[] = [];
  #historyBytes = 0;
  #input: Uint8Array[] = [];
  #inputBytes = 0;
  #onInputRoom: (() => void)[] = [];
  readonly #onClose = new Set<() => void>();
  #again: ReturnType<typeof setImmediate> | undefined;
  #closed = false;

  constructor(page: ConsolePage, options: ConsoleOptions = {}) {
    this.#ring = new ConsoleRing(page);
    this.#notify = page.notify;
    this.#log = options.log;
    if (!options.unlimited) this.#budget = new Budget(() => this.event());
  }

  /** The guest signalled: there is output, or room for input. */
  event(): void {
    if (this.#closed) return;
    let moved = false;
    for (let left = BURST; ; left--) {
      if (left === 0) {
        this.#later();
        break;
      }
      if (!this.#pump()) break;
      moved = true;
    }
    if (moved) this.#notify();
  }

  /** Shows output from now on; with `replay`, first what the console printed lately. Returns how to stop. */
  attach(viewer: Viewer, { replay = false } = {}): () => void {
    const attached: Attached = { viewer, behind: false, skipped: 0 };
    this.#viewers.add(attached);
    if (replay) for (const bytes of this.#history) this.#show(attached, bytes);
    return () => {
      this.#viewers.delete(attached);
      this.event(); // the guest may have waited for this viewer
    };
  }

  /**
   * Input for the guest, kept in order until it has room. False asks the sender to pause until `onInputRoom` calls; input
   * far beyond that is thrown away.
   */
  input(bytes: Uint8Array): boolean {
    if (this.#closed) return true;
    if (this.#inputBytes + bytes.length <= INPUT_LIMIT) {
      this.#input.push(new Uint8Array(bytes)); // a copy: slice of a Buffer is none
      this.#inputBytes += bytes.length;
      if (this.#feed()) this.#notify();
    }
    return this.#inputBytes < INPUT_HIGH_WATER;
  }

  /** Calls once when there is room for input, or the console is closed. */
  onInputRoom(callback: () => void): void {
    if (this.#closed || this.#inputBytes < INPUT_HIGH_WATER) callback();
    else this.#onInputRoom.push(callback);
  }

  /** Calls once when the console is closed, at once if it is. Returns how not to be called. */
  onClose(callback: () => void): () => void {
    if (this.#closed) callback();
    else this.#onClose.add(callback);
    return () => this.#onClose.delete(callback);
  }

  /** The latest output, at most `limit` bytes. */
  recent(limit: number): Uint8Array {
    const all = Buffer.concat(this.#history);
    return all.subarray(Math.max(0, all.length - limit));
  }

  /** Bytes of input that the guest has not room for yet. */
  get inputPending(): number {
    return this.#inputBytes;
  }

  /** Takes the last output and leaves the page alone from then on. To be called before the page is given back. */
  close(): void {
    if (this.#closed) return;
    const last = this.#ring.read();
    if (last.length > 0) this.#output(last);
    this.#closed = true;
    if (this.#again) clearImmediate(this.#again);
    this.#budget?.close();
    this.#log?.close();
    this.#input = [];
    this.#inputBytes = 0;
    this.#wakeSenders();
    for (const callback of this.#onClose) callback();
    this.#onClose.clear();
  }

  /** Moves what can be moved, once; returns whether anything did. */
  #pump(): boolean {
    const fed = this.#feed();
    for (const { viewer, behind } of this.#viewers) if (viewer.paces && behind) return fed;
    if (this.#budget?.take() === false) return fed;
    const bytes = this.#ring.read();
    if (bytes.length > 0) this.#output(bytes);
    return fed || bytes.length > 0;
  }

  #feed(): boolean {
    let fed = false;
    while (this.#input.length > 0) {
      const count = this.#ring.write(this.#input[0]);
      if (count === 0) break;
      fed = true;
      this.#inputBytes -= count;
      if (count === this.#input[0].length) this.#input.shift();
      else this.#input[0] = this.#input[0].subarray(count);
    }
    if (fed && this.#inputBytes < INPUT_HIGH_WATER) this.#wakeSenders();
    return fed;
  }

  #wakeSenders(): void {
    const waiting = this.#onInputRoom;
    this.#onInputRoom = [];
    for (const callback of waiting) callback();
  }

  #output(bytes: Uint8Array): void {
    this.#log?.write(bytes);
    this.#history.push(bytes);
    this.#historyBytes += bytes.length;
    while (this.#historyBytes - this.#history[0].length >= HISTORY) {
      this.#historyBytes -= this.#history.shift()!.length;
    }
    for (const attached of this.#viewers) this.#show(attached, bytes);
  }

  #show(attached: Attached, bytes: Uint8Array): void {
    const { viewer } = attached;
    if (attached.behind && !viewer.paces) {
      attached.skipped += bytes.length;
      return;
    }
    const wasBehind = attached.behind;
    if (viewer.write(bytes) || wasBehind) return;
    attached.behind = true;
    viewer.onDrain(() => this.#caughtUp(attached));
  }

  #caughtUp(attached: Attached): void {
    attached.behind = false;
    if (attached.skipped > 0) {
      const note = `\r\n[${attached.skipped} bytes of output skipped]\r\n`;
      attached.skipped = 0;
      this.#show(attached, new TextEncoder().encode(note));
    }
    this.event();
  }

  #later(): void {
    this.#again ??= setImmediate(() => {
      this.#again = undefined;
      this.event();
    });
  }
}
