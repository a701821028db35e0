/**
 * Refcounts of a qcow2 image, and clusters to write to.
 *
 * What is on the disk must never count fewer references than there are. So clusters are reserved some at a time: they are
 * counted as used, that is flushed, and then they can be handed out without another flush. What a crash leaves of a
 * reservation is a leak, which the next open finds. A cluster that is no longer referred to is given back only once the
 * table that referred to it has been flushed.
 */
import type { HostFile } from '../../host-file.ts';
import { ImageError } from '../../image.ts';
import { type Header, Qcow2Header } from './header.ts';

/** Clusters of the first reservation of an image, and the most of one. */
const FIRST_RESERVE = 64;
const MAX_RESERVE = 1024;
const OFFSET_MASK_HIGH = 0x00ff_ffff;

export class Refcounts {
  readonly #file: HostFile;
  readonly #cluster: number;
  readonly #order: number;
  /** Counts in a block. */
  readonly #perBlock: number;
  /** Host offsets of the blocks, 0: none. */
  #table: number[];
  #tableOffset: number;
  #tableClusters: number;
  readonly #blocks = new Map<number, Buffer>();
  /** Clusters that tables lie in: never given out, never written as data. */
  readonly #metadata: Set<number>;
  /** Reserved and not yet handed out: first cluster and how many. */
  #pool: { first: number; count: number }[] = [];
  #reserve = FIRST_RESERVE;
  /** Below this no cluster is free. */
  #hint = 0;
  /** No longer referred to, as soon as the tables are flushed. */
  #leaving: number[] = [];

  constructor(file: HostFile, header: Header, metadata: Set<number>) {
    this.#file = file;
    this.#cluster = 2 ** header.clusterBits;
    this.#order = header.refcountOrder;
    this.#perBlock = (this.#cluster * 8) >> header.refcountOrder;
    this.#metadata = metadata;
    this.#tableOffset = header.refcountTableOffset;
    this.#tableClusters = header.refcountTableClusters;
    const bytes = file.bytes(this.#tableOffset, this.#tableClusters * this.#cluster);
    this.#table = Array.from({ length: bytes.length / 8 }, (_, i) => {
      const at = (bytes.readUInt32BE(i * 8) & OFFSET_MASK_HIGH) * 2 ** 32 + bytes.readUInt32BE(i * 8 + 4);
      if (at % this.#cluster !== 0 || (at !== 0 && at >= file.size)) {
        throw new ImageError(`${file.path}: refcount block ${i} lies nowhere in the file`);
      }
      if (at !== 0) this.claim(at / this.#cluster, 'a refcount block');
      return at;
    });
  }

  /** Records that a table lies in the cluster. Throws if another does. */
  claim(cluster: number, what: string): void {
    if (this.#metadata.has(cluster)) {
      throw new ImageError(
        `${this.#file.path}: ${what} overlaps another table, at cluster ${cluster}; see qemu-img check`,
      );
    }
    this.#metadata.add(cluster);
  }

  get(cluster: number): number {
    const block = this.#block(Math.floor(cluster / this.#perBlock));
    return block ? this.#count(block, cluster % this.#perBlock) : 0;
  }

