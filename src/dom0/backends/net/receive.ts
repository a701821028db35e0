/**
 * What the guest receives: frames are copied into the pages that it put into the rx ring (public/io/netif.h, "Guest
 * receive"), whole if it takes offloads, cut up and with their checksums otherwise.
 */
import {
  NETIF_RSP,
  NETRXF,
  NetifExtraGso,
  NetifExtraHash,
  NetifRxRequest,
  NetifRxResponse,
  XEN_NETIF_CTRL_HASH_ALGORITHM,
  XEN_NETIF_EXTRA_FLAG_MORE,
  XEN_NETIF_EXTRA_TYPE,
  XEN_NETIF_GSO_TYPE,
} from '../../../abi/netif.ts';
import { bufferOf, copyBytes } from '../../kernel/copy.ts';
import type { GrantMap } from '../../kernel/grant-map.ts';
import { GrantError } from '../../kernel/hypercalls/grant-table.ts';
import { PAGE_SIZE } from '../../kernel/memory.ts';
import type { RingConnection } from '../../kernel/xenbus/connection.ts';
import { type Counters, VIF_COUNTERS } from '../counters.ts';
import { type FrameMeta, PLAIN } from './bridge/queue.ts';
import type { PacketHash } from './hash.ts';
import { complete } from './segment.ts';

/** What the front end says it takes. */
export interface ReceiveFeatures {
  /** Frames over several pages. */
  readonly sg: boolean;
  readonly gsoTcpv4: boolean;
  readonly gsoTcpv6: boolean;
  readonly checksumIpv4: boolean;
  readonly checksumIpv6: boolean;
}

const IPV6_TYPE = 0x86dd;

/** Does the front end take the frame as it is? */
function taken(frame: Uint8Array, meta: FrameMeta, f: ReceiveFeatures): boolean {
  if (frame.length > PAGE_SIZE && !f.sg) return false;
  if (meta.gsoSize > 0) return meta.gsoType === XEN_NETIF_GSO_TYPE.TCPV6 ? f.gsoTcpv6 : f.gsoTcpv4;
  if (!meta.checksumBlank) return true;
  const version6 = ((frame[12] << 8) | frame[13]) === IPV6_TYPE;
  return version6 ? f.checksumIpv6 : f.checksumIpv4;
}

/** Calls `emit` with the frames that a front end gets for one frame: none if it cannot have it. */
export function prepare(
  frame: Uint8Array,
  meta: FrameMeta,
  features: ReceiveFeatures,
  emit: (frame: Uint8Array, meta: FrameMeta) => void,
): void {
  if (taken(frame, meta, features)) {
    emit(frame, meta);
    return;
  }
  complete(frame, meta, (part) => {
    if (part.length <= PAGE_SIZE || features.sg) emit(part, PLAIN);
  });
}

/** Slots that say what segmentation and the guest's hash need to know; they follow the first one. */
const extrasOf = (meta: FrameMeta, hash: PacketHash | undefined): number => (meta.gsoSize > 0 ? 1 : 0) + (hash ? 1 : 0);

export const slotsFor = (frame: Uint8Array, meta: FrameMeta, hash: PacketHash | undefined): number =>
  Math.ceil(frame.length / PAGE_SIZE) + extrasOf(meta, hash);

export class Receive {
  readonly #connection: RingConnection;
  readonly #grants: GrantMap;
  readonly #counters: Counters;
  readonly #response = new Uint8Array(NetifRxResponse.size);
  readonly #view = new DataView(this.#response.buffer);
  readonly #ids: number[] = [];
  readonly #refs: number[] = [];

  constructor(connection: RingConnection, grants: GrantMap, counters: Counters) {
    this.#connection = connection;
    this.#grants = grants;
    this.#counters = counters;
  }

