/**
 * VHD images: fixed (the guest's bytes and a footer), dynamic and differencing (blocks by a table, each with a bitmap of
 * the sectors that are in it).
 *
 * A new block goes where the footer was: the footer is written behind it first (there is a copy at the start too), then the
 * block, which is flushed, and only then the table names it. What a crash leaves behind the last block is cut off at the
 * next open.
 */
import type { HostFile } from '../../host-file.ts';
import { type BlockImage, ImageError, lengthOf, slice } from '../../image.ts';
import { type Footer, type Header, readFooter, readHeader } from './header.ts';
import { BAT_UNUSED, SECTOR, VHD_TYPE } from './layout.ts';

/** Bitmaps kept in memory. */
const CACHED_BITMAPS = 256;

export interface VhdOptions {
  readonly readOnly: boolean;
  /** Opens the parent, read-only, by the first of the names that there is. */
  readonly openParent: (names: readonly string[]) => BlockImage;
}

/** What comes first from a position on, and how many bytes of it. */
interface Run {
  /** Offset in the file; undefined: not in this image. */
  readonly at: number | undefined;
  readonly length: number;
}

export class VhdImage implements BlockImage {
  readonly format = 'vhd';
  readonly size: number;
  readonly physicalSectorSize: number = SECTOR;
  readonly discardGranularity = 0;
  readonly uuid: string;
  readonly #file: HostFile;
  readonly #readOnly: boolean;
  readonly #footer: Footer;
  readonly #header: Header | undefined;
  readonly #parent: BlockImage | undefined;
  readonly #table: Buffer;
  readonly #bitmapBytes: number = 0;
  readonly #bitmaps = new Map<number, Buffer>();
  /** Where the next block goes. */
  #end = 0;

  /** Takes the file over. */
  constructor(file: HostFile, options: VhdOptions) {
    const footer = readFooter(file);
    this.#file = file;
    this.#readOnly = options.readOnly;
    this.#footer = footer;
    this.size = footer.size;
    this.uuid = footer.uuid;
    this.#table = Buffer.alloc(0);
    if (footer.type === VHD_TYPE.fixed) {
      if (footer.size > file.size - SECTOR)
        throw new ImageError(`${file.path}: the file is shorter than the disk in it`);
      return;
    }
    const header = readHeader(file, footer);
    this.#header = header;
    this.#bitmapBytes = Math.ceil(header.blockSize / SECTOR / 8 / SECTOR) * SECTOR;
    const used = Math.ceil(footer.size / header.blockSize);
    this.#table = file.bytes(header.tableOffset, used * 4);
    this.#end = this.#checkBlocks(header, used);
    if (!options.readOnly) this.#cutOff();
    if (footer.type === VHD_TYPE.differencing) this.#parent = this.#openParent(header, options);
  }

  read(position: number, into: readonly Uint8Array[]): void {
    const total = lengthOf(into);
    for (let done = 0; done < total; ) {
      const run = this.#run(position + done, total - done);
      const part = slice(into, done, run.length);
      if (run.at !== undefined) this.#file.read(run.at, part);
      else this.#readParent(position + done, part);
      done += run.length;
    }
  }

  write(position: number, from: readonly Uint8Array[]): void {
    const total = lengthOf(from);
    if (!this.#header) {
      this.#file.write(position, from);
      return;
    }
    const { blockSize } = this.#header;
    for (let done = 0; done < total; ) {
      const at = position + done;
      const block = Math.floor(at / blockSize);
      const length = Math.min(total - done, (block + 1) * blockSize - at);
      this.#writeBlock(block, at % blockSize, slice(from, done, length), length);
      done += length;
    }
  }

  discard(): void {
    // There is no way to give a block back.
  }

  flush(): void {
    if (!this.#readOnly) this.#file.flush();
  }

  close(): void {
    try {
      this.flush();
    } finally {
      this.#file.close();
      this.#parent?.close();
    }
  }

  #entry(block: number): number {
    return this.#table.readUInt32BE(block * 4);
  }

