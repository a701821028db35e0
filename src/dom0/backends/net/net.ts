/**
 * The network back end (public/io/netif.h), as Linux's xen-netfront uses it: copying receive, several queues, scatter and
 * gather, TCP segmentation, checksums left to the other end; and what Linux's xen-netback has besides: hashes to queues set up
 * over the control ring, filters of multicast frames.
 *
 * Its nodes from the toolstack: `mac`, `rate` (bytes and microseconds of a window), `capture` (a file that gets all frames).
 */
import { NETIF_CTRL_ENTRY_SIZE, NETIF_RX_ENTRY_SIZE, NETIF_TX_ENTRY_SIZE } from '../../../abi/netif.ts';
import type { Poller } from '../../kernel/event-loop.ts';
import { GrantMap } from '../../kernel/grant-map.ts';
import { journalIsLive, journalSize } from '../../kernel/ring.ts';
import { RingConnection } from '../../kernel/xenbus/connection.ts';
import { type Backend, DeviceError, type FrontNodes } from '../../kernel/xenbus/device.ts';
import type { StoreWatch } from '../../kernel/xs-client.ts';
import type { BackendContext, BackendKind } from '../backends.ts';
import { VIF_COUNTERS } from '../counters.ts';
import { Bridge } from './bridge/bridge.ts';
import { type FrameMeta, type FrameQueue, PLAIN } from './bridge/queue.ts';
import { CONTROL_JOURNAL, Control } from './control.ts';
import { flowHash } from './flow.ts';
import { HASH_BYTES, HashConfig, type PacketHash } from './hash.ts';
import { isMulticast, MULTICAST_BYTES, MulticastFilter } from './multicast.ts';
import { Capture } from './pcap.ts';
import { RateLimit } from './rate.ts';
import { prepare, Receive, type ReceiveFeatures, slotsFor } from './receive.ts';
import { Transmit } from './transmit.ts';

/** What the control domain gives the back end besides its nodes. */
export interface VifShare {
  /** Memory of the bridge, and the vif's port. */
  readonly bridge: SharedArrayBuffer;
  readonly port: number;
}

const MAX_QUEUES = 4;
const TX_JOURNAL = journalSize(1, NETIF_TX_ENTRY_SIZE);
const RX_JOURNAL = journalSize(1, NETIF_RX_ENTRY_SIZE);
const QUEUE_JOURNAL = TX_JOURNAL + RX_JOURNAL;
/** Behind the queues' journals: that of the control ring, and what the guest set up. */
const CONTROL_AT = MAX_QUEUES * QUEUE_JOURNAL;
const HASH_AT = CONTROL_AT + CONTROL_JOURNAL;
const MULTICAST_AT = HASH_AT + HASH_BYTES;
/** The rings' pages, and those of a packet in each direction. */
const MAX_MAPPED = MAX_QUEUES * 2 + 1 + 64;
/** Frames handed to the guest before others get their turn. */
const BURST = 32;
/** So long the guest is not told of the answer to a lone packet. */
const QUIET_MS = 3;
const MAX_GREF = 2 ** 32 - 1;
const MAX_PORT = 131_071;
const CAPTURE_LIMIT = 2 ** 32;

export const vif: BackendKind = {
  journalBytes: MULTICAST_AT + MULTICAST_BYTES,
  counters: VIF_COUNTERS,
  create: (context) => new NetBackend(context, context.share as VifShare),
};

interface Queue {
  readonly tx: RingConnection;
  readonly rx: RingConnection;
  readonly transmit: Transmit;
  readonly receive: Receive;
}

/** A frame that waits for the guest to give pages. */
interface Waiting {
  readonly frame: Uint8Array;
  readonly meta: FrameMeta;
  readonly hash: PacketHash | undefined;
  readonly queue: Queue;
}

class NetBackend implements Backend, Poller {
  readonly features = {
    'feature-sg': '1',
    'feature-gso-tcpv4': '1',
    'feature-gso-tcpv6': '1',
    'feature-ipv6-csum-offload': '1',
    'feature-rx-copy': '1',
    'feature-rx-flip': '0',
    'feature-split-event-channels': '1',
    'feature-ctrl-ring': '1',
    'feature-multicast-control': '1',
    'feature-dynamic-multicast-control': '1',
    'multi-queue-max-queues': `${MAX_QUEUES}`,
    'hotplug-status': 'connected',
  };
  readonly #c: BackendContext;
  readonly #bridge: Bridge;
  readonly #port: number;
  readonly #incoming: FrameQueue;
  #rate: RateLimit | undefined;
  #capture: Capture | undefined;
  #grants: GrantMap | undefined;
  #queues: Queue[] = [];
  readonly #hash: HashConfig;
  readonly #multicast: MulticastFilter;
  #control: { readonly connection: RingConnection; readonly control: Control } | undefined;
  /** Does the guest want the filter of multicast frames to be used? */
  #filtering = false;
  #filterWatch: StoreWatch | undefined;
  #features!: ReceiveFeatures;
  #parts: Waiting[] = [];
  #wake: (() => void) | undefined;
  /** Calls off the signal that was put off. */
  #signalling: (() => void) | undefined;

