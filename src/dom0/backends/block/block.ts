/**
 * The block back end (public/io/blkif.h), as Linux's xen-blkfront uses it: several queues, rings of several pages,
 * persistent grants, indirect segments, flush, barrier, discard.
 *
 * Its nodes from the toolstack: `params` (`format:path`; empty: a CD drive without a disk), `mode` (`r` or `w`),
 * `device-type` (`disk` or `cdrom`), `discard-enable`, `sector-size` (512 or 4096).
 */
import { BLKIF_ENTRY_SIZE, BLKIF_SECTOR_SIZE, VDISK } from '../../../abi/blkif.ts';
import type { Poller } from '../../kernel/event-loop.ts';
import { GrantMap } from '../../kernel/grant-map.ts';
import { PersistentGrants } from '../../kernel/persistent-grants.ts';
import { journalIsLive, journalSize } from '../../kernel/ring.ts';
import { RingConnection } from '../../kernel/xenbus/connection.ts';
import { type Backend, DeviceError, type FrontNodes } from '../../kernel/xenbus/device.ts';
import type { BackendContext, BackendKind } from '../backends.ts';
import { VBD_COUNTERS } from '../counters.ts';
import { openImage } from './formats/formats.ts';
import type { BlockImage } from './image.ts';
import { BlockQueue } from './queue.ts';
import { MAX_INDIRECT_SEGMENTS } from './request.ts';

const MAX_QUEUES = 4;
const MAX_RING_PAGE_ORDER = 4;
const MAX_RING_PAGES = 1 << MAX_RING_PAGE_ORDER;
const JOURNAL = journalSize(MAX_RING_PAGES, BLKIF_ENTRY_SIZE);
/** Frames that stay mapped for a device; Linux's front end keeps at most what its rings can hold. */
const MAX_PERSISTENT = 4096;
/** Everything that one request can have mapped besides. */
const REQUEST_FRAMES = MAX_INDIRECT_SEGMENTS + 8;
const MAX_GREF = 2 ** 32 - 1;
const MAX_PORT = 131_071;
/** How often, in ms, a disk that is used is looked at for another size. */
const SIZE_CHECK_MS = 1000;
/** Errors of the host that are told for one device. */
const REPORTS = 10;

export const vbd: BackendKind = {
  journalBytes: MAX_QUEUES * JOURNAL,
  counters: VBD_COUNTERS,
  create: (context) => new BlockBackend(context, false),
  createLost: (context) => new BlockBackend(context, true),
};

interface Queue {
  readonly connection: RingConnection;
  readonly poller: BlockQueue;
}

class BlockBackend implements Backend, Poller {
  readonly #c: BackendContext;
  /** The image is not touched: without one every request fails. */
  readonly #lost: boolean;
  readonly #readOnly: boolean;
  readonly #cdrom: boolean;
  readonly #discard: boolean;
  readonly #sectorSize: number;
  #params: string;
  #image: BlockImage | undefined;
  #grants: GrantMap | undefined;
  #queues: Queue[] = [];
  #reports = 0;
  #nextSizeCheck = 0;

  constructor(context: BackendContext, lost: boolean) {
    const { device } = context;
    this.#c = context;
    this.#lost = lost;
    this.#readOnly = device.text('mode') !== 'w';
    this.#cdrom = device.text('device-type') === 'cdrom';
    this.#discard = device.text('discard-enable') !== '0';
    this.#sectorSize = Number(device.text('sector-size') ?? BLKIF_SECTOR_SIZE);
    if (this.#sectorSize !== 512 && this.#sectorSize !== 4096) {
      throw new DeviceError(`sector-size is ${this.#sectorSize}: 512 or 4096 is possible`);
    }
    this.#params = device.text('params') ?? '';
    this.#image = this.#open(this.#params);
  }

  get features(): Record<string, string> {
    const granularity = this.#discard && !this.#readOnly ? (this.#image?.discardGranularity ?? 0) : 0;
    const flush = this.#readOnly ? '0' : '1';
    return {
      'feature-flush-cache': flush,
      'feature-barrier': flush,
      'feature-persistent': '1',
      'feature-max-indirect-segments': `${MAX_INDIRECT_SEGMENTS}`,
      'max-ring-page-order': `${MAX_RING_PAGE_ORDER}`,
      'multi-queue-max-queues': `${MAX_QUEUES}`,
      'feature-discard': granularity > 0 ? '1' : '0',
      'discard-granularity': `${granularity || this.#sectorSize}`,
      'discard-alignment': '0',
      'discard-secure': '0',
      ...this.#geometry(),
    };
  }

