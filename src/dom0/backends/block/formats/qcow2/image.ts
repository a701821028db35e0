/** A qcow2 image: reads through its tables and backing chain, writes with copy on write. */
import type { HostFile } from '../../host-file.ts';
import { type BlockImage, ImageError, lengthOf, slice } from '../../image.ts';
import { checkRefcounts } from './check.ts';
import { decompress } from './compressed.ts';
import { type Header, Qcow2Header, readHeader } from './header.ts';
import { Refcounts } from './refcounts.ts';
import { type Entry, Tables } from './tables.ts';

const SECTOR = 512;

export interface Qcow2Options {
  readonly readOnly: boolean;
  /** Opens the backing file, read-only. */
  readonly openBacking: (name: string, format: string | undefined) => BlockImage;
}

interface Run {
  readonly entry: Entry;
  readonly length: number;
}

export class Qcow2Image implements BlockImage {
  readonly format = 'qcow2';
  readonly size: number;
  readonly physicalSectorSize = 4096;
  readonly discardGranularity: number;
  readonly #file: HostFile;
  readonly #header: Header;
  readonly #cluster: number;
  readonly #tables: Tables;
  readonly #metadata = new Set<number>();
  readonly #refcounts: Refcounts | undefined;
  readonly #backing: BlockImage | undefined;

