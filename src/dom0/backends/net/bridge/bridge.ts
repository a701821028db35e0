/**
 * A learning bridge without a thread of its own: its ports' queues and its table of addresses lie in shared memory, and
 * whoever has a frame (the back end of a vif, an uplink) puts it into the queues of the ports that it is for. A thread that
 * is killed in the middle harms no other port once `detach` was called for it.
 */
import { FORWARDING_BYTES, ForwardingTable } from './forwarding.ts';
import { type FrameMeta, FrameQueue, QUEUE_WORDS } from './queue.ts';

export const MAX_PORTS = 64;
/** Of each port's queue. Memory that is not touched costs nothing. */
const RING_BYTES = 512 << 10;
/** Words of a port: its state, where its doorbell is, its own doorbell; then the queue's. */
const STATE = 0;
const DOORBELL_AT = 1;
const OWN_DOORBELL = 2;
const PORT_WORDS = 16 + QUEUE_WORDS;
const QUEUE_AT = 16;
const PORTS_AT = FORWARDING_BYTES;
const RINGS_AT = Math.ceil((PORTS_AT + MAX_PORTS * PORT_WORDS * 4) / 4096) * 4096;
const FREE = 0;
const UP = 1;

/** Shortest Ethernet header: two addresses and a type. */
const ETHERNET_HEADER = 14;

export const createBridgeMemory = () => new SharedArrayBuffer(RINGS_AT + MAX_PORTS * RING_BYTES);

/** A word that is incremented and notified when a port has frames. */
export interface Doorbell {
  readonly words: Int32Array;
  readonly index: number;
}

export interface PortCounters {
  /** Frames that were put into the port's queue, and that were dropped for want of room. */
  readonly frames: number;
  readonly dropped: number;
}

export class Bridge {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #machine: Int32Array | undefined;
  readonly #table: ForwardingTable;
  readonly #queues: FrameQueue[];

  /** `machine`: machine memory, which a thread needs to wake ports that have their doorbells there. */
  constructor(memory: SharedArrayBuffer, machine?: Int32Array) {
    this.memory = memory;
    this.#words = new Int32Array(memory);
    this.#machine = machine;
    this.#table = new ForwardingTable(memory, 0);
    this.#queues = Array.from({ length: MAX_PORTS }, (_, port) => {
      const control = PORTS_AT + (port * PORT_WORDS + QUEUE_AT) * 4;
      return new FrameQueue(memory, control, RINGS_AT + port * RING_BYTES, RING_BYTES);
    });
  }

  /** Takes a free port; -1 if there is none. Called by the control domain's thread only. */
  attach(): number {
    for (let port = 0; port < MAX_PORTS; port++) {
      if (Atomics.load(this.#words, this.#at(port, STATE)) !== FREE) continue;
      this.#queues[port].reset();
      Atomics.store(this.#words, this.#at(port, DOORBELL_AT), -1);
      Atomics.store(this.#words, this.#at(port, STATE), UP);
      return port;
    }
    return -1;
  }

  /** For the thread that has the port, before anything else: takes back what one that was killed before it left locked. */
  recover(port: number): void {
    for (const queue of this.#queues) queue.release(port + 1);
    this.#table.forget(port);
  }

  /** Frees a port whose thread has ended or was killed, and the locks that it held. Control domain's thread only. */
  detach(port: number): void {
    Atomics.store(this.#words, this.#at(port, STATE), FREE);
    this.recover(port);
  }

  /** The queue of frames for a port: for the thread that has it. */
  queue(port: number): FrameQueue {
    return this.#queues[port];
  }

  /** The thread that has the port is to be woken by word `index` of machine memory, instead of the port's own doorbell. */
  setDoorbell(port: number, index: number): void {
    Atomics.store(this.#words, this.#at(port, DOORBELL_AT), index);
  }

  /** The port's own doorbell. */
  doorbell(port: number): Doorbell {
    return { words: this.#words, index: this.#at(port, OWN_DOORBELL) };
  }

  counters(port: number): PortCounters {
    const { frames, dropped } = this.#queues[port];
    return { frames, dropped };
  }

  /** Sends a frame that came in at `from` to where it belongs. Too short ones are dropped. */
  forward(from: number, frame: Uint8Array, meta: FrameMeta): void {
    if (frame.length < ETHERNET_HEADER) return;
    const source = frame.subarray(6, 12);
    const group = (frame[0] & 1) !== 0;
    if ((source[0] & 1) === 0) this.#table.learn(source, from);
    const to = group ? -1 : this.#table.find(frame);
    if (to === from) return;
    if (to >= 0 && this.#up(to)) {
      this.#deliver(to, from, frame, meta);
      return;
    }
    for (let port = 0; port < MAX_PORTS; port++)
      if (port !== from && this.#up(port)) this.#deliver(port, from, frame, meta);
  }

  #up(port: number): boolean {
    return Atomics.load(this.#words, this.#at(port, STATE)) === UP;
  }

  #deliver(port: number, from: number, frame: Uint8Array, meta: FrameMeta): void {
    if (!this.#queues[port].put(frame, meta, from + 1)) return;
    const at = Atomics.load(this.#words, this.#at(port, DOORBELL_AT));
    const words = at >= 0 ? this.#machine : this.#words;
    const index = at >= 0 ? at : this.#at(port, OWN_DOORBELL);
    if (!words) throw new Error('a port has its doorbell in machine memory, which this thread was not given');
    Atomics.add(words, index, 1);
    Atomics.notify(words, index);
  }

  #at(port: number, word: number): number {
    return (PORTS_AT >> 2) + port * PORT_WORDS + word;
  }
}
