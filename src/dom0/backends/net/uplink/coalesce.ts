/**
 * Segments of a TCP stream that come one after the other become one frame, as in a card that receives large packets (Linux calls
 * it GRO): a guest that takes such frames has a thirtieth of the work. What the segments were can be made of it again, and is
 * for guests that do not (segment.ts).
 */
import { XEN_NETIF_GSO_TYPE } from '../../../../abi/netif.ts';
import type { FrameMeta } from '../bridge/queue.ts';
import { MAX_FRAME, PLAIN } from '../bridge/queue.ts';
import { fillIpv4, fillPseudo, putWord } from '../checksum.ts';
import { PROTOCOL, type Transport, transportOf, word } from '../packet.ts';

const ACK = 0x10;
const PSH = 0x08;
/** Without tags, and without options of IPv4 or extension headers of IPv6. */
const ETHERNET = 14;
const IP_HEADER = { 4: 20, 6: 40 } as const;
/** What an IP packet can say of its length. */
const MAX_IP = 65535;

/** Bytes of the headers that are the same in all segments: [from, to), from the start of the IP header. */
const SAME_IP = {
  4: [
    [0, 2],
    [6, 10],
    [12, 20],
  ],
  6: [
    [0, 4],
    [6, 40],
  ],
} as const;

interface Run {
  readonly frame: Uint8Array;
  readonly t: Transport;
  /** Payload of each segment but the last. */
  readonly size: number;
  readonly more: { readonly frame: Uint8Array; readonly t: Transport }[];
  /** Of the whole packet, without the Ethernet header. */
  length: number;
  /** Sequence number that the next segment has. */
  next: number;
  /** Nothing fits behind it. */
  closed: boolean;
}

export class Coalescer {
  readonly #emit: (frame: Uint8Array, meta: FrameMeta) => void;
  readonly #whole = new Uint8Array(MAX_FRAME);
  #run: Run | undefined;

  /** `emit` gets frames that are valid during the call. */
  constructor(emit: (frame: Uint8Array, meta: FrameMeta) => void) {
    this.#emit = emit;
  }

  /** The next frame, checksums filled in and right; it must stay as it is until `flush`. */
  push(frame: Uint8Array): void {
    const t = transportOf(frame);
    const run = this.#run;
    if (run && t && joins(run, frame, t)) {
      const payload = t.end - t.payload;
      run.more.push({ frame, t });
      run.length += payload;
      run.next = (run.next + payload) >>> 0;
      run.closed = payload < run.size || frame[t.at + 13] !== ACK;
      return;
    }
    this.flush();
    if (t && begins(frame, t)) this.#run = begin(frame, t);
    else this.#emit(frame, PLAIN);
  }

  /** Hands on what is kept. */
  flush(): void {
    const run = this.#run;
    this.#run = undefined;
    if (!run) return;
    if (run.more.length === 0) this.#emit(run.frame, PLAIN);
    else this.#emit(this.#together(run), metaOf(run));
  }

  #together({ frame, t, more, length }: Run): Uint8Array {
    const end = ETHERNET + length;
    const whole = this.#whole.subarray(0, end);
    whole.set(frame.subarray(0, t.end));
    let at = t.end;
    for (const m of more) {
      whole.set(m.frame.subarray(m.t.payload, m.t.end), at);
      at += m.t.end - m.t.payload;
    }
    const last = more[more.length - 1];
    whole[t.at + 13] |= last.frame[last.t.at + 13];
    putWord(whole, t.ip + (t.version === 4 ? 2 : 4), t.version === 4 ? length : length - IP_HEADER[6]);
    const all = { ...t, end };
    if (t.version === 4) fillIpv4(whole, all);
    fillPseudo(whole, all);
    return whole;
  }
}

const metaOf = ({ t, size }: Run): FrameMeta => ({
  checksumBlank: true,
  gsoSize: size,
  gsoType: t.version === 4 ? XEN_NETIF_GSO_TYPE.TCPV4 : XEN_NETIF_GSO_TYPE.TCPV6,
});

/** Data of a stream, and nothing out of the ordinary. */
function begins(frame: Uint8Array, t: Transport): boolean {
  return (
    t.protocol === PROTOCOL.TCP &&
    t.ip === ETHERNET &&
    t.at === ETHERNET + IP_HEADER[t.version] &&
    t.payload < t.end &&
    frame[t.at + 13] === ACK
  );
}

function begin(frame: Uint8Array, t: Transport): Run {
  const size = t.end - t.payload;
  const next = (sequenceOf(frame, t) + size) >>> 0;
  return { frame, t, size, more: [], length: t.end - ETHERNET, next, closed: false };
}

const sequenceOf = (frame: Uint8Array, { at }: Transport): number =>
  word(frame, at + 4) * 0x10000 + word(frame, at + 6);

function joins(run: Run, frame: Uint8Array, t: Transport): boolean {
  const { frame: first, t: f } = run;
  const payload = t.end - t.payload;
  if (run.closed || t.version !== f.version || t.ip !== f.ip || t.at !== f.at || t.payload !== f.payload) return false;
  if (t.protocol !== PROTOCOL.TCP || payload === 0 || payload > run.size || run.length + payload > MAX_IP) return false;
  if ((frame[t.at + 13] & ~PSH) !== ACK || sequenceOf(frame, t) !== run.next) return false;
  const same = (from: number, to: number) => {
    for (let n = from; n < to; n++) if (frame[n] !== first[n]) return false;
    return true;
  };
  // Ethernet; IP; ports; acknowledgement, length of the header; window; options.
  return (
    same(0, ETHERNET) &&
    SAME_IP[t.version].every(([from, to]) => same(t.ip + from, t.ip + to)) &&
    same(t.at, t.at + 4) &&
    same(t.at + 8, t.at + 13) &&
    same(t.at + 14, t.at + 16) &&
    same(t.at + 18, t.payload)
  );
}