  constructor(context: BackendContext, share: VifShare) {
    this.#c = context;
    const { kernel, device } = context;
    this.#bridge = new Bridge(share.bridge, kernel.xen.memory.words);
    this.#port = share.port;
    this.#incoming = this.#bridge.queue(share.port);
    this.#bridge.recover(share.port);
    this.#bridge.setDoorbell(share.port, kernel.loop.wakeIndex);
    this.#hash = new HashConfig(new Uint8Array(context.journal, HASH_AT, HASH_BYTES));
    this.#multicast = new MulticastFilter(new Uint8Array(context.journal, MULTICAST_AT, MULTICAST_BYTES));
    this.#rate = rateOf(device.text('rate'));
    this.#startCapture();
  }

  connect(front: FrontNodes, resume: boolean): Readonly<Record<string, string>> {
    if (!front.flag('request-rx-copy')) throw new DeviceError('the front end does not ask for copied frames');
    this.#features = {
      sg: front.flag('feature-sg'),
      gsoTcpv4: front.flag('feature-gso-tcpv4'),
      gsoTcpv6: front.flag('feature-gso-tcpv6'),
      checksumIpv4: !front.flag('feature-no-csum-offload'),
      checksumIpv6: front.flag('feature-ipv6-csum-offload'),
    };
    const queues = front.number('multi-queue-num-queues', 1, MAX_QUEUES, 1);
    this.#grants = new GrantMap(this.#c.kernel.xen, { domid: front.domid, limit: MAX_MAPPED });
    if (!resume) {
      this.#hash.reset();
      this.#multicast.reset();
    }
    try {
      for (let n = 0; n < queues; n++)
        this.#queues.push(this.#connectQueue(front, queues === 1 ? '' : `queue-${n}/`, n, resume));
      this.#connectControl(front, queues, resume);
      this.#watchFilter(front);
    } catch (error) {
      this.disconnect();
      throw error;
    }
    // What came before anybody listened is of no interest.
    if (!resume) while (this.#incoming.peek()) this.#incoming.pop();
    this.#c.kernel.loop.add(this);
    return {};
  }

  disconnect(): void {
    this.#c.kernel.loop.remove(this);
    this.#wake?.();
    this.#wake = undefined;
    this.#signalling?.();
    this.#signalling = undefined;
    this.#parts = [];
    this.#filterWatch?.close();
    this.#filterWatch = undefined;
    this.#control?.connection.close();
    this.#control = undefined;
    for (const { tx, rx } of this.#queues) {
      rx.close();
      tx.close();
    }
    this.#queues = [];
    this.#grants?.close();
    this.#grants = undefined;
  }

  changed(key: string): undefined {
    if (key === 'rate') this.#rate = rateOf(this.#c.device.text('rate'));
    if (key === 'capture') this.#startCapture();
  }

  close(): void {
    this.#capture?.close();
  }

