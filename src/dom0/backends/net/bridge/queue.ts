/**
 * A queue of Ethernet frames in shared memory: several threads put frames in, one takes them out. A frame and its metadata
 * lie in one piece, so the reader can use them where they are. Putting in is guarded by a lock whose owner is known, so that
 * the lock of a thread that was killed can be taken back: a frame counts only once the tail has moved over it.
 */
import { copyBytes } from '../../../kernel/copy.ts';

/** What an offloading sender left to do, as the netif protocol says it (xen/io/netif.h). */
export interface FrameMeta {
  /** The transport checksum is to be filled in: over the pseudo-header only, so far. */
  readonly checksumBlank: boolean;
  /** Bytes of payload in each segment that this frame is to become; 0: it is one already. */
  readonly gsoSize: number;
  /** XEN_NETIF_GSO_TYPE_*: 1 TCPv4, 2 TCPv6; with gsoSize only. */
  readonly gsoType: number;
}

export const PLAIN: FrameMeta = { checksumBlank: false, gsoSize: 0, gsoType: 0 };

/** Longest frame: what a segmentation offload may hold, with its headers. */
export const MAX_FRAME = 65535 + 18;
/** Words of a queue's control block. */
export const QUEUE_WORDS = 16;

/** Words of the control block. */
const LOCK = 0;
const HEAD = 1;
const TAIL = 2;
const STALLED = 3;
const DROPPED = 4;
const FRAMES = 5;

/** A frame's header in the ring, in words: length (or SKIP), flags and type, segment size, unused. */
const HEADER = 16;
const SKIP = 0xffffffff;
const FLAG_BLANK = 1;

const SPINS = 200;
/**
 * How long to wait for another sender, and for a reader that makes no room: then the frame is dropped. A reader that is alive may get
 * no processor for some 10 ms on a busy host, and a lost frame costs a stream of TCP that keeps the queue full 0.2 s or more.
 */
const LOCK_WAIT_MS = 250;
const ROOM_WAIT_MS = 200;

export class FrameQueue {
  readonly #words: Int32Array;
  readonly #u32: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #base: number;
  readonly #ring: number;
  readonly #size: number;

  /** `control`: byte offset of QUEUE_WORDS words; `ring`: that of `size` bytes (a power of two, above 2 * MAX_FRAME). */
  constructor(memory: SharedArrayBuffer, control: number, ring: number, size: number) {
    this.#words = new Int32Array(memory);
    this.#u32 = new Uint32Array(memory);
    this.#bytes = new Uint8Array(memory);
    this.#base = control >> 2;
    this.#ring = ring;
    this.#size = size;
  }

  get dropped(): number {
    return this.#load(DROPPED) >>> 0;
  }
  get frames(): number {
    return this.#load(FRAMES) >>> 0;
  }