  /** Where the block begins in the file, with its bitmap. */
  #place(block: number): number | undefined {
    const sector = this.#entry(block);
    return sector === BAT_UNUSED ? undefined : sector * SECTOR;
  }

  /** Every block lies in the file, behind the table, and on no other. Returns the end of the last. */
  #checkBlocks(header: Header, used: number): number {
    const size = this.#bitmapBytes + header.blockSize;
    const places: number[] = [];
    for (let b = 0; b < used; b++) {
      const at = this.#place(b);
      if (at !== undefined) places.push(at);
    }
    places.sort((a, b) => a - b);
    let end = header.end;
    for (const at of places) {
      if (at < end || at + size > this.#file.size) {
        const what =
          at < header.end ? 'lies on its tables' : at < end ? 'overlaps another' : 'lies beyond the end of the file';
        throw new ImageError(`${this.#file.path}: the block at byte ${at} ${what}: the image is damaged`);
      }
      end = at + size;
    }
    return end;
  }

  #cutOff(): void {
    if (this.#file.size === this.#end + SECTOR && this.#file.bytes(this.#end, SECTOR).equals(this.#footer.bytes))
      return;
    this.#file.write(this.#end, [this.#footer.bytes]);
    this.#file.truncate(this.#end + SECTOR);
    this.#file.flush();
  }

  #openParent(header: Header, options: VhdOptions): BlockImage {
    const parent = options.openParent(header.parentNames);
    const uuid = parent instanceof VhdImage ? parent.uuid : undefined;
    if (uuid !== undefined && uuid !== header.parentUuid) {
      parent.close();
      throw new ImageError(
        `${this.#file.path}: its parent is another image than the one it was made from (UUID ${uuid})`,
      );
    }
    return parent;
  }

  #bitmap(block: number, place: number): Buffer {
    let bitmap = this.#bitmaps.get(block);
    if (!bitmap) {
      bitmap = this.#file.bytes(place, this.#bitmapBytes);
      this.#bitmaps.set(block, bitmap);
      if (this.#bitmaps.size > CACHED_BITMAPS) this.#bitmaps.delete(this.#bitmaps.keys().next().value!);
    }
    return bitmap;
  }

  #run(position: number, max: number): Run {
    if (!this.#header) return { at: position, length: max };
    const { blockSize } = this.#header;
    const block = Math.floor(position / blockSize);
    const within = position % blockSize;
    const length = Math.min(max, blockSize - within);
    const place = this.#place(block);
    if (place === undefined) return { at: undefined, length };
    const at = place + this.#bitmapBytes + within;
    // In a dynamic image what was never written reads as the zeros that are there.
    if (this.#footer.type === VHD_TYPE.dynamic) return { at, length };
    const bitmap = this.#bitmap(block, place);
    const first = within / SECTOR;
    const here = isSet(bitmap, first);
    let n = 1;
    while (n * SECTOR < length && isSet(bitmap, first + n) === here) n++;
    return { at: here ? at : undefined, length: Math.min(length, n * SECTOR) };
  }

  #readParent(position: number, into: readonly Uint8Array[]): void {
    const total = lengthOf(into);
    const there = Math.max(0, Math.min(total, (this.#parent?.size ?? 0) - position));
    if (there > 0) this.#parent!.read(position, slice(into, 0, there));
    if (there < total) for (const b of slice(into, there, total - there)) b.fill(0);
  }

  #writeBlock(block: number, within: number, from: readonly Uint8Array[], length: number): void {
    const place = this.#place(block);
    if (place === undefined) {
      this.#newBlock(block, within, from, length);
      return;
    }
    this.#file.write(place + this.#bitmapBytes + within, from);
    const bitmap = this.#bitmap(block, place);
    const first = within / SECTOR;
    const count = length / SECTOR;
    if (!setBits(bitmap, first, count)) return;
    const start = first >> 3;
    const end = ((first + count - 1) >> 3) + 1;
    this.#file.write(place + start, [bitmap.subarray(start, end)]);
  }

  #newBlock(block: number, within: number, from: readonly Uint8Array[], length: number): void {
    const { blockSize, tableOffset } = this.#header!;
    const place = this.#end;
    const end = place + this.#bitmapBytes + blockSize;
    if (end / SECTOR >= BAT_UNUSED) throw new ImageError(`${this.#file.path}: a VHD image cannot grow further`);
    const bitmap = Buffer.alloc(this.#bitmapBytes);
    // All of a dynamic image's block is this image's own.
    if (this.#footer.type === VHD_TYPE.dynamic) bitmap.fill(0xff, 0, blockSize / SECTOR / 8);
    else setBits(bitmap, within / SECTOR, length / SECTOR);
    this.#file.write(end, [this.#footer.bytes]);
    this.#file.write(place, [bitmap]);
    this.#file.write(place + this.#bitmapBytes + within, from);
    this.#file.flush();
    this.#table.writeUInt32BE(place / SECTOR, block * 4);
    this.#file.write(tableOffset + block * 4, [this.#table.subarray(block * 4, block * 4 + 4)]);
    this.#bitmaps.set(block, bitmap);
    this.#end = end;
  }
}

/** The first sector of a block is the highest bit of the first byte. */
const isSet = (bitmap: Buffer, sector: number): boolean => (bitmap[sector >> 3] & (0x80 >> (sector & 7))) !== 0;

/** Returns whether any was not set. */
function setBits(bitmap: Buffer, first: number, count: number): boolean {
  let changed = false;
  for (let s = first; s < first + count; s++) {
    const bit = 0x80 >> (s & 7);
    if (bitmap[s >> 3] & bit) continue;
    bitmap[s >> 3] |= bit;
    changed = true;
  }
  return changed;
}
