/**
 * What the guest transmits: packets are taken from the tx ring slot by slot (public/io/netif.h, "Guest transmit"), copied out
 * of the granted pages, and handed on.
 */
import {
  NETIF_RSP,
  NETTXF,
  NetifExtraGso,
  NetifExtraMcast,
  NetifTxRequest,
  NetifTxResponse,
  XEN_NETIF_EXTRA_FLAG_MORE,
  XEN_NETIF_EXTRA_TYPE,
  XEN_NETIF_GSO_TYPE,
  XEN_NETIF_NR_SLOTS_MIN,
} from '../../../abi/netif.ts';
import { copyBytes } from '../../kernel/copy.ts';
import type { GrantMap } from '../../kernel/grant-map.ts';
import { GrantError } from '../../kernel/hypercalls/grant-table.ts';
import { PAGE_SIZE } from '../../kernel/memory.ts';
import type { BackRing } from '../../kernel/ring.ts';
import type { RingConnection } from '../../kernel/xenbus/connection.ts';
import { DeviceError } from '../../kernel/xenbus/device.ts';
import { type Counters, VIF_COUNTERS } from '../counters.ts';
import { type FrameMeta, MAX_FRAME } from './bridge/queue.ts';

/** Packets taken before others get their turn. */
const BURST = 32;
/** For so many packets the signal may be put off. */
const LONE_PACKETS = 1;
/** Slots with data that a packet may have; a front end that uses more is broken (Linux's netback allows as many). */
const MAX_SLOTS = XEN_NETIF_NR_SLOTS_MIN + 2;
const MAX_EXTRAS = XEN_NETIF_EXTRA_TYPE.HASH;
const ETHERNET_HEADER = 14;

export interface TransmitOptions {
  readonly connection: RingConnection;
  readonly grants: GrantMap;
  readonly forward: (frame: Uint8Array, meta: FrameMeta) => void;
  readonly counters: Counters;
  /** How long, in ms, a packet of so many bytes has to wait; 0: it may go, and is counted. */
  readonly hold: (bytes: number) => number;
  /** The guest adds an address to its filter of multicast frames, or removes it; false: there is no room. */
  readonly multicast: (add: boolean, address: Uint8Array) => boolean;
}

/** A packet whose slots were taken and not answered yet. */
class Packet {
  readonly refs: number[] = [];
  readonly offsets: number[] = [];
  readonly sizes: number[] = [];
  readonly ids: number[] = [];
  total = 0;
  extras = 0;
  checksumBlank = false;
  gsoSize = 0;
  gsoType = 0;
  /** No packet at all: a change of the multicast filter. */
  multicast: { readonly add: boolean; readonly address: Uint8Array } | undefined;

  clear(): void {
    for (const list of [this.refs, this.offsets, this.sizes, this.ids]) list.length = 0;
    this.extras = 0;
    this.gsoSize = 0;
    this.gsoType = 0;
    this.multicast = undefined;
  }
}

export class Transmit {
  readonly #o: TransmitOptions;
  readonly #ring: BackRing;
  readonly #packet = new Packet();
  readonly #frame = Buffer.alloc(MAX_FRAME);
  readonly #response = new Uint8Array(NetifTxResponse.size);
  readonly #view = new DataView(this.#response.buffer);
  #held = false;
  /** Packets whose answers the guest can see, but was not told of. */
  #quiet = 0;

  constructor(options: TransmitOptions) {
    this.#o = options;
    this.#ring = options.connection.ring;
  }

