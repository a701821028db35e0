/**
 * One request of a block ring, parsed from a copy that the front end cannot change any more. Nothing here is trusted:
 * `parse` says what is wrong with it, and only then are its fields used.
 */
import {
  BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST,
  BLKIF_MAX_SEGMENTS_PER_REQUEST,
  BLKIF_OP,
  BLKIF_SECTOR_SIZE,
  BlkifRequest,
  BlkifRequestDiscard,
  BlkifRequestIndirect,
  BlkifRequestSegment,
} from '../../../abi/blkif.ts';
import { PAGE_SIZE } from '../../kernel/memory.ts';

/** Segments of an indirect request that we take (node `feature-max-indirect-segments`). */
export const MAX_INDIRECT_SEGMENTS = 256;
const SECTORS_PER_PAGE = PAGE_SIZE / BLKIF_SECTOR_SIZE;
const SEGMENTS_PER_PAGE = PAGE_SIZE / BlkifRequestSegment.size;
/** Sector numbers above this are beyond any image, and would not be exact as numbers. */
const MAX_SECTOR_HIGH = 1 << 12;

export class BlockRequest {
  operation = 0;
  /** As the front end gave it, to be echoed. */
  idLow = 0;
  idHigh = 0;
  /** What is to be done: of an indirect request the operation inside. */
  action = 0;
  /** Bytes from the start of the disk, and how many. */
  position = 0;
  length = 0;
  segments = 0;
  readonly refs = new Uint32Array(MAX_INDIRECT_SEGMENTS);
  /** Bytes within the frames. */
  readonly from = new Uint16Array(MAX_INDIRECT_SEGMENTS);
  readonly to = new Uint16Array(MAX_INDIRECT_SEGMENTS);
  /** Frames with the segments of an indirect request. */
  readonly indirectRefs: number[] = [];

  /** Reads the fixed part. Returns what is wrong, or nothing. Segments of an indirect request are for `indirect`. */
  parse(r: DataView): string | undefined {
    const { off } = BlkifRequest;
    this.operation = r.getUint8(off.operation);
    this.action = this.operation;
    this.idLow = r.getUint32(off.id, true);
    this.idHigh = r.getUint32(off.id + 4, true);
    this.segments = 0;
    this.length = 0;
    this.indirectRefs.length = 0;
    // A flush without data has no place: Linux says sector -1.
    const flushes = this.operation === BLKIF_OP.FLUSH_DISKCACHE || this.operation === BLKIF_OP.WRITE_BARRIER;
    const placeless = flushes && r.getUint8(off.nr_segments) === 0;
    const high = placeless ? 0 : r.getUint32(off.sector_number + 4, true);
    if (high >= MAX_SECTOR_HIGH) return 'a sector beyond any disk';
    this.position = (high * 2 ** 32 + r.getUint32(off.sector_number, true)) * BLKIF_SECTOR_SIZE;
    switch (this.operation) {
      case BLKIF_OP.READ:
      case BLKIF_OP.WRITE:
      case BLKIF_OP.WRITE_BARRIER:
      case BLKIF_OP.FLUSH_DISKCACHE:
        return this.#direct(r);
      case BLKIF_OP.DISCARD:
        return this.#discard(r);
      case BLKIF_OP.INDIRECT:
        return this.#indirectHead(r);
      default:
        return undefined; // whoever carries it out knows that it cannot
    }
  }

  #direct(r: DataView): string | undefined {
    const n = r.getUint8(BlkifRequest.off.nr_segments);
    if (n > BLKIF_MAX_SEGMENTS_PER_REQUEST) return `${n} segments`;
    if (n === 0 && this.operation !== BLKIF_OP.FLUSH_DISKCACHE && this.operation !== BLKIF_OP.WRITE_BARRIER) {
      return 'no segments';
    }
    return this.#segments(r, BlkifRequest.off.seg, BlkifRequestSegment.size, n);
  }

  #discard(r: DataView): string | undefined {
    const { off } = BlkifRequestDiscard;
    const high = r.getUint32(off.nr_sectors + 4, true);
    if (high >= MAX_SECTOR_HIGH) return 'a discard beyond any disk';
    this.length = (high * 2 ** 32 + r.getUint32(off.nr_sectors, true)) * BLKIF_SECTOR_SIZE;
    return undefined;
  }

  #indirectHead(r: DataView): string | undefined {
    const { off } = BlkifRequestIndirect;
    this.action = r.getUint8(off.indirect_op);
    if (this.action !== BLKIF_OP.READ && this.action !== BLKIF_OP.WRITE) return `indirect operation ${this.action}`;
    const n = r.getUint16(off.nr_segments, true);
    if (n === 0 || n > MAX_INDIRECT_SEGMENTS) return `${n} indirect segments`;
    const pages = Math.ceil(n / SEGMENTS_PER_PAGE);
    if (pages > BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST) return `${pages} indirect pages`;
    for (let i = 0; i < pages; i++) this.indirectRefs.push(r.getUint32(off.indirect_grefs + i * 4, true));
    this.segments = n;
    return undefined;
  }

  /** The segments, once the frames of `indirectRefs` are mapped. */
  indirect(pages: readonly Uint8Array[]): string | undefined {
    const n = this.segments;
    const copy = new Uint8Array(n * BlkifRequestSegment.size);
    for (let i = 0, at = 0; at < copy.length; i++, at += PAGE_SIZE) {
      copy.set(pages[i].subarray(0, Math.min(PAGE_SIZE, copy.length - at)), at);
    }
    return this.#segments(new DataView(copy.buffer), 0, BlkifRequestSegment.size, n);
  }

  #segments(v: DataView, at: number, stride: number, n: number): string | undefined {
    const { off } = BlkifRequestSegment;
    let sectors = 0;
    for (let i = 0; i < n; i++) {
      const s = at + i * stride;
      const first = v.getUint8(s + off.first_sect);
      const last = v.getUint8(s + off.last_sect);
      if (first > last || last >= SECTORS_PER_PAGE) return `sectors ${first} to ${last} of a page`;
      this.refs[i] = v.getUint32(s + off.gref, true);
      this.from[i] = first * BLKIF_SECTOR_SIZE;
      this.to[i] = (last + 1) * BLKIF_SECTOR_SIZE;
      sectors += last - first + 1;
    }
    this.segments = n;
    this.length = sectors * BLKIF_SECTOR_SIZE;
    return undefined;
  }
}
