/**
 * Which queue a frame to the guest goes to, as the guest set it up over the control ring (public/io/netif.h, "Hash types"):
 * a Toeplitz hash over addresses and ports, and a table from hashes to queues. What was set lies in memory that outlives the
 * back end's thread, as the front end does not set it again.
 */
import { XEN_NETIF_CTRL_HASH_ALGORITHM, XEN_NETIF_CTRL_HASH_TYPE } from '../../../abi/netif.ts';
import { type IpAddresses, ipOf, PROTOCOL, transportOf } from './packet.ts';

/** Sizes that Linux's back end has too. */
export const MAX_HASH_KEY = 40;
export const MAX_HASH_MAPPING = 128;

/** Words of the memory. */
const ALGORITHM = 0;
const FLAGS = 1;
const MAPPING_SIZE = 2;
const MAPPING = 3;
const KEY = MAPPING + MAX_HASH_MAPPING;
export const HASH_BYTES = KEY * 4 + MAX_HASH_KEY;

const { IPV4, IPV4_TCP, IPV6, IPV6_TCP } = XEN_NETIF_CTRL_HASH_TYPE;
/** Types of hash that there are, as flags. */
export const HASH_FLAGS = (1 << IPV4) | (1 << IPV4_TCP) | (1 << IPV6) | (1 << IPV6_TCP);

export interface PacketHash {
  /** XEN_NETIF_CTRL_HASH_TYPE. */
  readonly type: number;
  /** 32 bits. */
  readonly value: number;
}

export class HashConfig {
  readonly #words: Uint32Array;
  readonly #key: Uint8Array;

  /** `memory`: HASH_BYTES, aligned to words. */
  constructor(memory: Uint8Array<SharedArrayBuffer>) {
    this.#words = new Uint32Array(memory.buffer, memory.byteOffset, KEY);
    this.#key = new Uint8Array(memory.buffer, memory.byteOffset + KEY * 4, MAX_HASH_KEY);
  }

  /** A new connection: no hash, an empty key, no table. */
  reset(): void {
    this.#words.fill(0);
    this.#key.fill(0);
  }

  get algorithm(): number {
    return this.#words[ALGORITHM];
  }
  set algorithm(value: number) {
    this.#words[ALGORITHM] = value;
  }

  /** Types of hash that are wanted; 0: none. */
  get flags(): number {
    return this.#words[FLAGS];
  }
  set flags(value: number) {
    this.#words[FLAGS] = value;
  }

  /** At most MAX_HASH_KEY bytes; the rest is zeros. */
  setKey(bytes: Uint8Array): void {
    this.#key.fill(0);
    this.#key.set(bytes);
  }

  /** Entries of the table; 0: the hash modulo the number of queues. */
  get mappingSize(): number {
    return this.#words[MAPPING_SIZE];
  }

  /** At most MAX_HASH_MAPPING. */
  setMappingSize(size: number): void {
    this.#words.fill(0, MAPPING, KEY);
    this.#words[MAPPING_SIZE] = size;
  }

  /** Entries from `first` on, each the number of a queue. */
  setMapping(first: number, queues: Uint32Array): void {
    this.#words.set(queues, MAPPING + first);
  }

  /** The hash of a frame; undefined: it is of no type that is wanted. */
  hash(frame: Uint8Array): PacketHash | undefined {
    const { flags } = this;
    if (this.algorithm !== XEN_NETIF_CTRL_HASH_ALGORITHM.TOEPLITZ || flags === 0) return undefined;
    const ip = ipOf(frame);
    if (!ip) return undefined;
    const [plain, tcp] = ip.version === 4 ? [IPV4, IPV4_TCP] : [IPV6, IPV6_TCP];
    const transport = flags & (1 << tcp) ? transportOf(frame) : undefined;
    if (transport?.protocol === PROTOCOL.TCP) {
      return { type: tcp, value: this.#toeplitz(frame, ip, frame.subarray(transport.at, transport.at + 4)) };
    }
    return flags & (1 << plain) ? { type: plain, value: this.#toeplitz(frame, ip, NO_PORTS) } : undefined;
  }

  /** The queue of a frame with this hash; undefined: the guest leaves that to us. */
  queue(hash: PacketHash | undefined, queues: number): number | undefined {
    if (this.algorithm === XEN_NETIF_CTRL_HASH_ALGORITHM.NONE || this.flags === 0) return undefined;
    const value = hash?.value ?? 0;
    const size = this.mappingSize;
    // An entry may be from a time with more queues: what the table says is checked when it is used, too.
    return (size === 0 ? value : this.#words[MAPPING + (value % size)]) % queues;
  }

  #toeplitz(frame: Uint8Array, ip: IpAddresses, ports: Uint8Array): number {
    const key = this.#key;
    let window = ((key[0] << 24) | (key[1] << 16) | (key[2] << 8) | key[3]) >>> 0;
    let at = 4;
    let value = 0;
    const mix = (byte: number) => {
      const next = at < key.length ? key[at] : 0;
      at++;
      for (let bit = 7; bit >= 0; bit--) {
        if ((byte >> bit) & 1) value ^= window;
        window = ((window << 1) | ((next >> bit) & 1)) >>> 0;
      }
    };
    for (let i = ip.from; i < ip.to; i++) mix(frame[i]);
    for (const byte of ports) mix(byte);
    return value >>> 0;
  }
}

const NO_PORTS = new Uint8Array(0);
