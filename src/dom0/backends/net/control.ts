/** The control ring (public/io/netif.h, "Control ring"): the guest sets up how its frames are hashed to queues. */
import {
  NETIF_CTRL_ENTRY_SIZE,
  XEN_NETIF_CTRL_HASH_ALGORITHM,
  XEN_NETIF_CTRL_STATUS,
  XEN_NETIF_CTRL_TYPE,
  XenNetifCtrlRequest,
  XenNetifCtrlResponse,
} from '../../../abi/netif.ts';
import type { GrantMap } from '../../kernel/grant-map.ts';
import { GrantError } from '../../kernel/hypercalls/grant-table.ts';
import { PAGE_SIZE } from '../../kernel/memory.ts';
import { journalSize } from '../../kernel/ring.ts';
import type { RingConnection } from '../../kernel/xenbus/connection.ts';
import { HASH_FLAGS, type HashConfig, MAX_HASH_KEY, MAX_HASH_MAPPING } from './hash.ts';

export const CONTROL_JOURNAL = journalSize(1, NETIF_CTRL_ENTRY_SIZE);

/** Requests answered before others get their turn. */
const BURST = 16;

const { SUCCESS, NOT_SUPPORTED, INVALID_PARAMETER, BUFFER_OVERFLOW } = XEN_NETIF_CTRL_STATUS;
const DONE: Answer = { status: SUCCESS };
const INVALID: Answer = { status: INVALID_PARAMETER };

interface Answer {
  readonly status: number;
  readonly data?: number;
}

export interface ControlOptions {
  readonly connection: RingConnection;
  readonly grants: GrantMap;
  readonly hash: HashConfig;
  /** Queues of the connection. */
  readonly queues: number;
}

export class Control {
  readonly #o: ControlOptions;
  readonly #response = new Uint8Array(XenNetifCtrlResponse.size);
  readonly #view = new DataView(this.#response.buffer);

  constructor(options: ControlOptions) {
    this.#o = options;
  }

  /** Answers what there is, some at a time; whether there was any. Throws RingError. */
  poll(): boolean {
    const { connection } = this.#o;
    const { ring } = connection;
    const n = Math.min(BURST, ring.waiting());
    for (let i = 0; i < n; i++) {
      ring.take();
      this.#respond(ring.request, this.#handle(ring.request));
    }
    if (n > 0) connection.push();
    return n > 0;
  }

  arm(): boolean {
    return this.#o.connection.ring.arm();
  }

  #handle(request: DataView): Answer {
    const { hash, queues } = this.#o;
    const { off } = XenNetifCtrlRequest;
    const [first, second, third] = [0, 4, 8].map((n) => request.getUint32(off.data + n, true));
    switch (request.getUint16(off.type, true)) {
      case XEN_NETIF_CTRL_TYPE.SET_HASH_ALGORITHM:
        if (first > XEN_NETIF_CTRL_HASH_ALGORITHM.TOEPLITZ) return INVALID;
        hash.algorithm = first;
        return DONE;
      case XEN_NETIF_CTRL_TYPE.GET_HASH_FLAGS:
        if (hash.algorithm === XEN_NETIF_CTRL_HASH_ALGORITHM.NONE) return { status: NOT_SUPPORTED };
        return { status: SUCCESS, data: HASH_FLAGS };
      case XEN_NETIF_CTRL_TYPE.SET_HASH_FLAGS:
        if (first & ~HASH_FLAGS || hash.algorithm === XEN_NETIF_CTRL_HASH_ALGORITHM.NONE) return INVALID;
        hash.flags = first;
        return DONE;
      case XEN_NETIF_CTRL_TYPE.SET_HASH_KEY:
        if (second > MAX_HASH_KEY) return { status: BUFFER_OVERFLOW };
        return this.#copy(first, second, (bytes) => {
          hash.setKey(bytes);
          return DONE;
        });
      case XEN_NETIF_CTRL_TYPE.GET_HASH_MAPPING_SIZE:
        return { status: SUCCESS, data: MAX_HASH_MAPPING };
      case XEN_NETIF_CTRL_TYPE.SET_HASH_MAPPING_SIZE:
        if (first > MAX_HASH_MAPPING) return INVALID;
        hash.setMappingSize(first);
        return DONE;
      case XEN_NETIF_CTRL_TYPE.SET_HASH_MAPPING:
        if (second > PAGE_SIZE / 4) return { status: BUFFER_OVERFLOW };
        if (third + second > hash.mappingSize) return INVALID;
        return this.#copy(first, second * 4, (bytes) => {
          const entries = new Uint32Array(bytes.buffer, 0, second);
          if (entries.some((q) => q >= queues)) return INVALID;
          hash.setMapping(third, entries);
          return DONE;
        });
      default:
        return { status: NOT_SUPPORTED };
    }
  }

  /** A copy, which the guest cannot change any more, of the start of a page that it granted. */
  #copy(ref: number, length: number, use: (bytes: Uint8Array<ArrayBuffer>) => Answer): Answer {
    const { grants } = this.#o;
    const copy = new Uint8Array(length);
    if (length === 0) return use(copy);
    try {
      const pages = grants.map([ref], true);
      copy.set(pages[0].bytes.subarray(0, length));
      grants.unmap(pages);
    } catch (error) {
      if (error instanceof GrantError) return INVALID;
      throw error;
    }
    return use(copy);
  }

  #respond(request: DataView, { status, data = 0 }: Answer): void {
    const { off } = XenNetifCtrlResponse;
    this.#view.setUint16(off.id, request.getUint16(XenNetifCtrlRequest.off.id, true), true);
    this.#view.setUint16(off.type, request.getUint16(XenNetifCtrlRequest.off.type, true), true);
    this.#view.setUint32(off.status, status, true);
    this.#view.setUint32(off.data, data, true);
    this.#o.connection.ring.respond(this.#response);
  }
}