  /**
   * Takes some packets; see `signal` for their answers. Returns how many, and in `waitMs` how long the next one has to wait (0: it does not). Throws what
   * ends the connection: RingError, DeviceError.
   */
  poll(): { readonly packets: number; readonly waitMs: number } {
    let packets = 0;
    let waitMs = 0;
    while (packets < BURST) {
      if (!this.#held) {
        if (this.#ring.waiting() === 0) break;
        this.#take();
        this.#held = true;
      }
      waitMs = this.#o.hold(this.#packet.total);
      if (waitMs > 0) break;
      this.#held = false;
      const status = this.#send();
      this.#count(status);
      this.#answer(status);
      packets++;
    }
    this.#quiet += packets;
    if (this.#quiet > LONE_PACKETS) this.signal();
    else if (packets > 0) this.#ring.show();
    return { packets, waitMs };
  }

  /** Whether there are answers of which the guest was not told, and `signal` is to be called soon. */
  get isQuiet(): boolean {
    return this.#quiet > 0;
  }

  /**
   * Signals the guest if it still wants that. For the answer to a lone packet this is put off: nobody waits for it, and Linux's front
   * end finds it by itself when it sends the next one, so that requests and responses cost it an interrupt less each.
   */
  signal(): void {
    if (this.#quiet === 0) return;
    this.#quiet = 0;
    this.#o.connection.push();
  }

  /** From now on a new packet makes an event; true if one is there. */
  arm(): boolean {
    return !this.#held && this.#ring.arm();
  }

  /** The slots of the next packet, of which the first is waiting. */
  #take(): void {
    const p = this.#packet;
    p.clear();
    this.#slot();
    const r = this.#ring.request;
    let flags = r.getUint16(NetifTxRequest.off.flags, true);
    p.total = r.getUint16(NetifTxRequest.off.size, true);
    p.checksumBlank = (flags & NETTXF.csum_blank) !== 0;
    this.#data();
    if (flags & NETTXF.extra_info) this.#extras();
    let rest = p.total;
    while (flags & NETTXF.more_data) {
      if (p.refs.length === MAX_SLOTS) throw new DeviceError(`a packet of more than ${MAX_SLOTS} slots`);
      this.#slot();
      flags = r.getUint16(NetifTxRequest.off.flags, true);
      this.#data();
      rest -= p.sizes[p.sizes.length - 1];
    }
    if (rest < 0) throw new DeviceError('the fragments of a packet are larger than the packet');
    // The first slot's size is the packet's: its own is what the others leave.
    p.sizes[0] = rest;
    p.offsets.forEach((offset, i) => {
      if (offset + p.sizes[i] > PAGE_SIZE)
        throw new DeviceError(`a fragment of ${p.sizes[i]} bytes at ${offset} of its page`);
    });
  }

  #slot(): void {
    if (this.#ring.waiting() === 0) throw new DeviceError('a packet ends in the middle of its slots');
    this.#ring.take();
  }

  #data(): void {
    const r = this.#ring.request;
    const { off } = NetifTxRequest;
    this.#packet.refs.push(r.getUint32(off.gref, true));
    this.#packet.offsets.push(r.getUint16(off.offset, true));
    this.#packet.sizes.push(r.getUint16(off.size, true));
    this.#packet.ids.push(r.getUint16(off.id, true));
  }

  #extras(): void {
    const p = this.#packet;
    const r = this.#ring.request;
    const { off } = NetifExtraGso;
    for (let more = true; more; ) {
      if (p.extras === MAX_EXTRAS) throw new DeviceError('a packet with too many extra slots');
      this.#slot();
      p.extras++;
      more = (r.getUint8(off.flags) & XEN_NETIF_EXTRA_FLAG_MORE) !== 0;
      switch (r.getUint8(off.type)) {
        case XEN_NETIF_EXTRA_TYPE.GSO:
          this.#segmentation();
          break;
        case XEN_NETIF_EXTRA_TYPE.MCAST_ADD:
        case XEN_NETIF_EXTRA_TYPE.MCAST_DEL:
          p.multicast = {
            add: r.getUint8(off.type) === XEN_NETIF_EXTRA_TYPE.MCAST_ADD,
            address: new Uint8Array(r.buffer, r.byteOffset + NetifExtraMcast.off.addr, 6).slice(),
          };
          break;
        case XEN_NETIF_EXTRA_TYPE.HASH:
          // For whoever receives the packet, who has a hash of its own choice.
          break;
        default:
          throw new DeviceError(`a packet with an extra slot of type ${r.getUint8(off.type)}`);
      }
    }
  }

  #segmentation(): void {
    const p = this.#packet;
    const r = this.#ring.request;
    p.gsoSize = r.getUint16(NetifExtraGso.off.size, true);
    p.gsoType = r.getUint8(NetifExtraGso.off.gso_type);
    const known = p.gsoType === XEN_NETIF_GSO_TYPE.TCPV4 || p.gsoType === XEN_NETIF_GSO_TYPE.TCPV6;
    if (p.gsoSize === 0 || !known) throw new DeviceError(`segmentation of type ${p.gsoType} into ${p.gsoSize} bytes`);
  }

  /** Hands the packet on; NETIF_RSP. */
  #send(): number {
    const p = this.#packet;
    if (p.multicast) {
      return this.#o.multicast(p.multicast.add, p.multicast.address) ? NETIF_RSP.OKAY : NETIF_RSP.ERROR;
    }
    if (p.total < ETHERNET_HEADER) return NETIF_RSP.ERROR;
    const { grants } = this.#o;
    try {
      const pages = grants.map(p.refs, true);
      let at = 0;
      pages.forEach((page, i) => {
        copyBytes(page.bytes, p.offsets[i], p.offsets[i] + p.sizes[i], this.#frame, at);
        at += p.sizes[i];
      });
      grants.unmap(pages);
    } catch (error) {
      if (error instanceof GrantError) return NETIF_RSP.ERROR;
      throw error;
    }
    this.#o.forward(this.#frame.subarray(0, p.total), {
      // A packet that is to be cut up has no checksum yet, whatever its flag says.
      checksumBlank: p.checksumBlank || p.gsoSize > 0,
      gsoSize: p.gsoSize,
      gsoType: p.gsoType,
    });
    return NETIF_RSP.OKAY;
  }

  #count(status: number): void {
    const { counters } = this.#o;
    if (status === NETIF_RSP.OKAY) {
      counters[VIF_COUNTERS.tx_packets] += 1;
      counters[VIF_COUNTERS.tx_bytes] += this.#packet.total;
    } else {
      counters[VIF_COUNTERS.tx_errors] += 1;
    }
  }

  /** One response a slot, in the slots' order. */
  #answer(status: number): void {
    const { ids, extras } = this.#packet;
    ids.forEach((id, i) => {
      this.#respond(id, status);
      if (i === 0) for (let n = 0; n < extras; n++) this.#respond(0, NETIF_RSP.NULL);
    });
  }

  #respond(id: number, status: number): void {
    this.#view.setUint16(NetifTxResponse.off.id, id, true);
    this.#view.setInt16(NetifTxResponse.off.status, status, true);
    this.#ring.respond(this.#response);
  }
}
