/**
 * A block front end in the control domain itself, as a test needs it: its own pages, grants and event channel, and every
 * field of the ring under its control, sensible or not.
 */
import {
  BLKIF_ENTRY_SIZE,
  BLKIF_OP,
  BlkifRequest,
  BlkifRequestDiscard,
  BlkifRequestIndirect,
  BlkifRequestSegment,
  BlkifResponse,
} from '../../../src/abi/blkif.ts';
import { GNTTABOP, GnttabSetupTable, GrantEntryV1, GTF } from '../../../src/abi/grant_table.ts';
import { Sring } from '../../../src/abi/ring.ts';
import { DOMID, HYPERCALL } from '../../../src/abi/xen.ts';
import { XenbusState } from '../../../src/abi/xenbus.ts';
import type { Host } from '../../../src/dom0/host.ts';
import { ringSize } from '../../../src/dom0/kernel/ring.ts';
import { backendPath, frontendPath } from '../../../src/dom0/toolstack/devices/device.ts';
import type { Disk } from '../../../src/dom0/toolstack/devices/disk.ts';
import { waitForNode } from '../../../src/dom0/toolstack/devices/wait.ts';

const PAGE = 4096;
const FIRST_REF = 16;
const GRANTS_PER_FRAME = 512;

/** The control domain's grant table and pages, shared by all front ends of a test. */
export class GrantingDomain {
  readonly host: Host;
  readonly #frames: number[];
  #nextRef = FIRST_REF;
  readonly #freeRefs: number[] = [];
  #nextPfn = 0x1000;