  /** Every cluster that is counted, with its count. */
  *counted(): Generator<[cluster: number, count: number]> {
    for (let index = 0; index < this.#table.length; index++) {
      const block = this.#block(index);
      if (!block) continue;
      for (let i = 0; i < this.#perBlock; i++) {
        const n = this.#count(block, i);
        if (n !== 0) yield [index * this.#perBlock + i, n];
      }
    }
  }

  /** Clusters that have a count other than 0 lie below this. */
  get #limit(): number {
    let last = this.#table.length;
    while (last > 0 && this.#table[last - 1] === 0) last--;
    return last * this.#perBlock;
  }

  /** Sets the count of consecutive clusters, and writes that; flushing it is for the caller. */
  set(first: number, count: number, value: number): void {
    for (let at = first; at < first + count; ) {
      const index = Math.floor(at / this.#perBlock);
      const end = Math.min(first + count, (index + 1) * this.#perBlock);
      const block = this.#block(index) ?? this.#newBlock(index);
      for (let c = at; c < end; c++) this.#setCount(block, c % this.#perBlock, value);
      const bits = 2 ** this.#order;
      const from = Math.floor(((at % this.#perBlock) * bits) / 8);
      const to = Math.ceil(((((end - 1) % this.#perBlock) + 1) * bits) / 8);
      this.#file.write(this.#table[index] + from, [block.subarray(from, to)]);
      at = end;
    }
  }

  /** Hands out `count` clusters or fewer, in a row, counted once on the disk. Returns the first and how many. */
  allocate(count: number): { first: number; count: number } {
    if (this.#pool.length === 0) this.#fillPool(count);
    const range = this.#pool[0];
    const n = Math.min(count, range.count);
    const first = range.first;
    range.first += n;
    range.count -= n;
    if (range.count === 0) this.#pool.shift();
    return { first, count: n };
  }

  /** A cluster for a table. */
  allocateTable(): number {
    const { first } = this.allocate(1);
    this.claim(first, 'a new table');
    return first;
  }

  /** One reference fewer, as soon as the tables are flushed. */
  release(cluster: number): void {
    this.#leaving.push(cluster);
  }

  /** The tables have been flushed: gives back what they no longer refer to. */
  flushed(): void {
    const leaving = this.#leaving;
    this.#leaving = [];
    for (const cluster of leaving) {
      const n = this.get(cluster);
      if (n === 0) continue;
      this.set(cluster, 1, n - 1);
      if (n === 1) {
        this.#metadata.delete(cluster);
        this.#hint = Math.min(this.#hint, cluster);
      }
    }
  }

  /** Gives unused reservations back. */
  close(): void {
    for (const { first, count } of this.#pool) this.set(first, count, 0);
    this.#pool = [];
  }

  #fillPool(want: number): void {
    const target = Math.max(want, this.#reserve);
    this.#reserve = Math.min(MAX_RESERVE, this.#reserve * 2);
    let have = 0;
    let at = this.#hint;
    for (; have < target; at++) {
      // Blocks that are missing are made as they are needed, and take clusters themselves.
      if (!this.#block(Math.floor(at / this.#perBlock))) this.#newBlock(Math.floor(at / this.#perBlock));
      if (this.get(at) !== 0 || this.#metadata.has(at)) continue;
      const last = this.#pool.at(-1);
      if (last && last.first + last.count === at) last.count++;
      else this.#pool.push({ first: at, count: 1 });
      have++;
    }
    this.#hint = at;
    for (const { first, count } of this.#pool) this.set(first, count, 1);
    this.#file.flush();
  }

  #block(index: number): Buffer | undefined {
    const at = this.#table[index] ?? 0;
    if (at === 0) return undefined;
    let block = this.#blocks.get(index);
    if (!block) {
      block = this.#file.bytes(at, this.#cluster);
      this.#blocks.set(index, block);
    }
    return block;
  }

  /** A block for clusters that had none, in the first of them: it counts itself. */
  #newBlock(index: number): Buffer {
    if (index >= this.#table.length) this.#growTable(index);
    const known = this.#block(index);
    if (known) return known;
    const first = index * this.#perBlock;
    let cluster = first;
    while (this.#metadata.has(cluster)) cluster++;
    const block = Buffer.alloc(this.#cluster);
    this.#setCount(block, cluster - first, 1);
    this.claim(cluster, 'a new refcount block');
    this.#file.write(cluster * this.#cluster, [block]);
    this.#file.flush();
    this.#blocks.set(index, block);
    this.#table[index] = cluster * this.#cluster;
    const entry = Buffer.alloc(8);
    entry.writeBigUInt64BE(BigInt(this.#table[index]));
    this.#file.write(this.#tableOffset + index * 8, [entry]);
    return block;
  }

  /** A larger table, behind everything that there is. The old one is left: its clusters are found as a leak. */
  #growTable(index: number): void {
    const clusters = Math.ceil(((index + 2) * 8 * 1.5) / this.#cluster);
    const first = Math.max(Math.ceil(this.#file.size / this.#cluster), this.#limit);
    const oldFirst = this.#tableOffset / this.#cluster;
    const oldClusters = this.#tableClusters;
    const table = Buffer.alloc(clusters * this.#cluster);
    for (const [i, at] of this.#table.entries()) table.writeBigUInt64BE(BigInt(at), i * 8);
    const offset = first * this.#cluster;
    this.#file.write(offset, [table]);
    this.#file.flush();
    const pointer = Buffer.alloc(12);
    pointer.writeBigUInt64BE(BigInt(offset));
    pointer.writeUInt32BE(clusters, 8);
    this.#table = [...this.#table, ...new Array<number>(table.length / 8 - this.#table.length).fill(0)];
    this.#tableOffset = offset;
    this.#tableClusters = clusters;
    for (let i = 0; i < clusters; i++) this.claim(first + i, 'the new refcount table');
    // It must count itself before it is the one in force.
    const blocks = new Set(Array.from({ length: clusters }, (_, i) => Math.floor((first + i) / this.#perBlock)));
    for (const b of blocks) this.#block(b) ?? this.#newBlock(b);
    this.set(first, clusters, 1);
    this.#file.flush();
    this.#file.write(Qcow2Header.off.refcount_table_offset, [pointer]);
    this.#file.flush();
    for (let i = 0; i < oldClusters; i++) this.release(oldFirst + i);
  }

  #count(block: Buffer, i: number): number {
    switch (this.#order) {
      case 3:
        return block[i];
      case 4:
        return block.readUInt16BE(i * 2);
      case 5:
        return block.readUInt32BE(i * 4);
      case 6:
        return Number(block.readBigUInt64BE(i * 8));
      default: {
        const bits = 2 ** this.#order;
        return (block[(i * bits) >> 3] >> ((i * bits) & 7)) & (2 ** bits - 1);
      }
    }
  }

  #setCount(block: Buffer, i: number, value: number): void {
    const bits = 2 ** this.#order;
    if (bits < 53 && value >= 2 ** bits)
      throw new ImageError(`${this.#file.path}: a refcount does not fit ${bits} bits`);
    switch (this.#order) {
      case 3:
        block[i] = value;
        break;
      case 4:
        block.writeUInt16BE(value, i * 2);
        break;
      case 5:
        block.writeUInt32BE(value, i * 4);
        break;
      case 6:
        block.writeBigUInt64BE(BigInt(value), i * 8);
        break;
      default: {
        const shift = (i * bits) & 7;
        const at = (i * bits) >> 3;
        block[at] = (block[at] & ~((2 ** bits - 1) << shift)) | (value << shift);
      }
    }
  }
}