  /**
   * Copies a frame to the guest; false if it has not given enough pages. `hash`: what the guest asked to be told of it. Throws
   * RingError.
   */
  put(frame: Uint8Array, meta: FrameMeta, hash: PacketHash | undefined): boolean {
    const { ring } = this.#connection;
    const slots = slotsFor(frame, meta, hash);
    if (ring.waiting() < slots) return false;
    const extras = extrasOf(meta, hash);
    this.#ids.length = 0;
    this.#refs.length = 0;
    for (let n = 0; n < slots; n++) {
      ring.take();
      // The pages of slots with extra information stay empty.
      if (n > 0 && n <= extras) continue;
      this.#ids.push(ring.request.getUint16(NetifRxRequest.off.id, true));
      this.#refs.push(ring.request.getUint32(NetifRxRequest.off.gref, true));
    }
    const copied = this.#copy(frame);
    if (copied) {
      this.#counters[VIF_COUNTERS.rx_packets] += 1;
      this.#counters[VIF_COUNTERS.rx_bytes] += frame.length;
    } else {
      this.#counters[VIF_COUNTERS.rx_errors] += 1;
    }
    this.#answer(frame.length, meta, hash, copied);
    return true;
  }

  /** From now on the guest says when it has given `slots` pages; true if it has. */
  arm(slots: number): boolean {
    return this.#connection.ring.arm(slots);
  }

  push(): void {
    this.#connection.push();
  }

  #copy(frame: Uint8Array): boolean {
    try {
      const pages = this.#grants.map(this.#refs, false);
      const source = bufferOf(frame);
      for (const [n, page] of pages.entries()) {
        const from = n * PAGE_SIZE;
        copyBytes(source, from, Math.min(from + PAGE_SIZE, frame.length), page.bytes, 0);
      }
      this.#grants.unmap(pages);
      return true;
    } catch (error) {
      if (error instanceof GrantError) return false;
      throw error;
    }
  }

  #answer(length: number, meta: FrameMeta, hash: PacketHash | undefined, copied: boolean): void {
    const last = this.#refs.length - 1;
    const extras = extrasOf(meta, hash) > 0 ? NETRXF.extra_info : 0;
    const checksum = meta.checksumBlank ? NETRXF.csum_blank | NETRXF.data_validated : 0;
    const { off } = NetifRxResponse;
    this.#refs.forEach((_, n) => {
      const flags = (n < last ? NETRXF.more_data : 0) | (n === 0 ? checksum | extras : 0);
      this.#view.setUint16(off.id, this.#ids[n], true);
      this.#view.setUint16(off.offset, 0, true);
      this.#view.setUint16(off.flags, flags, true);
      this.#view.setInt16(off.status, copied ? Math.min(PAGE_SIZE, length - n * PAGE_SIZE) : NETIF_RSP.ERROR, true);
      this.#connection.ring.respond(this.#response);
      if (n > 0) return;
      if (meta.gsoSize > 0) this.#segmentation(meta, hash !== undefined);
      if (hash) this.#hash(hash);
    });
  }

  #segmentation(meta: FrameMeta, more: boolean): void {
    const { off } = NetifExtraGso;
    this.#response.fill(0);
    this.#view.setUint8(off.type, XEN_NETIF_EXTRA_TYPE.GSO);
    this.#view.setUint8(off.flags, more ? XEN_NETIF_EXTRA_FLAG_MORE : 0);
    this.#view.setUint16(off.size, meta.gsoSize, true);
    this.#view.setUint8(off.gso_type, meta.gsoType);
    this.#connection.ring.respond(this.#response);
  }

  #hash(hash: PacketHash): void {
    const { off } = NetifExtraHash;
    this.#response.fill(0);
    this.#view.setUint8(off.type, XEN_NETIF_EXTRA_TYPE.HASH);
    this.#view.setUint8(off.hash_type, hash.type);
    this.#view.setUint8(off.algorithm, XEN_NETIF_CTRL_HASH_ALGORITHM.TOEPLITZ);
    this.#view.setUint32(off.value, hash.value, true);
    this.#connection.ring.respond(this.#response);
  }
}
