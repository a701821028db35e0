/**
 * Which port a MAC address was last seen at, in shared memory: a table of small sets, each entry guarded by a sequence
 * count, so that a reader that meets a writer just finds nothing (and the frame goes to all ports).
 */

/** Sets of WAYS entries; an address belongs to one set. */
const SETS = 512;
const WAYS = 4;
/** Words of an entry: sequence (odd while it is written), low 32 bits of the address, high 16 with the port, seconds. */
const ENTRY_WORDS = 4;
export const FORWARDING_BYTES = SETS * WAYS * ENTRY_WORDS * 4;
/** As Linux's bridge (ageing_time). */
const AGE_S = 300;
/** An entry is not written again for an address that is still where it was, before this. */
const REFRESH_S = 10;

export class ForwardingTable {
  readonly #words: Int32Array;
  readonly #now: () => number;

  constructor(
    memory: SharedArrayBuffer,
    offset: number,
    now = () => Math.floor(performance.timeOrigin / 1000 + performance.now() / 1000),
  ) {
    this.#words = new Int32Array(memory, offset, FORWARDING_BYTES >> 2);
    this.#now = now;
  }

  /** `mac`: at least 6 bytes. */
  learn(mac: Uint8Array, port: number): void {
    const [high, low, set] = key(mac);
    const now = this.#now();
    const wanted = (high << 16) | port;
    let victim = set;
    for (let at = set; at < set + WAYS * ENTRY_WORDS; at += ENTRY_WORDS) {
      const age = now - this.#words[at + 3];
      if (this.#words[at + 1] === low && this.#words[at + 2] >>> 16 === high) {
        if (this.#words[at + 2] === wanted && age < REFRESH_S) return;
        victim = at;
        break;
      }
      if (age > now - this.#words[victim + 3]) victim = at;
    }
    const sequence = Atomics.load(this.#words, victim);
    // Somebody else is at it: the next frame will do.
    if (sequence & 1 || Atomics.compareExchange(this.#words, victim, sequence, sequence + 1) !== sequence) return;
    Atomics.store(this.#words, victim + 1, low);
    Atomics.store(this.#words, victim + 2, wanted);
    Atomics.store(this.#words, victim + 3, now);
    Atomics.store(this.#words, victim, (sequence + 2) | 0);
  }

  /** The port, or -1. */
  find(mac: Uint8Array): number {
    const [high, low, set] = key(mac);
    for (let at = set; at < set + WAYS * ENTRY_WORDS; at += ENTRY_WORDS) {
      const sequence = Atomics.load(this.#words, at);
      const place = Atomics.load(this.#words, at + 2);
      const fresh = this.#now() - Atomics.load(this.#words, at + 3) < AGE_S;
      if (fresh && place >>> 16 === high && Atomics.load(this.#words, at + 1) === low) {
        return sequence & 1 || Atomics.load(this.#words, at) !== sequence ? -1 : place & 0xffff;
      }
    }
    return -1;
  }

  /** Forgets what was seen at a port, which nobody uses any more, and what a thread left half written. */
  forget(port: number): void {
    for (let at = 0; at < this.#words.length; at += ENTRY_WORDS) {
      const sequence = Atomics.load(this.#words, at);
      if ((Atomics.load(this.#words, at + 2) & 0xffff) === port || sequence & 1) {
        Atomics.store(this.#words, at + 3, 0);
        if (sequence & 1) Atomics.store(this.#words, at, (sequence + 1) | 0);
      }
    }
  }
}

/** High 16 and low 32 bits of the address, and the word where its set begins. */
function key(mac: Uint8Array): [number, number, number] {
  const high = (mac[0] << 8) | mac[1];
  const low = (mac[2] << 24) | (mac[3] << 16) | (mac[4] << 8) | mac[5];
  const hash = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b) >>> 23;
  return [high, low, (hash % SETS) * WAYS * ENTRY_WORDS];
}