  connect(front: FrontNodes, resume: boolean): Record<string, string> {
    this.disconnect();
    const protocol = front.text('protocol') ?? 'x86_64-abi';
    if (protocol !== 'x86_64-abi') throw new DeviceError(`protocol ${protocol.slice(0, 40)} is not served`);
    const queues = front.number('multi-queue-num-queues', 1, MAX_QUEUES, 1);
    const pages = 1 << front.number('ring-page-order', 0, MAX_RING_PAGE_ORDER, 0);
    const onePage = front.text('ring-page-order') === undefined;
    this.#grants = new GrantMap(this.#c.kernel.xen, {
      domid: front.domid,
      limit: queues * pages + MAX_PERSISTENT + REQUEST_FRAMES,
    });
    const persistent = front.flag('feature-persistent')
      ? new PersistentGrants(this.#grants, MAX_PERSISTENT)
      : undefined;
    for (let q = 0; q < queues; q++) {
      const journal = new Uint8Array(this.#c.journal, q * JOURNAL, JOURNAL);
      if (resume && !journalIsLive(journal)) throw new DeviceError('the connection was lost while it was being closed');
      const dir = queues === 1 ? '' : `queue-${q}/`;
      const refs = Array.from({ length: pages }, (_, i) =>
        front.number(`${dir}ring-ref${onePage ? '' : i}`, 0, MAX_GREF),
      );
      const port = front.number(`${dir}event-channel`, 1, MAX_PORT);
      this.#addQueue(front.domid, persistent, { refs, port, entrySize: BLKIF_ENTRY_SIZE, journal, resume });
    }
    this.#c.kernel.loop.add(this);
    return this.#geometry();
  }

  disconnect(): void {
    this.#c.kernel.loop.remove(this);
    for (const { connection, poller } of this.#queues) {
      this.#c.kernel.loop.remove(poller);
      connection.close();
    }
    this.#queues = [];
    this.#grants?.close();
    this.#grants = undefined;
    // A journal of an earlier connection is nothing to resume from.
    if (this.#image && !this.#readOnly) this.#tellErrors(() => this.#image?.flush());
  }

  /** That is for the queues to say. */
  readonly served = 0;

  poll(): boolean {
    return false;
  }

  /** Between requests, as Linux's back end: the device below may have become larger or smaller. */
  arm(): boolean {
    const now = performance.now();
    if (now < this.#nextSizeCheck || !this.#image?.refreshSize) return false;
    this.#nextSizeCheck = now + SIZE_CHECK_MS;
    const before = this.#image.size;
    this.#tellErrors(() => this.#image?.refreshSize?.());
    if (this.#image.size !== before) this.#c.device.update(this.#geometry());
    return false;
  }

  /** A disk is put into the CD drive, or taken out. */
  changed(key: string): Record<string, string> | undefined {
    if (key !== 'params') return undefined;
    const params = this.#c.device.text('params') ?? '';
    if (params === this.#params) return undefined;
    if (!this.#cdrom) throw new DeviceError('params changed: only a CD drive’s disk can be changed');
    let image: BlockImage | undefined;
    try {
      image = this.#open(params);
    } catch (e) {
      return { 'hotplug-error': (e as Error).message };
    }
    this.#closeImage();
    this.#params = params;
    this.#image = image;
    return this.#geometry();
  }

  close(): void {
    this.#closeImage();
  }

  #addQueue(
    domid: number,
    persistent: PersistentGrants | undefined,
    spec: ConstructorParameters<typeof RingConnection>[3],
  ): void {
    const { kernel, device } = this.#c;
    const connection = new RingConnection(kernel, this.#grants!, domid, spec);
    const poller = new BlockQueue({
      connection,
      persistent,
      grants: this.#grants!,
      image: () => this.#image,
      readOnly: this.#readOnly,
      sectorSize: this.#sectorSize,
      counters: this.#c.counters,
      ioError: (e) => this.#report(e),
      broken: (e) => device.fail(e),
    });
    this.#queues.push({ connection, poller });
    kernel.loop.add(poller);
  }

  #geometry(): Record<string, string> {
    const size = this.#image?.size ?? 0;
    const info = (this.#cdrom ? VDISK.CDROM | VDISK.REMOVABLE : 0) | (this.#readOnly ? VDISK.READONLY : 0);
    return {
      // Linux's front end takes these as units of 512 bytes whatever sector-size is.
      sectors: `${Math.floor(size / this.#sectorSize) * (this.#sectorSize / BLKIF_SECTOR_SIZE)}`,
      'sector-size': `${this.#sectorSize}`,
      'physical-sector-size': `${Math.max(this.#sectorSize, this.#image?.physicalSectorSize ?? 0)}`,
      info: `${info}`,
      // For the toolstack: which disk is in the drive now.
      ...(this.#cdrom && { medium: this.#params }),
    };
  }

  #open(params: string): BlockImage | undefined {
    if (this.#lost) return undefined;
    if (params === '') {
      if (this.#cdrom) return undefined;
      throw new DeviceError('params is missing: the disk has no image');
    }
    const colon = params.indexOf(':');
    return openImage(params.slice(colon + 1), params.slice(0, colon), { readOnly: this.#readOnly });
  }

  #closeImage(): void {
    const image = this.#image;
    this.#image = undefined;
    if (image) this.#tellErrors(() => image.close());
  }

  #tellErrors(step: () => void): void {
    try {
      step();
    } catch (e) {
      this.#report(e);
    }
  }

  #report(error: unknown): void {
    this.#reports += 1;
    if (this.#reports > REPORTS) return;
    const more = this.#reports === REPORTS ? ' (no more of these will be told)' : '';
    this.#c.log(`${this.#c.device.path}, ${this.#params}: ${(error as Error).message}${more}`);
  }
}
