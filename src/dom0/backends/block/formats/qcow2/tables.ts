/**
 * L1 and L2 tables of a qcow2 image: where in the file the guest's clusters lie. Changes are written at once, so that they
 * outlive this thread; the order against refcounts is the caller's.
 */
import type { HostFile } from '../../host-file.ts';
import { ImageError } from '../../image.ts';
import type { Header } from './header.ts';
import type { Refcounts } from './refcounts.ts';

/** Bits of entries, in the high half of the 64: this cluster has refcount 1; it is compressed. */
const COPIED = 0x8000_0000;
const COMPRESSED = 0x4000_0000;
const OFFSET_HIGH = 0x00ff_ffff;
/** In the low half: reads as zeros (version 3). */
const ZERO = 1;
const OFFSET_LOW = 0xffff_fe00;

/** Bytes of a file that we reach: offsets stay exact as numbers. */
const MAX_HOST = 2 ** 52;
/** L2 tables kept in memory, in bytes. */
const CACHE_BYTES = 16 << 20;

export type Entry =
  | { readonly kind: 'unallocated' }
  /** `host`: cluster that is set aside for it, 0: none. */
  | { readonly kind: 'zero'; readonly host: number; readonly copied: boolean }
  | { readonly kind: 'data'; readonly host: number; readonly copied: boolean }
  | { readonly kind: 'compressed'; readonly host: number; readonly length: number };

const UNALLOCATED: Entry = { kind: 'unallocated' };

interface L2 {
  readonly offset: number;
  readonly bytes: Buffer;
}

export class Tables {
  readonly #file: HostFile;
  readonly #bits: number;
  readonly #cluster: number;
  readonly #version: number;
  /** Tables lie below this: the file's end, or that of a table we added. */
  #end: number;
  readonly #l1Offset: number;
  readonly #l1: Buffer;
  readonly #refcounts: Refcounts | undefined;
  readonly #cache = new Map<number, L2>();
  readonly #cacheLimit: number;
  /** Entries of an L2 table. */
  readonly perL2: number;

  /** `refcounts`: of an image that is written to. */
  constructor(file: HostFile, header: Header, l1: Buffer, refcounts: Refcounts | undefined) {
    this.#file = file;
    this.#bits = header.clusterBits;
    this.#cluster = 2 ** header.clusterBits;
    this.#version = header.version;
    this.#end = Math.ceil(file.size / this.#cluster) * this.#cluster;
    this.#l1Offset = header.l1Offset;
    this.#l1 = l1;
    this.#refcounts = refcounts;
    this.perL2 = this.#cluster / 8;
    this.#cacheLimit = Math.max(2, CACHE_BYTES / this.#cluster);
  }

  get l1Size(): number {
    return this.#l1.length / 8;
  }

