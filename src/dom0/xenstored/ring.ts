/**
 * XenStore over a page shared with a domain (docs/misc/xenstore-ring.txt): two rings of 1 KiB with free-running indices.
 * The page is the guest's to scribble on: every index is read once per use and checked, and only byte counts follow from it.
 */
import {
  XENSTORE_CONNECTED,
  XENSTORE_ERROR,
  XENSTORE_RECONNECT,
  XENSTORE_RING_SIZE,
  XENSTORE_SERVER_FEATURE_ERROR,
  XENSTORE_SERVER_FEATURE_RECONNECTION,
  XenstoreDomainInterface,
} from '../../abi/xs_wire.ts';
import type { Connection } from './connection.ts';

/** Messages handled before others get their turn. */
const BURST = 64;

const { off } = XenstoreDomainInterface;
const MASK = XENSTORE_RING_SIZE - 1;

export interface RingPage {
  /** Machine memory; the page is its bytes `address` to `address + 4095`. */
  readonly memory: SharedArrayBuffer;
  readonly address: number;
  /** Signals the guest's end of the event channel. */
  readonly notify: () => void;
  /** Called when the page is not used any more, if it is xenstored's to give back. */
  readonly release?: () => void;
}

export class XenstoreRing {
  readonly #connection: Connection;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #notify: () => void;
  #closed = false;
  #state: 'idle' | 'moving' | 'notifying' = 'idle';
  #again: ReturnType<typeof setImmediate> | undefined;

  constructor(page: RingPage, connection: Connection) {
    this.#connection = connection;
    this.#bytes = new Uint8Array(page.memory, page.address, 2 * XENSTORE_RING_SIZE);
    this.#words = new Int32Array(page.memory, page.address, XenstoreDomainInterface.size >>> 2);
    this.#notify = page.notify;
    this.#store(off.server_features, XENSTORE_SERVER_FEATURE_RECONNECTION | XENSTORE_SERVER_FEATURE_ERROR);
    this.#store(off.error, XENSTORE_ERROR.NONE);
  }

  /** The guest signalled: moves bytes both ways until nothing moves any more, within reason. */
  service(): void {
    if (this.#closed) return;
    if (this.#state !== 'idle') {
      this.#later();
      return;
    }
    this.#state = 'moving';
    try {
      const moved = this.#service();
      this.#state = 'notifying';
      if (moved) this.#notify();
    } finally {
      this.#state = 'idle';
    }
  }

  /** The connection has output. */
  output(): void {
    if (this.#state !== 'moving') this.service();
  }

  /** The page is not touched any more. */
  close(): void {
    this.#closed = true;
    if (this.#again) clearImmediate(this.#again);
  }

  /** Returns whether the guest is to be told. */
  #service(): boolean {
    let moved = this.#reconnect();
    for (let left = BURST; left > 0; left--) {
      if (this.#connection.broken) return moved;
      const sent = this.#send();
      const received = this.#receive();
      if (sent < 0 || received < 0) {
        this.#fail(XENSTORE_ERROR.RINGIDX);
        return true;
      }
      if (this.#connection.broken) {
        this.#fail(XENSTORE_ERROR.PROTO);
        return true;
      }
      if (sent === 0 && received === 0) return moved;
      moved = true;
    }
    this.#later();
    return moved;
  }

  #later(): void {
    this.#again ??= setImmediate(() => {
      this.#again = undefined;
      this.service();
    });
  }

  /** The guest asked to start over. Answered even after an error. */
  #reconnect(): boolean {
    if (this.#load(off.connection) !== XENSTORE_RECONNECT) return false;
    this.#connection.reset();
    for (const index of [off.req_cons, off.req_prod, off.rsp_cons, off.rsp_prod]) this.#store(index, 0);
    this.#store(off.error, XENSTORE_ERROR.NONE);
    this.#store(off.connection, XENSTORE_CONNECTED);
    return true;
  }

  #fail(error: number): void {
    this.#connection.fail();
    this.#store(off.error, error);
  }

  /** Requests to the connection. Returns the bytes it took, -1 for indices that cannot be. */
  #receive(): number {
    const cons = this.#load(off.req_cons);
    const filled = (this.#load(off.req_prod) - cons) >>> 0;
    if (filled > XENSTORE_RING_SIZE) return -1;
    const at = cons & MASK;
    const run = Math.min(filled, XENSTORE_RING_SIZE - at);
    if (run === 0) return 0;
    // A copy: the guest can change the bytes while they are looked at.
    const took = this.#connection.feed(this.#bytes.slice(off.req + at, off.req + at + run));
    this.#store(off.req_cons, cons + took);
    return took;
  }

  /** Answers and events to the guest. Returns the bytes that went, -1 for indices that cannot be. */
  #send(): number {
    const prod = this.#load(off.rsp_prod);
    const filled = (prod - this.#load(off.rsp_cons)) >>> 0;
    if (filled > XENSTORE_RING_SIZE) return -1;
    const at = prod & MASK;
    const bytes = this.#connection.take(Math.min(XENSTORE_RING_SIZE - filled, XENSTORE_RING_SIZE - at));
    if (bytes.length === 0) return 0;
    this.#bytes.set(bytes, off.rsp + at);
    this.#store(off.rsp_prod, prod + bytes.length);
    return bytes.length;
  }

  #load(offset: number): number {
    return Atomics.load(this.#words, offset >>> 2);
  }

  #store(offset: number, value: number): void {
    Atomics.store(this.#words, offset >>> 2, value | 0);
  }
}
