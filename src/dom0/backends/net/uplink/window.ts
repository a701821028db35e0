/**
 * Receive windows of the guest's TCP connections, as passt sees them. passt sends all that a window allows at once, into a socket that
 * takes some 200 KiB, and loses what does not fit. It takes the first repeated acknowledgement for a loss and sends the whole
 * window again, whose parts the guest acknowledges once more, and so on: a stream that has lost one frame carries each byte
 * five times and more. So windows are lowered until all of them together fit.
 */
import { fold, putWord } from '../checksum.ts';
import { PROTOCOL, type Transport, transportOf, word } from '../packet.ts';

/** Bytes that may be under way to the guest, of all connections; and least of one. */
const TOGETHER = 96 << 10;
const LEAST = 8 << 10;
/** Connections that are known at a time; those that were silent for longest are forgotten. */
const MAX_KNOWN = 4096;
/** One that was heard of within this time (ms) has its part; how often they are counted. */
const ACTIVE_MS = 1000;
const COUNT_MS = 100;

const SYN = 0x02;
const RST = 0x04;
const [END, NOP, WINDOW_SCALE] = [0, 1, 3];
/** RFC 7323 2.3. */
const MAX_SCALE = 14;

interface Connection {
  /** The guest's window field counts units of 2^scale bytes. */
  readonly scale: number;
  /** When it was last heard of. */
  seen: number;
}

export class WindowLimit {
  readonly #now: () => number;
  readonly #known = new Map<string, Connection>();
  #each = TOGETHER;
  #counted = Number.NEGATIVE_INFINITY;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** A frame from the guest, checksums filled in, that is on its way to passt: its window is lowered in place. */
  apply(frame: Uint8Array): void {
    const t = transportOf(frame);
    if (t?.protocol !== PROTOCOL.TCP) return;
    const flags = frame[t.at + 13];
    const key = keyOf(frame, t);
    const now = this.#now();
    if (flags & (SYN | RST)) {
      this.#known.delete(key);
      // The window of a SYN is not scaled.
      if (!(flags & RST)) this.#learn(key, { scale: scaleOf(frame, t), seen: now });
      return;
    }
    const c = this.#known.get(key);
    // Begun with another passt: what its window means is not known.
    if (!c) return;
    c.seen = now;
    this.#count(now);
    const most = Math.max(1, this.#each >> c.scale);
    if (word(frame, t.at + 14) > most) setWindow(frame, t, most);
  }

  #learn(key: string, c: Connection): void {
    this.#known.set(key, c);
    if (this.#known.size <= MAX_KNOWN) return;
    let [oldest, since] = ['', Number.POSITIVE_INFINITY];
    for (const [k, { seen }] of this.#known) if (seen < since) [oldest, since] = [k, seen];
    this.#known.delete(oldest);
  }

  #count(now: number): void {
    if (now - this.#counted < COUNT_MS) return;
    this.#counted = now;
    let active = 0;
    for (const { seen } of this.#known.values()) if (now - seen < ACTIVE_MS) active++;
    this.#each = Math.max(LEAST, Math.floor(TOGETHER / Math.max(1, active)));
  }
}

/** Both addresses and ports. */
function keyOf(frame: Uint8Array, t: Transport): string {
  const addresses = t.version === 4 ? frame.subarray(t.ip + 12, t.ip + 20) : frame.subarray(t.ip + 8, t.ip + 40);
  return String.fromCharCode(...addresses, ...frame.subarray(t.at, t.at + 4));
}

/** What the window scale option of a SYN says; 0 without one. */
function scaleOf(frame: Uint8Array, t: Transport): number {
  for (let at = t.at + 20; at < t.payload; ) {
    const kind = frame[at];
    if (kind === END) break;
    if (kind === NOP) {
      at++;
      continue;
    }
    const length = at + 1 < t.payload ? frame[at + 1] : 0;
    if (length < 2) break;
    if (kind === WINDOW_SCALE && length === 3 && at + 2 < t.payload) return Math.min(frame[at + 2], MAX_SCALE);
    at += length;
  }
  return 0;
}

/** The checksum follows (RFC 1624). */
function setWindow(frame: Uint8Array, t: Transport, window: number): void {
  const [before, checksum] = [word(frame, t.at + 14), word(frame, t.checksum)];
  putWord(frame, t.at + 14, window);
  putWord(frame, t.checksum, fold((~checksum & 0xffff) + (~before & 0xffff) + window));
}
