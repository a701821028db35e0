/**
 * A network front end in the control domain itself, as a test needs it: its own pages, grants and event channels, and every
 * slot of the rings under its control, sensible or not.
 */
import {
  NETIF_CTRL_ENTRY_SIZE,
  NETIF_RX_ENTRY_SIZE,
  NETIF_TX_ENTRY_SIZE,
  NETRXF,
  NETTXF,
  NetifExtraGso,
  NetifExtraHash,
  NetifExtraMcast,
  NetifRxRequest,
  NetifRxResponse,
  NetifTxRequest,
  NetifTxResponse,
  XEN_NETIF_EXTRA_FLAG_MORE,
  XEN_NETIF_EXTRA_TYPE,
  XenNetifCtrlRequest,
  XenNetifCtrlResponse,
} from '../../../src/abi/netif.ts';
import { Sring } from '../../../src/abi/ring.ts';
import { XenbusState } from '../../../src/abi/xenbus.ts';
import type { Host } from '../../../src/dom0/host.ts';
import { ringSize } from '../../../src/dom0/kernel/ring.ts';
import { backendPath, type DeviceId, frontendPath } from '../../../src/dom0/toolstack/devices/device.ts';
import { waitForNode } from '../../../src/dom0/toolstack/devices/wait.ts';
import type { GrantingDomain } from './front.ts';

const PAGE = 4096;

export interface NetFrontOptions {
  readonly queues?: number;
  readonly split?: boolean;
  /** Nodes besides the rings; by default all offloads are taken. */
  readonly features?: Readonly<Record<string, number>>;
  /** Pages put into each rx ring at once. */
  readonly buffers?: number;
  /** Has it a control ring? */
  readonly control?: boolean;
}

const ALL = {
  'request-rx-copy': 1,
  'feature-sg': 1,
  'feature-gso-tcpv4': 1,
  'feature-gso-tcpv6': 1,
  'feature-ipv6-csum-offload': 1,
};

interface Ring {
  readonly page: number;
  readonly ref: number;
  readonly port: number;
  readonly entry: number;
  readonly size: number;
  prod: number;
  cons: number;
}

interface Buffer {
  readonly page: number;
  readonly ref: number;
}

interface Queue {
  readonly tx: Ring;
  readonly rx: Ring;
  /** Buffers in the rx ring, by slot. */
  readonly buffers: Map<number, Buffer>;
  /** Pages granted for transmission, by id. */
  readonly sent: Map<number, Buffer>;
}

export interface Received {
  readonly frame: Uint8Array;
  readonly flags: number;
  readonly gsoSize: number;
  readonly gsoType: number;
  readonly slots: number;
  readonly hash?: { readonly type: number; readonly algorithm: number; readonly value: number };
}

export interface Slot {
  readonly ref?: number;
  readonly offset?: number;
  readonly size?: number;
  readonly flags?: number;
}

export class NetFront {
  readonly grants: GrantingDomain;
  readonly id: DeviceId;
  readonly queues: Queue[];
  readonly control: Ring | undefined;
  readonly #options: NetFrontOptions;
  #lastId = 0;

  constructor(grants: GrantingDomain, id: DeviceId, options: NetFrontOptions = {}) {
    this.grants = grants;
    this.id = id;
    this.#options = options;
    this.queues = Array.from({ length: options.queues ?? 1 }, () => {
      const tx = this.#ring(NETIF_TX_ENTRY_SIZE);
      const rx = this.#ring(NETIF_RX_ENTRY_SIZE, options.split === false ? tx.port : undefined);
      return { tx, rx, buffers: new Map(), sent: new Map() };
    });
    if (options.control) this.control = this.#ring(NETIF_CTRL_ENTRY_SIZE);
  }

  get host(): Host {
    return this.grants.host;
  }

  back(key: string): string | undefined {
    return this.host.store.tryRead(`${backendPath(this.id)}/${key}`);
  }

  write(key: string, value: string | number): void {
    this.host.store.write(`${frontendPath(this.id)}/${key}`, `${value}`);
  }