  constructor(host: Host, frames = 8) {
    this.host = host;
    const { xen } = host;
    this.#frames = xen.scratch((s) => {
      const list = s.bytes(frames * 8);
      const op = s.struct(GnttabSetupTable).set('dom', DOMID.SELF).set('nr_frames', frames).set('frame_list', list);
      xen.call('setup_table', HYPERCALL.grant_table_op, GNTTABOP.setup_table, op.address, 1);
      return Array.from({ length: frames }, (_, i) => Number(xen.memory.view.getBigUint64(list + i * 8, true)));
    });
  }

  /** A page: its machine address. */
  page(): number {
    const [mfn] = this.host.xen.memoryOp.populatePhysmap(0, [this.#nextPfn++]);
    this.host.xen.memory.fill(mfn * PAGE, PAGE);
    return mfn * PAGE;
  }

  freePage(address: number): void {
    this.host.xen.memoryOp.decreaseReservation(0, [address / PAGE]);
  }

  grant(domid: number, address: number, readonly = false): number {
    const ref = this.#freeRefs.pop() ?? this.#nextRef++;
    const at = this.entry(ref);
    const { view, words } = this.host.xen.memory;
    view.setUint32(at + GrantEntryV1.off.frame, address / PAGE, true);
    Atomics.store(words, at >>> 2, (domid << 16) | GTF.permit_access | (readonly ? GTF.readonly : 0));
    return ref;
  }

  /** False: somebody still has it mapped. */
  revoke(ref: number): boolean {
    const at = this.entry(ref);
    const { words } = this.host.xen.memory;
    if (Atomics.load(words, at >>> 2) & (GTF.reading | GTF.writing)) return false;
    Atomics.store(words, at >>> 2, 0);
    this.#freeRefs.push(ref);
    return true;
  }

  entry(ref: number): number {
    return this.#frames[Math.floor(ref / GRANTS_PER_FRAME)] * PAGE + (ref % GRANTS_PER_FRAME) * GrantEntryV1.size;
  }
}

export interface FrontOptions {
  readonly order?: number;
  readonly queues?: number;
  readonly persistent?: boolean;
}

interface FrontRing {
  readonly pages: number[];
  readonly refs: number[];
  port: number;
  prod: number;
  cons: number;
}

export interface Response {
  readonly id: bigint;
  readonly operation: number;
  readonly status: number;
}

export class BlockFront {
  readonly grants: GrantingDomain;
  readonly disk: Disk;
  readonly rings: FrontRing[];
  readonly #options: FrontOptions;
  readonly #size: number;
  #lastId = 0n;
  readonly #kept: Buffered[] = [];

  constructor(grants: GrantingDomain, disk: Disk, options: FrontOptions = {}) {
    this.grants = grants;
    this.disk = disk;
    this.#options = options;
    const pages = 1 << (options.order ?? 0);
    this.#size = ringSize(pages, BLKIF_ENTRY_SIZE);
    this.rings = Array.from({ length: options.queues ?? 1 }, () => this.#ring(pages));
  }

  get host(): Host {
    return this.grants.host;
  }
  get domid(): number {
    return this.disk.id.backendDomid;
  }
  get path(): string {
    return frontendPath(this.disk.id);
  }

  #ring(count: number): FrontRing {
    const pages = Array.from({ length: count }, () => this.grants.page());
    this.#init(pages[0]);
    const refs = pages.map((p) => this.grants.grant(this.domid, p));
    return { pages, refs, port: this.host.xen.evtchn.allocUnbound(0, this.domid), prod: 0, cons: 0 };
  }

  /** SHARED_RING_INIT, on a page of zeros. */
  #init(page: number): void {
    const { words } = this.host.xen.memory;
    Atomics.store(words, (page + Sring.off.req_event) >>> 2, 1);
    Atomics.store(words, (page + Sring.off.rsp_event) >>> 2, 1);
  }

  remove(key: string): void {
    if (this.host.store.exists(`${this.path}/${key}`)) this.host.store.rm(`${this.path}/${key}`);
  }

  write(key: string, value: string | number): void {
    this.host.store.write(`${this.path}/${key}`, `${value}`);
  }

  back(key: string): string | undefined {
    return this.host.store.tryRead(`${backendPath(this.disk.id)}/${key}`);
  }

  /** Writes the front end's nodes, without the state. */
  publish(): void {
    const { order, queues, persistent } = this.#options;
    this.write('protocol', 'x86_64-abi');
    if (persistent) this.write('feature-persistent', 1);
    if (queues !== undefined) this.write('multi-queue-num-queues', queues);
    if (order !== undefined) this.write('ring-page-order', order);
    this.rings.forEach((r, q) => {
      const dir = this.rings.length > 1 ? `queue-${q}/` : '';
      for (const [i, ref] of r.refs.entries()) this.write(`${dir}ring-ref${order === undefined ? '' : i}`, ref);
      this.write(`${dir}event-channel`, r.port);
    });
  }

  async connect(): Promise<void> {
    this.publish();
    this.write('state', XenbusState.Initialised);
    await this.backendState(XenbusState.Connected);
    this.write('state', XenbusState.Connected);
  }

  /** Waits for the back end's state; throws with what it was instead. */
  async backendState(state: number, ms = 10_000): Promise<void> {
    const path = `${backendPath(this.disk.id)}/state`;
    if (await waitForNode(this.host.store, path, ms, (v) => v === `${state}`)) return;
    throw new Error(`the back end is in state ${this.back('state')}, not ${state}`);
  }

  entry(ring: FrontRing, index: number): (offset: number) => number {
    const at = Sring.size + (index % this.#size) * BLKIF_ENTRY_SIZE;
    return (offset) => ring.pages[Math.floor((at + offset) / PAGE)] + ((at + offset) % PAGE);
  }

  /** Puts the bytes of a request into the ring; the back end is not told. */
  put(bytes: Uint8Array, q = 0): void {
    const ring = this.rings[q];
    const at = this.entry(ring, ring.prod);
    for (let i = 0; i < bytes.length; i++) this.host.xen.memory.bytes[at(i)] = bytes[i];
    ring.prod++;
  }

  /** Shows the requests to the back end, and signals it if it asked for that. */
  push(q = 0): void {
    const ring = this.rings[q];
    const { words } = this.host.xen.memory;
    const old = Atomics.load(words, (ring.pages[0] + Sring.off.req_prod) >>> 2);
    Atomics.store(words, (ring.pages[0] + Sring.off.req_prod) >>> 2, ring.prod);
    const event = Atomics.load(words, (ring.pages[0] + Sring.off.req_event) >>> 2);
    if ((ring.prod - event) >>> 0 < (ring.prod - old) >>> 0) this.host.xen.evtchn.send(ring.port);
  }

  /** The next answer, within `ms`. */
  async response(q = 0, ms = 30_000): Promise<Response> {
    const ring = this.rings[q];
    const { words, bytes } = this.host.xen.memory;
    const deadline = Date.now() + ms;
    while (Atomics.load(words, (ring.pages[0] + Sring.off.rsp_prod) >>> 2) === ring.cons) {
      if (Date.now() > deadline) throw new Error('no answer from the back end');
      await new Promise((r) => setImmediate(r));
    }
    const at = this.entry(ring, ring.cons++);
    const copy = Uint8Array.from({ length: BlkifResponse.size }, (_, i) => bytes[at(i)]);
    const v = new DataView(copy.buffer);
    return {
      id: v.getBigUint64(BlkifResponse.off.id, true),
      operation: v.getUint8(BlkifResponse.off.operation),
      status: v.getInt16(BlkifResponse.off.status, true),
    };
  }

  /** One request and its answer's status. */
  async call(request: Uint8Array, q = 0): Promise<number> {
    this.put(request, q);
    this.push(q);
    return (await this.response(q)).status;
  }

  request(operation: number, sector: number, segments: { ref: number; first?: number; last?: number }[]): Uint8Array {
    const bytes = new Uint8Array(BlkifRequest.size);
    const v = new DataView(bytes.buffer);
    const { off } = BlkifRequest;
    v.setUint8(off.operation, operation);
    v.setUint8(off.nr_segments, segments.length);
    v.setBigUint64(off.id, ++this.#lastId, true);
    v.setBigInt64(off.sector_number, BigInt(sector), true);
    for (const [i, s] of segments.slice(0, 11).entries()) segment(v, off.seg + i * BlkifRequestSegment.size, s);
    return bytes;
  }

  indirect(operation: number, sector: number, count: number, refs: number[]): Uint8Array {
    const bytes = new Uint8Array(BLKIF_ENTRY_SIZE);
    const v = new DataView(bytes.buffer);
    const { off } = BlkifRequestIndirect;
    v.setUint8(off.operation, BLKIF_OP.INDIRECT);
    v.setUint8(off.indirect_op, operation);
    v.setUint16(off.nr_segments, count, true);
    v.setBigUint64(off.id, ++this.#lastId, true);
    v.setBigInt64(off.sector_number, BigInt(sector), true);
    for (const [i, ref] of refs.slice(0, 8).entries()) v.setUint32(off.indirect_grefs + i * 4, ref, true);
    return bytes;
  }

  discard(sector: number, sectors: number): Uint8Array {
    const bytes = new Uint8Array(BLKIF_ENTRY_SIZE);
    const v = new DataView(bytes.buffer);
    const { off } = BlkifRequestDiscard;
    v.setUint8(off.operation, BLKIF_OP.DISCARD);
    v.setBigUint64(off.id, ++this.#lastId, true);
    v.setBigInt64(off.sector_number, BigInt(sector), true);
    v.setBigUint64(off.nr_sectors, BigInt(sectors), true);
    return bytes;
  }

  /** Writes or reads whole sectors, one granted page for 4096 bytes of them, in one request. */
  async io(operation: number, sector: number, data: Uint8Array, q = 0): Promise<number> {
    const count = Math.ceil(data.length / PAGE);
    const { memory } = this.host.xen;
    const writing = operation !== BLKIF_OP.READ;
    const pages = Array.from({ length: count }, () => this.#take(writing));
    const size = (i: number) => Math.min(PAGE, data.length - i * PAGE);
    if (writing) {
      for (const [i, { page }] of pages.entries()) memory.write(page, data.subarray(i * PAGE, i * PAGE + size(i)));
    }
    const segments = pages.map(({ ref }, i) => ({ ref, last: size(i) / 512 - 1 }));
    const status = await this.call(this.request(operation, sector, segments), q);
    if (!writing) {
      for (const [i, { page }] of pages.entries()) data.set(memory.bytes.subarray(page, page + size(i)), i * PAGE);
    }
    for (const p of pages) this.#give(p);
    return status;
  }

  /** A page that the back end may use: one that it has mapped already, with persistent grants. */
  #take(writing: boolean): Buffered {
    const kept = this.#kept.pop();
    if (kept) return kept;
    const page = this.grants.page();
    return { page, ref: this.grants.grant(this.domid, page, writing && !this.#options.persistent) };
  }

  #give(p: Buffered): void {
    if (this.#options.persistent) {
      this.#kept.push(p);
      return;
    }
    if (!this.grants.revoke(p.ref)) throw new Error(`grant ${p.ref} is still in use`);
    this.grants.freePage(p.page);
  }

  /** Leaves in order, with new indices and a new port, and connects again if wanted. */
  async reconnect(connect = true): Promise<void> {
    this.write('state', XenbusState.Closing);
    await this.backendState(XenbusState.Closing);
    this.write('state', XenbusState.Closed);
    await this.backendState(XenbusState.Closed);
    for (const ring of this.rings) {
      this.host.xen.evtchn.close(ring.port);
      this.host.xen.memory.fill(ring.pages[0], PAGE);
      this.#init(ring.pages[0]);
      ring.port = this.host.xen.evtchn.allocUnbound(0, this.domid);
      ring.prod = 0;
      ring.cons = 0;
    }
    this.write('state', XenbusState.Initialising);
    await this.backendState(XenbusState.InitWait);
    if (connect) await this.connect();
  }
}

interface Buffered {
  readonly page: number;
  readonly ref: number;
}

export function segment(v: DataView, at: number, s: { ref: number; first?: number; last?: number }): void {
  const { off } = BlkifRequestSegment;
  v.setUint32(at + off.gref, s.ref, true);
  v.setUint8(at + off.first_sect, s.first ?? 0);
  v.setUint8(at + off.last_sect, s.last ?? 7);
}
