/**
 * The filter of multicast frames that a guest keeps with its back end (public/io/netif.h, "feature-multicast-control"). It
 * lies in memory that outlives the back end's thread, as the front end does not send its addresses again.
 */

/** As Linux's back end. */
const MAX_GROUPS = 64;
/** Bytes of an entry: an address, whether there is one. */
const ENTRY = 8;
const USED = 6;
export const MULTICAST_BYTES = MAX_GROUPS * ENTRY;

export class MulticastFilter {
  readonly #entries: Uint8Array[];

  /** `memory`: MULTICAST_BYTES. */
  constructor(memory: Uint8Array<SharedArrayBuffer>) {
    this.#entries = Array.from({ length: MAX_GROUPS }, (_, i) => memory.subarray(i * ENTRY, (i + 1) * ENTRY));
  }

  /** A new connection: no address. */
  reset(): void {
    for (const entry of this.#entries) entry.fill(0);
  }

  /** False: there is no room for another. One that is there already counts once. */
  add(address: Uint8Array): boolean {
    if (this.has(address)) return true;
    const free = this.#entries.find((e) => e[USED] === 0);
    if (!free) return false;
    free.set(address.subarray(0, USED));
    free[USED] = 1;
    return true;
  }

  remove(address: Uint8Array): void {
    this.#find(address)?.fill(0);
  }

  /** `address`: of a frame, which may begin with it. */
  has(address: Uint8Array): boolean {
    return this.#find(address) !== undefined;
  }

  #find(address: Uint8Array): Uint8Array | undefined {
    return this.#entries.find((e) => {
      if (e[USED] === 0) return false;
      for (let i = 0; i < USED; i++) if (e[i] !== address[i]) return false;
      return true;
    });
  }
}

/** Sent to a group, and not to all. */
export const isMulticast = (frame: Uint8Array): boolean => {
  if ((frame[0] & 1) === 0) return false;
  for (let i = 0; i < 6; i++) if (frame[i] !== 0xff) return true;
  return false;
};