  poll(): boolean {
    let worked = false;
    try {
      for (const { transmit } of this.#queues) {
        const { packets, waitMs } = transmit.poll();
        if (packets > 0) worked = true;
        if (waitMs > 0) this.#wakeAfter(waitMs);
        if (transmit.isQuiet) this.#signalSoon();
      }
      if (this.#control?.control.poll()) worked = true;
      return this.#deliver() || worked;
    } catch (error) {
      this.#c.device.fail(error);
      return true;
    }
  }

  arm(): boolean {
    try {
      let work = this.#control?.control.arm() ?? false;
      for (const { transmit } of this.#queues) if (transmit.arm()) work = true;
      const [next] = this.#parts;
      if (!next) return work || this.#incoming.peek() !== undefined;
      return next.queue.receive.arm(slotsFor(next.frame, next.meta, next.hash)) || work;
    } catch (error) {
      this.#c.device.fail(error);
      return true;
    }
  }

  /** Frames from the bridge to the guest, as far as it has given pages. */
  #deliver(): boolean {
    let done = 0;
    for (; done < BURST; done++) {
      if (this.#parts.length === 0 && !this.#prepareNext()) break;
      const [{ frame, meta, hash, queue }] = this.#parts;
      if (!queue.receive.put(frame, meta, hash)) break;
      this.#parts.shift();
      if (this.#parts.length === 0) this.#incoming.pop();
    }
    if (done > 0) for (const { receive } of this.#queues) receive.push();
    return done > 0;
  }

  /** Makes of the oldest frame what the guest is to get; false if there is none. The frame stays in the queue until then. */
  #prepareNext(): boolean {
    for (let next = this.#incoming.peek(); next; next = this.#incoming.peek()) {
      this.#capture?.frame(next.frame);
      const whole = next.frame;
      const wanted = !this.#filtering || !isMulticast(whole) || this.#multicast.has(whole);
      if (wanted) {
        const hash = this.#hash.hash(whole);
        const queue = this.#queueFor(whole, hash);
        prepare(whole, next.meta, this.#features, (frame, meta) => {
          this.#parts.push({ frame: frame === whole ? frame : frame.slice(), meta, hash, queue });
        });
      }
      if (this.#parts.length > 0) return true;
      this.#incoming.pop();
    }
    return false;
  }

  #queueFor(frame: Uint8Array, hash: PacketHash | undefined): Queue {
    const { length } = this.#queues;
    return this.#queues[length === 1 ? 0 : (this.#hash.queue(hash, length) ?? flowHash(frame) % length)];
  }

  /** The front end may have a control ring. */
  #connectControl(front: FrontNodes, queues: number, resume: boolean): void {
    if (front.text('ctrl-ring-ref') === undefined) return;
    const grants = this.#grants!;
    const journal = new Uint8Array(this.#c.journal, CONTROL_AT, CONTROL_JOURNAL);
    const connection = new RingConnection(this.#c.kernel, grants, front.domid, {
      refs: [front.number('ctrl-ring-ref', 0, MAX_GREF)],
      port: front.number('event-channel-ctrl', 1, MAX_PORT),
      entrySize: NETIF_CTRL_ENTRY_SIZE,
      journal,
      resume: resume && journalIsLive(journal),
    });
    this.#control = { connection, control: new Control({ connection, grants, hash: this.#hash, queues }) };
  }

  /** The guest may ask for its filter to be used, or no longer, at any time. */
  #watchFilter(front: FrontNodes): void {
    const look = () => {
      this.#filtering = front.flag('request-multicast-control');
    };
    look();
    this.#filterWatch = front.watch('request-multicast-control', () => {
      try {
        look();
      } catch (error) {
        this.#c.device.fail(error);
      }
    });
  }

  #connectQueue(front: FrontNodes, prefix: string, n: number, resume: boolean): Queue {
    const ref = (key: string) => front.number(`${prefix}${key}`, 0, MAX_GREF);
    const port = (key: string) => front.number(`${prefix}${key}`, 1, MAX_PORT);
    const split = front.text(`${prefix}event-channel-tx`) !== undefined;
    const grants = this.#grants!;
    const ring = (key: string, entrySize: number, offset: number, length: number) => {
      const journal = new Uint8Array(this.#c.journal, n * QUEUE_JOURNAL + offset, length);
      return { refs: [ref(key)], entrySize, journal, resume: resume && journalIsLive(journal) };
    };
    const txSpec = ring('tx-ring-ref', NETIF_TX_ENTRY_SIZE, 0, TX_JOURNAL);
    const rxSpec = ring('rx-ring-ref', NETIF_RX_ENTRY_SIZE, TX_JOURNAL, RX_JOURNAL);
    const { kernel } = this.#c;
    const tx = new RingConnection(kernel, grants, front.domid, {
      ...txSpec,
      port: port(split ? 'event-channel-tx' : 'event-channel'),
    });
    try {
      const rx = new RingConnection(kernel, grants, front.domid, {
        ...rxSpec,
        port: split ? port('event-channel-rx') : tx,
      });
      const transmit = new Transmit({
        connection: tx,
        grants,
        forward: (frame, meta) => this.#forward(frame, meta),
        counters: this.#c.counters,
        hold: (bytes) => this.#rate?.take(bytes) ?? 0,
        multicast: (add, address) => {
          if (add) return this.#multicast.add(address);
          this.#multicast.remove(address);
          return true;
        },
      });
      return { tx, rx, transmit, receive: new Receive(rx, grants, this.#c.counters) };
    } catch (error) {
      tx.close();
      throw error;
    }
  }

  #forward(frame: Uint8Array, meta: FrameMeta): void {
    this.#capture?.frame(frame);
    this.#bridge.forward(this.#port, frame, meta.checksumBlank ? meta : PLAIN);
  }

  #signalSoon(): void {
    this.#signalling ??= this.#c.kernel.loop.after(QUIET_MS, () => {
      this.#signalling = undefined;
      for (const { transmit } of this.#queues) transmit.signal();
    });
  }

  /** Looks at the rings again when the rate limit lets the next packet through. */
  #wakeAfter(ms: number): void {
    this.#wake ??= this.#c.kernel.loop.after(ms, () => {
      this.#wake = undefined;
    });
  }

  #startCapture(): void {
    this.#capture?.close();
    this.#capture = undefined;
    const path = this.#c.device.text('capture');
    if (!path) return;
    try {
      this.#capture = new Capture(path, CAPTURE_LIMIT);
    } catch (error) {
      this.#c.log(`${this.#c.device.path}: no capture in ${path}: ${(error as Error).message}`);
    }
  }
}

/** "bytes,microseconds"; without a limit there is none. */
function rateOf(text: string | undefined): RateLimit | undefined {
  if (text === undefined) return undefined;
  const match = /^(\d{1,15}),(\d{1,10})$/.exec(text);
  const [bytes, microseconds] = [Number(match?.[1]), Number(match?.[2])];
  if (!match || bytes === 0 || microseconds === 0)
    throw new DeviceError(`rate "${text}": bytes and microseconds are needed`);
  return new RateLimit(bytes, microseconds);
}