  /** Host offset of an L2 table, 0: none. Throws if it cannot be one. */
  l2Offset(index: number): number {
    const high = this.#l1.readUInt32BE(index * 8) & OFFSET_HIGH;
    const at = high * 2 ** 32 + ((this.#l1.readUInt32BE(index * 8 + 4) & OFFSET_LOW) >>> 0);
    if (at === 0) return 0;
    if (at % this.#cluster !== 0 || at + this.#cluster > this.#end) {
      throw new ImageError(`${this.#file.path}: L2 table ${index} lies nowhere in the file; see qemu-img check`);
    }
    return at;
  }

  /** What the guest's cluster is. */
  entry(cluster: number): Entry {
    const l2 = this.#table(Math.floor(cluster / this.perL2));
    return l2 ? this.decode(l2.bytes, cluster % this.perL2) : UNALLOCATED;
  }

  decode(table: Buffer, i: number): Entry {
    const high = table.readUInt32BE(i * 8);
    const low = table.readUInt32BE(i * 8 + 4);
    if (high === 0 && low === 0) return UNALLOCATED;
    if (high & COMPRESSED) return this.#compressed(high, low);
    const host = (high & OFFSET_HIGH) * 2 ** 32 + ((low & OFFSET_LOW) >>> 0);
    if (host % this.#cluster !== 0 || host > MAX_HOST) {
      throw new ImageError(`${this.#file.path}: a cluster at byte ${host} cannot be one; see qemu-img check`);
    }
    const copied = (high & COPIED) !== 0;
    if (low & ZERO && this.#version === 3) return { kind: 'zero', host, copied };
    return host === 0 ? UNALLOCATED : { kind: 'data', host, copied };
  }

  /** Bits 0 to x-1 are the offset, x to 61 the number of further sectors of 512 bytes, x = 62 - (cluster bits - 8). */
  #compressed(high: number, low: number): Entry {
    const x = 62 - (this.#bits - 8);
    const value = (BigInt(high & 0x3fff_ffff) << 32n) | BigInt(low);
    const host = Number(value & ((1n << BigInt(x)) - 1n));
    const sectors = Number(value >> BigInt(x)) + 1;
    if (host > MAX_HOST) throw new ImageError(`${this.#file.path}: a compressed cluster lies beyond any file`);
    return { kind: 'compressed', host, length: sectors * 512 - (host % 512) };
  }

  /** Makes consecutive clusters, all in one L2 table, data at `host` on (refcount 1), or zeros without a place (`host` 0). */
  set(cluster: number, count: number, host: number): void {
    const index = Math.floor(cluster / this.perL2);
    const l2 = this.#writable(index);
    const first = cluster % this.perL2;
    for (let i = 0; i < count; i++) {
      const at = host === 0 ? 0 : host + i * this.#cluster;
      const high = Math.floor(at / 2 ** 32) | (host === 0 ? 0 : COPIED);
      l2.bytes.writeUInt32BE(high >>> 0, (first + i) * 8);
      l2.bytes.writeUInt32BE((at % 2 ** 32) + (host === 0 ? ZERO : 0), (first + i) * 8 + 4);
    }
    this.#write(l2, first, count);
  }

  /** Makes consecutive clusters, all in one L2 table, unallocated. */
  clear(cluster: number, count: number): void {
    const l2 = this.#writable(Math.floor(cluster / this.perL2));
    const first = cluster % this.perL2;
    l2.bytes.fill(0, first * 8, (first + count) * 8);
    this.#write(l2, first, count);
  }

  #write(l2: L2, first: number, count: number): void {
    this.#file.write(l2.offset + first * 8, [l2.bytes.subarray(first * 8, (first + count) * 8)]);
  }

  /** An L2 table as it is in the file; undefined: none. */
  #table(index: number): L2 | undefined {
    let l2 = this.#cache.get(index);
    if (!l2) {
      const offset = this.l2Offset(index);
      if (offset === 0) return undefined;
      l2 = { offset, bytes: this.#file.bytes(offset, this.#cluster) };
      this.#keep(index, l2);
    }
    return l2;
  }

  #keep(index: number, l2: L2): void {
    this.#cache.delete(index);
    this.#cache.set(index, l2);
    if (this.#cache.size > this.#cacheLimit) this.#cache.delete(this.#cache.keys().next().value!);
  }

  /** An L2 table that is ours alone: a new one where there is none, a copy of one that a snapshot shares. */
  #writable(index: number): L2 {
    const old = this.#table(index);
    if (old && this.#l1.readUInt32BE(index * 8) & COPIED) return old;
    const refcounts = this.#refcounts!;
    const offset = refcounts.allocateTable() * this.#cluster;
    const l2 = { offset, bytes: old ? Buffer.from(old.bytes) : Buffer.alloc(this.#cluster) };
    this.#file.write(offset, [l2.bytes]);
    // The table must be there before anything points to it.
    this.#file.flush();
    this.#end = Math.max(this.#end, offset + this.#cluster);
    this.#l1.writeUInt32BE((Math.floor(offset / 2 ** 32) | COPIED) >>> 0, index * 8);
    this.#l1.writeUInt32BE(offset % 2 ** 32, index * 8 + 4);
    this.#file.write(this.#l1Offset + index * 8, [this.#l1.subarray(index * 8, index * 8 + 8)]);
    if (old) refcounts.release(old.offset / this.#cluster);
    this.#keep(index, l2);
    return l2;
  }
}