  publish(): void {
    const { queues, split, features = ALL } = this.#options;
    for (const [key, value] of Object.entries(features)) this.write(key, value);
    if (queues !== undefined) this.write('multi-queue-num-queues', queues);
    if (this.control) {
      this.write('ctrl-ring-ref', this.control.ref);
      this.write('event-channel-ctrl', this.control.port);
    }
    for (const [n, { tx, rx }] of this.queues.entries()) {
      const dir = this.queues.length > 1 ? `queue-${n}/` : '';
      this.write(`${dir}tx-ring-ref`, tx.ref);
      this.write(`${dir}rx-ring-ref`, rx.ref);
      if (split === false) this.write(`${dir}event-channel`, tx.port);
      else {
        this.write(`${dir}event-channel-tx`, tx.port);
        this.write(`${dir}event-channel-rx`, rx.port);
      }
    }
  }

  async connect(): Promise<void> {
    this.publish();
    for (const [n] of this.queues.entries()) this.give(this.#options.buffers ?? 64, n);
    this.write('state', XenbusState.Connected);
    await this.backendState(XenbusState.Connected);
  }

  async backendState(state: number, ms = 10_000): Promise<void> {
    if (await waitForNode(this.host.store, `${backendPath(this.id)}/state`, ms, (v) => v === `${state}`)) return;
    throw new Error(`the back end is in state ${this.back('state')}, not ${state}`);
  }

  /** Puts pages into the rx ring and tells the back end if it asked for that. */
  give(count: number, q = 0): void {
    const { rx, buffers } = this.queues[q];
    for (let n = 0; n < count; n++) {
      const page = this.grants.page();
      const ref = this.grants.grant(this.id.backendDomid, page);
      const at = this.#at(rx, rx.prod);
      const { view } = this.host.xen.memory;
      view.setUint16(at + NetifRxRequest.off.id, rx.prod & 0xffff, true);
      view.setUint32(at + NetifRxRequest.off.gref, ref, true);
      buffers.set(rx.prod % rx.size, { page, ref });
      rx.prod++;
    }
    this.#push(rx);
  }

  /** A page of `bytes`, granted for reading. */
  data(bytes: Uint8Array, offset = 0): Buffer {
    const page = this.grants.page();
    this.host.xen.memory.write(page + offset, bytes);
    return { page, ref: this.grants.grant(this.id.backendDomid, page, true) };
  }

  /** Puts a slot of data into the tx ring; returns its id. */
  slot(s: Slot, q = 0): number {
    const { tx } = this.queues[q];
    const at = this.#at(tx, tx.prod++);
    const id = ++this.#lastId & 0xffff;
    const { view } = this.host.xen.memory;
    const { off } = NetifTxRequest;
    view.setUint32(at + off.gref, s.ref ?? 0, true);
    view.setUint16(at + off.offset, s.offset ?? 0, true);
    view.setUint16(at + off.flags, s.flags ?? 0, true);
    view.setUint16(at + off.id, id, true);
    view.setUint16(at + off.size, s.size ?? 0, true);
    return id;
  }

  extra(type: number, gsoSize: number, gsoType: number, flags = 0, q = 0): void {
    const { tx } = this.queues[q];
    const at = this.#at(tx, tx.prod++);
    const { view } = this.host.xen.memory;
    view.setUint8(at + NetifExtraGso.off.type, type);
    view.setUint8(at + NetifExtraGso.off.flags, flags);
    view.setUint16(at + NetifExtraGso.off.size, gsoSize, true);
    view.setUint8(at + NetifExtraGso.off.gso_type, gsoType);
  }

  pushTx(q = 0): void {
    this.#push(this.queues[q].tx);
  }

  /** Sends a frame in pieces of a page; returns the ids of its slots. */
  send(frame: Uint8Array, o: { flags?: number; gsoSize?: number; gsoType?: number; q?: number } = {}): number[] {
    const { q = 0, gsoSize = 0 } = o;
    const ids: number[] = [];
    // The first page begins in the middle, as a kernel's would.
    const first = frame.subarray(0, PAGE - 256);
    const pieces = [first];
    for (let at = first.length; at < frame.length; at += PAGE) pieces.push(frame.subarray(at, at + PAGE));
    pieces.forEach((piece, n) => {
      const offset = n === 0 ? 256 : 0;
      const buffer = this.data(piece, offset);
      const more = n < pieces.length - 1 ? NETTXF.more_data : 0;
      const extra = n === 0 && gsoSize ? NETTXF.extra_info : 0;
      const flags = more | extra | (n === 0 ? (o.flags ?? 0) : 0);
      const id = this.slot({ ref: buffer.ref, offset, size: n === 0 ? frame.length : piece.length, flags }, q);
      this.queues[q].sent.set(id, buffer);
      ids.push(id);
      if (extra) this.extra(XEN_NETIF_EXTRA_TYPE.GSO, gsoSize, o.gsoType ?? 1, 0, q);
    });
    this.pushTx(q);
    return ids;
  }

  /** A request of the control ring; what it is answered with. */
  async ask(type: number, ...data: number[]): Promise<{ status: number; data: number }> {
    const ring = this.control!;
    const { view } = this.host.xen.memory;
    const id = ++this.#lastId & 0xffff;
    const at = this.#at(ring, ring.prod++);
    view.setUint16(at + XenNetifCtrlRequest.off.id, id, true);
    view.setUint16(at + XenNetifCtrlRequest.off.type, type, true);
    for (let n = 0; n < 3; n++) view.setUint32(at + XenNetifCtrlRequest.off.data + n * 4, data[n] ?? 0, true);
    this.#push(ring);
    const answer = await this.#next(ring, 30_000);
    const { off } = XenNetifCtrlResponse;
    if (view.getUint16(answer + off.id, true) !== id || view.getUint16(answer + off.type, true) !== type)
      throw new Error('an answer to something else');
    return { status: view.getUint32(answer + off.status, true), data: view.getUint32(answer + off.data, true) };
  }

  /** The same with a page of its own for what it carries. */
  async askWith(type: number, bytes: Uint8Array, ...data: number[]): Promise<{ status: number; data: number }> {
    const buffer = this.data(bytes);
    const answer = await this.ask(type, buffer.ref, ...data);
    this.#free(buffer);
    return answer;
  }

  /** Adds an address to the filter of multicast frames, or removes it. */
  async filter(type: number, address: readonly number[], q = 0): Promise<number> {
    this.slot({ flags: NETTXF.extra_info }, q);
    const { tx } = this.queues[q];
    const at = this.#at(tx, tx.prod++);
    this.host.xen.memory.view.setUint8(at + NetifExtraMcast.off.type, type);
    this.host.xen.memory.view.setUint8(at + NetifExtraMcast.off.flags, 0);
    this.host.xen.memory.write(at + NetifExtraMcast.off.addr, Uint8Array.from(address));
    this.pushTx(q);
    const { status } = await this.sent(q);
    await this.sent(q);
    return status;
  }

  /** The next answer of the tx ring. Its page must be free then. */
  async sent(q = 0, ms = 10_000): Promise<{ id: number; status: number }> {
    const { tx, sent } = this.queues[q];
    await this.#wait(tx, 1, ms);
    const at = this.#at(tx, tx.cons++);
    const { view } = this.host.xen.memory;
    const id = view.getUint16(at + NetifTxResponse.off.id, true);
    const buffer = sent.get(id);
    if (buffer) {
      sent.delete(id);
      this.#free(buffer);
    }
    return { id, status: view.getInt16(at + NetifTxResponse.off.status, true) };
  }

  /** Whether there is an answer, or a frame, that was not taken yet. */
  pending(ring: 'tx' | 'rx', q = 0): boolean {
    const r = this.queues[q][ring];
    return this.#load(r, Sring.off.rsp_prod) !== r.cons;
  }

  /** The next frame that was received on a queue. */
  async receive(q = 0, ms = 10_000): Promise<Received> {
    const { rx, buffers } = this.queues[q];
    const parts: Uint8Array[] = [];
    let [flags, gsoSize, gsoType, slots] = [0, 0, 0, 0];
    let hash: Received['hash'];
    for (let more = true; more; ) {
      const r = await this.#response(rx, ms);
      const buffer = this.#takeBuffer(buffers, rx);
      if (r.status < 0) throw new Error(`rx status ${r.status}`);
      parts.push(this.host.xen.memory.read(buffer.page + r.offset, r.status));
      this.#free(buffer);
      slots++;
      if (parts.length === 1) flags = r.flags;
      more = (r.flags & NETRXF.more_data) !== 0;
      for (let extra = parts.length === 1 && (r.flags & NETRXF.extra_info) !== 0; extra; slots++) {
        const at = await this.#next(rx, ms);
        const { view } = this.host.xen.memory;
        if (view.getUint8(at + NetifExtraGso.off.type) === XEN_NETIF_EXTRA_TYPE.GSO) {
          gsoSize = view.getUint16(at + NetifExtraGso.off.size, true);
          gsoType = view.getUint8(at + NetifExtraGso.off.gso_type);
        } else if (view.getUint8(at + NetifExtraGso.off.type) === XEN_NETIF_EXTRA_TYPE.HASH) {
          hash = {
            type: view.getUint8(at + NetifExtraHash.off.hash_type),
            algorithm: view.getUint8(at + NetifExtraHash.off.algorithm),
            value: view.getUint32(at + NetifExtraHash.off.value, true),
          };
        } else throw new Error('an unknown extra slot');
        extra = (view.getUint8(at + NetifExtraGso.off.flags) & XEN_NETIF_EXTRA_FLAG_MORE) !== 0;
        this.#free(this.#takeBuffer(buffers, rx));
      }
    }
    return { frame: Uint8Array.from(parts.flatMap((p) => [...p])), flags, gsoSize, gsoType, slots, hash };
  }

  /** On whichever queue it comes. */
  async receiveAny(ms = 10_000): Promise<Received> {
    const deadline = Date.now() + ms;
    while (Date.now() < deadline) {
      const q = this.queues.findIndex((_, n) => this.pending('rx', n));
      if (q >= 0) return this.receive(q, ms);
      await new Promise((r) => setImmediate(r));
    }
    throw new Error('no frame');
  }

  setIndex(ring: 'tx' | 'rx', producer: number, q = 0): void {
    const { page } = this.queues[q][ring];
    Atomics.store(this.host.xen.memory.words, (page + Sring.off.req_prod) >>> 2, producer);
    this.host.xen.evtchn.send(this.queues[q][ring].port);
  }

  async #response(rx: Ring, ms: number): Promise<{ offset: number; flags: number; status: number }> {
    const at = await this.#next(rx, ms);
    const { view } = this.host.xen.memory;
    const { off } = NetifRxResponse;
    const id = view.getUint16(at + off.id, true);
    // Linux's front end takes the slot of a response for that of its request.
    if (id !== ((rx.cons - 1) & 0xffff)) throw new Error(`response ${id} in slot ${rx.cons - 1}`);
    return {
      offset: view.getUint16(at + off.offset, true),
      flags: view.getUint16(at + off.flags, true),
      status: view.getInt16(at + off.status, true),
    };
  }