  /** Forgets what is in it; nobody may be using it. */
  reset(): void {
    for (let i = 0; i < QUEUE_WORDS; i++) Atomics.store(this.#words, this.#base + i, 0);
  }

  /**
   * Copies a frame in; false if it was dropped, because there was no room in time. `owner`: a number above 0 that names the
   * sending thread (see `release`). When the reader has been behind for that long once, senders no longer wait for it.
   */
  put(frame: Uint8Array, meta: FrameMeta, owner: number): boolean {
    const need = HEADER + ((frame.length + 15) & ~15);
    if (frame.length === 0 || frame.length > MAX_FRAME || !this.#acquire(owner)) return this.#drop();
    try {
      const at = this.#reserve(need);
      if (at === undefined) return this.#drop();
      const place = (this.#ring + (at & (this.#size - 1))) >>> 2;
      this.#u32[place] = frame.length;
      this.#u32[place + 1] = (meta.checksumBlank ? FLAG_BLANK : 0) | (meta.gsoType << 8);
      this.#u32[place + 2] = meta.gsoSize;
      copyBytes(frame, 0, frame.length, this.#bytes, (place << 2) + HEADER);
      Atomics.store(this.#words, this.#base + TAIL, (at + need) | 0);
      Atomics.add(this.#words, this.#base + FRAMES, 1);
      return true;
    } finally {
      this.release(owner);
    }
  }

  /**
   * The oldest frame, in place: valid until `pop`. Undefined if there is none. Only the reader calls this and `pop`.
   * What a broken sender wrote cannot lead outside the ring.
   */
  peek(): { frame: Uint8Array; meta: FrameMeta } | undefined {
    for (;;) {
      const head = this.#load(HEAD);
      if (head === this.#load(TAIL)) return undefined;
      const offset = head & (this.#size - 1);
      const place = (this.#ring + offset) >>> 2;
      const length = this.#u32[place];
      if (length === SKIP) {
        this.#advance(this.#size - offset);
        continue;
      }
      if (length === 0 || length > MAX_FRAME || offset + HEADER + length > this.#size) {
        // Only a sender that writes past the protocol can do this; start over with what comes.
        Atomics.store(this.#words, this.#base + HEAD, this.#load(TAIL));
        continue;
      }
      const flags = this.#u32[place + 1];
      const start = (place << 2) + HEADER;
      return {
        frame: this.#bytes.subarray(start, start + length),
        meta: {
          checksumBlank: (flags & FLAG_BLANK) !== 0,
          gsoType: (flags >>> 8) & 0xff,
          gsoSize: this.#u32[place + 2],
        },
      };
    }
  }

  /** Done with the frame that `peek` gave. */
  pop(): void {
    const offset = this.#load(HEAD) & (this.#size - 1);
    const length = this.#u32[(this.#ring + offset) >>> 2];
    this.#advance(HEADER + ((length + 15) & ~15));
    Atomics.store(this.#words, this.#base + STALLED, 0);
  }

  /** Gives the lock back if `owner` holds it: at the end of `put`, or for a thread that is gone. */
  release(owner: number): void {
    if (Atomics.compareExchange(this.#words, this.#base + LOCK, owner, 0) === owner) {
      Atomics.notify(this.#words, this.#base + LOCK, 1);
    }
  }

  #advance(bytes: number): void {
    Atomics.store(this.#words, this.#base + HEAD, (this.#load(HEAD) + bytes) | 0);
    Atomics.notify(this.#words, this.#base + HEAD);
  }

  #load(word: number): number {
    return Atomics.load(this.#words, this.#base + word);
  }

  #drop(): false {
    Atomics.add(this.#words, this.#base + DROPPED, 1);
    return false;
  }

  #acquire(owner: number): boolean {
    const at = this.#base + LOCK;
    for (let i = 0; i < SPINS; i++) if (Atomics.compareExchange(this.#words, at, 0, owner) === 0) return true;
    const deadline = performance.now() + LOCK_WAIT_MS;
    for (;;) {
      const holder = Atomics.compareExchange(this.#words, at, 0, owner);
      if (holder === 0) return true;
      if (performance.now() >= deadline) return false;
      Atomics.wait(this.#words, at, holder, 1);
    }
  }

  /** Position of `need` bytes in one piece, of any sign; undefined if the reader makes no room. The lock is held. */
  #reserve(need: number): number | undefined {
    const deadline = performance.now() + ROOM_WAIT_MS;
    for (;;) {
      const tail = this.#load(TAIL);
      const head = this.#load(HEAD);
      const offset = tail & (this.#size - 1);
      const gap = this.#size - offset < need ? this.#size - offset : 0;
      if (this.#size - ((tail - head) >>> 0) >= need + gap) {
        if (gap) this.#u32[(this.#ring + offset) >>> 2] = SKIP;
        return tail + gap;
      }
      if (this.#load(STALLED) || performance.now() >= deadline) {
        Atomics.store(this.#words, this.#base + STALLED, 1);
        return undefined;
      }
      Atomics.wait(this.#words, this.#base + HEAD, head, 1);
    }
  }
}
