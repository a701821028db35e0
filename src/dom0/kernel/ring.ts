/**
 * The back end's half of a shared ring (public/io/ring.h): requests are taken in order and answered in the same order.
 *
 * Everything in the pages is the front end's to scribble on at any time. So a request is copied out before it is looked
 * at, the back end's own indices are kept elsewhere, and of the shared ones each is read once per use and checked.
 *
 * What is kept elsewhere is the journal: memory that outlives the back end's thread. With it a new thread goes on where a
 * killed one stopped: requests that were taken and not answered are taken again, from the journal, as their slots in the
 * ring may hold half an answer. Requests must bear being carried out twice.
 */
import { Sring } from '../../abi/ring.ts';
import { PAGE_SIZE } from './memory.ts';

const { off } = Sring;
const HEAD = Sring.size;

/** Words of a journal; copies of the requests follow. */
const LIVE = 0;
const CONS = 1;
const PROD = 2;
const JOURNAL_HEAD = 64;

/** Entries of a ring of `pages` pages: the largest power of two that fits. */
export const ringSize = (pages: number, entrySize: number): number =>
  2 ** Math.floor(Math.log2((pages * PAGE_SIZE - HEAD) / entrySize));

/** Bytes of journal that a ring needs. */
export const journalSize = (pages: number, entrySize: number): number =>
  JOURNAL_HEAD + ringSize(pages, entrySize) * entrySize;

/** The front end put an impossible index into the ring. */
export class RingError extends Error {
  override readonly name = 'RingError';
}

export interface RingOptions {
  readonly memory: SharedArrayBuffer;
  /** Machine addresses of the ring's pages, in order. */
  readonly pages: readonly number[];
  /** Size in bytes of the larger of request and response. */
  readonly entrySize: number;
  /** At least journalSize bytes. */
  readonly journal: Uint8Array<SharedArrayBuffer>;
  /** Go on where the journal says that another thread stopped. */
  readonly resume: boolean;
}

/** Can a ring be resumed from this journal? */
export function journalIsLive(journal: Uint8Array<SharedArrayBuffer>): boolean {
  return new Int32Array(journal.buffer, journal.byteOffset, 1)[LIVE] !== 0;
}

export class BackRing {
  /** Requests that the ring holds, a power of two. */
  readonly size: number;
  /** The request that `take` took last: a copy that nobody else changes, valid until the next `take`. */
  readonly request: DataView;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #pages: readonly number[];
  readonly #entry: number;
  readonly #journal: Int32Array;
  readonly #copies: Uint8Array;
  /** Requests taken by this thread; the journal's may be ahead after a resume. */
  #cons: number;
  /** Responses that the front end can see. */
  #pushed: number;

  constructor(o: RingOptions) {
    this.size = ringSize(o.pages.length, o.entrySize);
    this.#bytes = new Uint8Array(o.memory);
    this.#words = new Int32Array(o.memory);
    this.#pages = o.pages;
    this.#entry = o.entrySize;
    this.#journal = new Int32Array(o.journal.buffer, o.journal.byteOffset, JOURNAL_HEAD / 4);
    this.#copies = o.journal.subarray(JOURNAL_HEAD, JOURNAL_HEAD + this.size * o.entrySize);
    this.request = new DataView(new ArrayBuffer(o.entrySize));
    if (!o.resume) {
      // A front end may have made requests, and even have had answers, before it connected to us.
      const start = this.#load(off.rsp_prod);
      this.#journal[CONS] = start;
      this.#journal[PROD] = start;
    }
    this.#cons = this.#journal[PROD];
    this.#pushed = this.#journal[PROD];
    Atomics.store(this.#journal, LIVE, 1);
  }

  /** Nothing is to be resumed any more: the connection ends in order. */
  close(): void {
    Atomics.store(this.#journal, LIVE, 0);
  }

  /** Requests that wait. Throws RingError if there are more than the ring can hold. */
  waiting(): number {
    const prod = this.#load(off.req_prod);
    const inFlight = (prod - this.#journal[PROD]) | 0;
    if (inFlight < 0 || inFlight > this.size) {
      throw new RingError(`request producer ${prod >>> 0} with ${this.#journal[PROD] >>> 0} answered of ${this.size}`);
    }
    return (prod - this.#cons) | 0;
  }

  /** Takes the next request, which must be waiting, into `request`. */
  take(): void {
    const slot = this.#cons & (this.size - 1);
    const copy = this.#copies.subarray(slot * this.#entry, (slot + 1) * this.#entry);
    if (this.#cons === this.#journal[CONS]) {
      this.#copyOut(HEAD + slot * this.#entry, copy);
      Atomics.store(this.#journal, CONS, (this.#cons + 1) | 0);
    }
    new Uint8Array(this.request.buffer).set(copy);
    this.#cons = (this.#cons + 1) | 0;
  }

  /** Answers the oldest request that is not answered; the front end sees it after `push`. */
  respond(response: Uint8Array): void {
    const prod = this.#journal[PROD];
    this.#copyIn(HEAD + (prod & (this.size - 1)) * this.#entry, response);
    Atomics.store(this.#journal, PROD, (prod + 1) | 0);
  }

  /** Shows the front end all answers. Returns whether it wants to be signalled (RING_PUSH_RESPONSES_AND_CHECK_NOTIFY). */
  push(): boolean {
    const old = this.#pushed;
    const now = this.#journal[PROD];
    if (old === now) return false;
    this.#pushed = now;
    this.#store(off.rsp_prod, now);
    return (now - this.#load(off.rsp_event)) >>> 0 < (now - old) >>> 0;
  }

  /** Shows the front end all answers, and leaves it to a later `push` whether it is to be signalled. */
  show(): void {
    this.#store(off.rsp_prod, this.#journal[PROD]);
  }

  /** As `push`, after a resume: what the thread before pushed, and signalled, is not known. */
  pushAll(): void {
    this.#pushed = this.#journal[PROD];
    this.#store(off.rsp_prod, this.#pushed);
  }

  /**
   * Asks for a signal when `count` requests wait, and looks again (RING_FINAL_CHECK_FOR_REQUESTS). True: they have come
   * meanwhile, perhaps without a signal.
   */
  arm(count = 1): boolean {
    this.#store(off.req_event, (this.#cons + count) | 0);
    return this.waiting() >= count;
  }

  #copyOut(at: number, into: Uint8Array): void {
    for (let done = 0; done < into.length; ) {
      const { from, run } = this.#piece(at + done, into.length - done);
      into.set(this.#bytes.subarray(from, from + run), done);
      done += run;
    }
  }

  #copyIn(at: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const { from, run } = this.#piece(at + done, bytes.length - done);
      this.#bytes.set(bytes.subarray(done, done + run), from);
      done += run;
    }
  }

  /** Machine address of the ring's byte `at`, and how many of `length` bytes lie in its page. */
  #piece(at: number, length: number): { from: number; run: number } {
    const inPage = at % PAGE_SIZE;
    return { from: this.#pages[(at - inPage) / PAGE_SIZE] + inPage, run: Math.min(length, PAGE_SIZE - inPage) };
  }

  #load(offset: number): number {
    return Atomics.load(this.#words, (this.#pages[0] + offset) >>> 2);
  }

  #store(offset: number, value: number): void {
    Atomics.store(this.#words, (this.#pages[0] + offset) >>> 2, value);
  }
}