  async #next(ring: Ring, ms: number): Promise<number> {
    await this.#wait(ring, 1, ms);
    return this.#at(ring, ring.cons++);
  }

  #takeBuffer(buffers: Map<number, Buffer>, rx: Ring): Buffer {
    const slot = (rx.cons - 1) % rx.size;
    const buffer = buffers.get(slot)!;
    buffers.delete(slot);
    return buffer;
  }

  #free({ page, ref }: Buffer): void {
    if (!this.grants.revoke(ref)) throw new Error(`grant ${ref} is still in use`);
    this.grants.freePage(page);
  }

  #ring(entry: number, port?: number): Ring {
    const page = this.grants.page();
    const { words } = this.host.xen.memory;
    Atomics.store(words, (page + Sring.off.req_event) >>> 2, 1);
    Atomics.store(words, (page + Sring.off.rsp_event) >>> 2, 1);
    return {
      page,
      ref: this.grants.grant(this.id.backendDomid, page),
      port: port ?? this.host.xen.evtchn.allocUnbound(0, this.id.backendDomid),
      entry,
      size: ringSize(1, entry),
      prod: 0,
      cons: 0,
    };
  }

  #at(ring: Ring, index: number): number {
    return ring.page + Sring.size + (index % ring.size) * ring.entry;
  }

  #load(ring: Ring, offset: number): number {
    return Atomics.load(this.host.xen.memory.words, (ring.page + offset) >>> 2);
  }

  #push(ring: Ring): void {
    const old = this.#load(ring, Sring.off.req_prod);
    Atomics.store(this.host.xen.memory.words, (ring.page + Sring.off.req_prod) >>> 2, ring.prod);
    const event = this.#load(ring, Sring.off.req_event);
    if ((ring.prod - event) >>> 0 < (ring.prod - old) >>> 0) this.host.xen.evtchn.send(ring.port);
  }

  async #wait(ring: Ring, count: number, ms: number): Promise<void> {
    const deadline = Date.now() + ms;
    while ((this.#load(ring, Sring.off.rsp_prod) - ring.cons) >>> 0 < count) {
      if (Date.now() > deadline) throw new Error('no answer from the back end');
      await new Promise((r) => setImmediate(r));
    }
  }
}
