/** One ring of a block device: takes requests, carries them out on the image one after the other, answers. */
import { BLKIF_OP, BLKIF_RSP, BLKIF_SECTOR_SIZE, BlkifResponse } from '../../../abi/blkif.ts';
import type { Poller } from '../../kernel/event-loop.ts';
import type { GrantedPage, GrantMap } from '../../kernel/grant-map.ts';
import { GrantError } from '../../kernel/hypercalls/grant-table.ts';
import type { PersistentGrants } from '../../kernel/persistent-grants.ts';
import type { RingConnection } from '../../kernel/xenbus/connection.ts';
import { type Counters, VBD_COUNTERS } from '../counters.ts';
import type { BlockImage } from './image.ts';
import { BlockRequest } from './request.ts';
import { vector } from './vector.ts';

/** Requests carried out before other rings get their turn. */
const BURST = 32;
/** Answers of a burst are signalled together, but the first of them at most so many ms late, or little more. */
const SIGNAL_MS = 0.1;
/** What each action counts as. */
const REQUESTS: Readonly<Record<number, number>> = {
  [BLKIF_OP.READ]: VBD_COUNTERS.rd_req,
  [BLKIF_OP.WRITE]: VBD_COUNTERS.wr_req,
  [BLKIF_OP.WRITE_BARRIER]: VBD_COUNTERS.f_req,
  [BLKIF_OP.FLUSH_DISKCACHE]: VBD_COUNTERS.f_req,
  [BLKIF_OP.DISCARD]: VBD_COUNTERS.ds_req,
};

export interface BlockQueueOptions {
  readonly connection: RingConnection;
  readonly grants: GrantMap;
  /** Where the front end's frames stay mapped, if it promised to keep them granted. */
  readonly persistent: PersistentGrants | undefined;
  /** The disk of now; none while a CD drive is empty. */
  readonly image: () => BlockImage | undefined;
  readonly readOnly: boolean;
  /** Bytes that position and length of every request are multiples of. */
  readonly sectorSize: number;
  readonly counters: Counters;
  /** The host failed to read or write. */
  readonly ioError: (error: unknown) => void;
  /** The front end broke the ring: its connection is to be closed. */
  readonly broken: (error: unknown) => void;
}

export class BlockQueue implements Poller {
  readonly #o: BlockQueueOptions;
  readonly #request = new BlockRequest();
  readonly #response = new Uint8Array(BlkifResponse.size);
  readonly #view = new DataView(this.#response.buffer);

  #served = 0;

  constructor(options: BlockQueueOptions) {
    this.#o = options;
  }

  get served(): number {
    return this.#served;
  }

  poll(): boolean {
    const { connection } = this.#o;
    const { ring } = connection;
    try {
      const n = Math.min(BURST, ring.waiting());
      let signalAt = Number.POSITIVE_INFINITY;
      for (let i = 1; i <= n; i++) {
        ring.take();
        const status = this.#status(ring.request);
        this.#count(status);
        this.#respond(status);
        this.#served++;
        const now = i < n ? performance.now() : Number.POSITIVE_INFINITY;
        signalAt = Math.min(signalAt, now + SIGNAL_MS);
        if (now < signalAt) ring.show();
        else {
          connection.push();
          signalAt = Number.POSITIVE_INFINITY;
        }
      }
      return n > 0;
    } catch (e) {
      this.#o.broken(e);
      return true;
    }
  }

  arm(): boolean {
    try {
      return this.#o.connection.ring.arm();
    } catch (e) {
      this.#o.broken(e);
      return true;
    }
  }

  #respond(status: number): void {
    const { off } = BlkifResponse;
    this.#view.setUint32(off.id, this.#request.idLow, true);
    this.#view.setUint32(off.id + 4, this.#request.idHigh, true);
    // Of an indirect request the operation inside: Linux's front end checks that.
    this.#view.setUint8(off.operation, this.#request.action);
    this.#view.setInt16(off.status, status, true);
    this.#o.connection.ring.respond(this.#response);
  }

  #count(status: number): void {
    const { counters } = this.#o;
    const r = this.#request;
    const kind = REQUESTS[r.action];
    if (kind === undefined) return;
    counters[kind] += 1;
    if (status !== BLKIF_RSP.OKAY || r.length === 0 || r.action === BLKIF_OP.DISCARD) return;
    counters[r.action === BLKIF_OP.READ ? VBD_COUNTERS.rd_sect : VBD_COUNTERS.wr_sect] += r.length / BLKIF_SECTOR_SIZE;
  }

  /** Carries the request out; BLKIF_RSP. */
  #status(raw: DataView): number {
    const r = this.#request;
    const image = this.#o.image();
    if (r.parse(raw) !== undefined || !image) return BLKIF_RSP.ERROR;
    if (r.action !== BLKIF_OP.READ && this.#o.readOnly) return BLKIF_RSP.ERROR;
    if (!this.#fits(image, r)) return BLKIF_RSP.ERROR;
    try {
      switch (r.action) {
        case BLKIF_OP.READ:
        case BLKIF_OP.WRITE:
        case BLKIF_OP.WRITE_BARRIER:
        case BLKIF_OP.FLUSH_DISKCACHE:
          return this.#transfer(image, r);
        case BLKIF_OP.DISCARD:
          if (image.discardGranularity === 0) return BLKIF_RSP.EOPNOTSUPP;
          image.discard(r.position, r.length);
          return BLKIF_RSP.OKAY;
        default:
          return BLKIF_RSP.EOPNOTSUPP;
      }
    } catch (e) {
      // A frame that is not granted is the front end's own mistake.
      if (!(e instanceof GrantError)) this.#o.ioError(e);
      return BLKIF_RSP.ERROR;
    }
  }

  #transfer(image: BlockImage, r: BlockRequest): number {
    const { persistent, grants } = this.#o;
    const mapped: GrantedPage[] = [];
    const map = (refs: ArrayLike<number>, readonly: boolean): GrantedPage[] => {
      if (persistent) return persistent.get(refs);
      const pages = grants.map(refs, readonly);
      mapped.push(...pages);
      return pages;
    };
    const reading = r.action === BLKIF_OP.READ;
    try {
      if (r.indirectRefs.length > 0) {
        const wrong = r.indirect(map(r.indirectRefs, true).map((p) => p.bytes));
        if (wrong !== undefined) return BLKIF_RSP.ERROR;
      }
      if (!this.#fits(image, r)) return BLKIF_RSP.ERROR;
      const pages = map(r.refs.subarray(0, r.segments), !reading);
      this.#io(image, r, vector(pages, r.from, r.to));
      if (reading && persistent) for (const p of pages) grants.written(p);
      return BLKIF_RSP.OKAY;
    } finally {
      if (mapped.length > 0) grants.unmap(mapped);
      persistent?.trim();
    }
  }

  /** Does it lie within the disk, on sector boundaries? A flush without data lies nowhere. */
  #fits(image: BlockImage, r: BlockRequest): boolean {
    if (r.length === 0) return true;
    const { sectorSize } = this.#o;
    return r.position % sectorSize === 0 && r.length % sectorSize === 0 && r.position + r.length <= image.size;
  }

  #io(image: BlockImage, r: BlockRequest, buffers: readonly Uint8Array[]): void {
    if (r.action === BLKIF_OP.READ) {
      image.read(r.position, buffers);
      return;
    }
    // All earlier requests are done: a barrier has only to see that they are on the disk, before and after.
    if (r.action === BLKIF_OP.WRITE_BARRIER) image.flush();
    if (buffers.length > 0) image.write(r.position, buffers);
    if (r.action !== BLKIF_OP.WRITE) image.flush();
  }
}