  /** Takes the file over. Repairs what a crash may have left, if it is to be written. */
  constructor(file: HostFile, options: Qcow2Options) {
    const h = readHeader(file);
    this.#file = file;
    this.#header = h;
    this.#cluster = 2 ** h.clusterBits;
    this.size = Math.floor(h.size / SECTOR) * SECTOR;
    const l1 = file.bytes(h.l1Offset, h.l1Size * 8);
    this.#refcounts = options.readOnly ? undefined : this.#openForWriting(h);
    this.#tables = new Tables(file, h, l1, this.#refcounts);
    this.discardGranularity = options.readOnly ? 0 : this.#cluster;
    if (this.#refcounts) {
      checkRefcounts(file, h, this.#tables, this.#refcounts, this.#metadata);
      this.#markUsed(h);
    }
    this.#backing = h.backing && options.openBacking(h.backing.name, h.backing.format);
  }

  #openForWriting(h: Header): Refcounts {
    if (h.corrupt) {
      throw new ImageError(
        `${this.#file.path} is marked as corrupt: qemu-img check -r all may repair it; it can be read`,
      );
    }
    const refcounts = new Refcounts(this.#file, h, this.#metadata);
    const span = (at: number, bytes: number, what: string) => {
      for (let c = at / this.#cluster; c < (at + bytes) / this.#cluster; c++) refcounts.claim(c, what);
    };
    span(0, this.#cluster, 'the header');
    span(h.l1Offset, h.l1Size * 8, 'the L1 table');
    span(h.refcountTableOffset, h.refcountTableClusters * this.#cluster, 'the refcount table');
    return refcounts;
  }

  /** Others' extensions that do not bear a writer who does not know them (bitmaps) are told so; refcounts are right now. */
  #markUsed(h: Header): void {
    if (h.version === 2 || !(h.hasAutoclear || h.dirty)) return;
    const { off } = Qcow2Header;
    const features = this.#file.bytes(off.incompatible_features, 24);
    features.writeBigUInt64BE(features.readBigUInt64BE(0) & ~1n, 0);
    features.writeBigUInt64BE(0n, 16);
    this.#file.write(off.incompatible_features, [features]);
    this.#file.flush();
  }

  read(position: number, into: readonly Uint8Array[]): void {
    const total = lengthOf(into);
    for (let done = 0; done < total; ) {
      const at = position + done;
      const run = this.#run(at, total - done);
      this.#readRun(at, run.entry, slice(into, done, run.length));
      done += run.length;
    }
  }

  write(position: number, from: readonly Uint8Array[]): void {
    const total = lengthOf(from);
    for (let done = 0; done < total; ) {
      const at = position + done;
      const run = this.#run(at, total - done);
      const part = slice(from, done, run.length);
      const { entry } = run;
      if (entry.kind === 'data' && entry.copied) {
        const host = entry.host + (at % this.#cluster);
        this.#checkData(host, run.length);
        this.#file.write(host, part);
        done += run.length;
      } else done += this.#writeNew(at, part, run.length);
    }
  }

  discard(position: number, length: number): void {
    const first = Math.ceil(position / this.#cluster);
    // The last cluster of the disk may be a part of one.
    const end =
      position + length === this.size
        ? Math.ceil(this.size / this.#cluster)
        : Math.floor((position + length) / this.#cluster);
    // Version 2 cannot say "zeros": what lies behind would show through.
    if (this.#backing && this.#header.version === 2) return;
    for (let c = first; c < end; ) {
      const inTable = Math.min(end - c, this.#tables.perL2 - (c % this.#tables.perL2));
      this.#discardClusters(c, inTable);
      c += inTable;
    }
  }

  flush(): void {
    if (!this.#refcounts) return;
    this.#file.flush();
    this.#refcounts.flushed();
  }

  close(): void {
    try {
      if (this.#refcounts) {
        this.flush();
        this.#refcounts.close();
        this.#file.flush();
      }
    } finally {
      this.#file.close();
      this.#backing?.close();
    }
  }

  /** From `at` on: what comes first, and how far it goes on in the file without a break; at most `max` bytes. */
  #run(at: number, max: number): Run {
    const cluster = Math.floor(at / this.#cluster);
    const entry = this.#tables.entry(cluster);
    let length = Math.min(max, (cluster + 1) * this.#cluster - at);
    if (entry.kind === 'compressed') return { entry, length };
    for (let c = cluster + 1; length < max; c++) {
      if (!follows(entry, this.#tables.entry(c), (c - cluster) * this.#cluster)) break;
      length = Math.min(max, (c + 1) * this.#cluster - at);
    }
    return { entry, length };
  }

  #readRun(at: number, entry: Entry, into: readonly Uint8Array[]): void {
    switch (entry.kind) {
      case 'data':
        this.#file.read(entry.host + (at % this.#cluster), into);
        return;
      case 'zero':
        for (const b of into) b.fill(0);
        return;
      case 'compressed': {
        let from = at % this.#cluster;
        const plain = this.#decompress(entry.host, entry.length);
        for (const b of into) {
          b.set(plain.subarray(from, from + b.length));
          from += b.length;
        }
        return;
      }
      case 'unallocated':
        this.#readBacking(at, into);
    }
  }

  /** What lies behind the image; zeros where that ends. */
  #readBacking(at: number, into: readonly Uint8Array[]): void {
    const total = lengthOf(into);
    const there = Math.max(0, Math.min(total, (this.#backing?.size ?? 0) - at));
    if (there > 0) this.#backing!.read(at, slice(into, 0, there));
    if (there < total) for (const b of slice(into, there, total - there)) b.fill(0);
  }

  #decompress(host: number, length: number): Uint8Array {
    try {
      return decompress(this.#file.bytes(host, length), this.#header.compression, this.#cluster);
    } catch (e) {
      throw new ImageError(`${this.#file.path}: a compressed cluster is damaged: ${(e as Error).message}`);
    }
  }

  /** Writes to clusters that get a new place. Returns how many bytes of `part` that took care of. */
  #writeNew(at: number, part: readonly Uint8Array[], length: number): number {
    const c = this.#cluster;
    const first = Math.floor(at / c);
    const inTable = this.#tables.perL2 - (first % this.#tables.perL2);
    const want = Math.min(inTable, Math.ceil((at + length) / c) - first);
    const got = this.#refcounts!.allocate(want);
    const start = first * c;
    const end = start + got.count * c;
    const done = Math.min(length, end - at);
    const old = Array.from({ length: got.count }, (_, i) => this.#tables.entry(first + i));
    const head = new Uint8Array(at - start);
    const tail = new Uint8Array(end - (at + done));
    if (head.length > 0) this.#readRun(start, old[0], [head]);
    if (tail.length > 0) this.#readOld(at + done, old[got.count - 1], tail);
    this.#file.write(
      got.first * c,
      [head, ...slice(part, 0, done), tail].filter((b) => b.length > 0),
    );
    this.#tables.set(first, got.count, got.first * c);
    for (const e of old) this.#release(e);
    return done;
  }

  #readOld(at: number, entry: Entry, into: Uint8Array): void {
    this.#readRun(at, entry, [into]);
  }

  #discardClusters(first: number, count: number): void {
    const old = Array.from({ length: count }, (_, i) => this.#tables.entry(first + i));
    if (old.every((e) => e.kind === 'unallocated') && !this.#backing) return;
    if (this.#header.version === 3) this.#tables.set(first, count, 0);
    else this.#tables.clear(first, count);
    for (const e of old) this.#release(e);
  }

  /** The table no longer refers to what this entry did. */
  #release(entry: Entry): void {
    const refcounts = this.#refcounts!;
    if (entry.kind === 'compressed') {
      const last = Math.floor((entry.host + entry.length - 1) / this.#cluster);
      for (let c = Math.floor(entry.host / this.#cluster); c <= last; c++) refcounts.release(c);
    } else if (entry.kind !== 'unallocated' && entry.host !== 0) refcounts.release(entry.host / this.#cluster);
  }

  /** A hostile image may have its data where its tables are. */
  #checkData(host: number, length: number): void {
    for (let c = Math.floor(host / this.#cluster); c * this.#cluster < host + length; c++) {
      if (this.#metadata.has(c)) {
        throw new ImageError(`${this.#file.path}: data lies where a table is, at cluster ${c}; see qemu-img check`);
      }
    }
  }
}

/** Does `next` go on where `entry` would after `distance` bytes? */
function follows(entry: Entry, next: Entry, distance: number): boolean {
  if (entry.kind === 'data') {
    return next.kind === 'data' && next.copied === entry.copied && next.host === entry.host + distance;
  }
  return next.kind === entry.kind && next.kind !== 'compressed';
}
