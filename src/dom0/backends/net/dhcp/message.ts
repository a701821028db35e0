/** DHCP messages in Ethernet frames (RFC 2131, 2132), as far as a server that gives addresses and nothing else needs them. */
import { fillIpv4, fillTransport, putWord } from '../checksum.ts';
import { PROTOCOL, transportOf } from '../packet.ts';

export const DHCP = { DISCOVER: 1, OFFER: 2, REQUEST: 3, DECLINE: 4, ACK: 5, NAK: 6, RELEASE: 7, INFORM: 8 } as const;
export const OPTION = { MASK: 1, ADDRESS: 50, LEASE: 51, TYPE: 53, SERVER: 54, END: 255 } as const;
const PAD = 0;

const PORT = { SERVER: 67, CLIENT: 68 } as const;
/** Bytes of a message before its options, the cookie included. */
const FIXED = 240;
const COOKIE = 0x6382_5363;
const REQUEST = 1;
const REPLY = 2;
const ETHERNET = 1;
const BROADCAST_FLAG = 0x8000;
/** Offsets in a message. */
const AT = { op: 0, htype: 1, hlen: 2, xid: 4, flags: 10, ciaddr: 12, yiaddr: 16, giaddr: 24, chaddr: 28, cookie: 236 };
const ETHERNET_HEADER = 14;
const IP_HEADER = 20;
const UDP_HEADER = 8;
/** What relays and old clients take for granted (BOOTP). */
const MIN_MESSAGE = 300;
const ANY = 0xffff_ffff;

export interface DhcpRequest {
  readonly type: number;
  /** The client's address on the link: `chaddr`. */
  readonly mac: Uint8Array;
  /** As numbers, 0: none. */
  readonly client: number;
  readonly requested: number;
  readonly server: number;
  /** What the answer repeats. */
  readonly xid: number;
  readonly flags: number;
}

export interface DhcpReply {
  readonly type: number;
  /** For the client; 0: none. */
  readonly address: number;
  /** Seconds; 0: not said. */
  readonly lease: number;
}

/** What the frames of a server say of it. */
export interface DhcpSource {
  readonly mac: Uint8Array;
  readonly address: number;
  readonly mask: number;
}

/** Undefined for what is no request of a client on this link. Never reads outside the frame. */
export function parseRequest(frame: Uint8Array): DhcpRequest | undefined {
  const t = transportOf(frame);
  if (t?.version !== 4 || t.protocol !== PROTOCOL.UDP) return undefined;
  const udp = new DataView(frame.buffer, frame.byteOffset + t.at, t.end - t.at);
  if (udp.getUint16(2) !== PORT.SERVER || udp.byteLength < UDP_HEADER + FIXED) return undefined;
  const m = new DataView(udp.buffer, udp.byteOffset + UDP_HEADER, udp.byteLength - UDP_HEADER);
  const ours = m.getUint8(AT.op) === REQUEST && m.getUint8(AT.htype) === ETHERNET && m.getUint8(AT.hlen) === 6;
  if (!ours || m.getUint32(AT.cookie) !== COOKIE || m.getUint32(AT.giaddr) !== 0) return undefined;
  const options = readOptions(m);
  const number = (option: number) => options.get(option)?.getUint32(0) ?? 0;
  const type = options.get(OPTION.TYPE);
  if (!type) return undefined;
  return {
    type: type.getUint8(0),
    mac: new Uint8Array(m.buffer, m.byteOffset + AT.chaddr, 6).slice(),
    client: m.getUint32(AT.ciaddr),
    requested: number(OPTION.ADDRESS),
    server: number(OPTION.SERVER),
    xid: m.getUint32(AT.xid),
    flags: m.getUint16(AT.flags),
  };
}

/** Those that are used here and have the length they must have. */
function readOptions(m: DataView): Map<number, DataView> {
  const lengths = new Map<number, number>([
    [OPTION.TYPE, 1],
    [OPTION.ADDRESS, 4],
    [OPTION.SERVER, 4],
  ]);
  const found = new Map<number, DataView>();
  for (let at = FIXED; at + 1 < m.byteLength; ) {
    const option = m.getUint8(at);
    if (option === OPTION.END) break;
    if (option === PAD) {
      at++;
      continue;
    }
    const length = m.getUint8(at + 1);
    if (at + 2 + length > m.byteLength) break;
    if (lengths.get(option) === length) found.set(option, new DataView(m.buffer, m.byteOffset + at + 2, length));
    at += 2 + length;
  }
  return found;
}

/** The frame with the answer to a request. */
export function buildReply(from: DhcpSource, request: DhcpRequest, reply: DhcpReply): Uint8Array {
  const message = buildMessage(from, request, reply);
  const frame = new Uint8Array(ETHERNET_HEADER + IP_HEADER + UDP_HEADER + message.length);
  const v = new DataView(frame.buffer);
  // RFC 2131, 4.1: to the address that the client has, or is to have, unless it cannot receive such packets yet.
  const known = request.client || reply.address;
  const all =
    reply.type === DHCP.NAK || known === 0 || (request.client === 0 && (request.flags & BROADCAST_FLAG) !== 0);
  frame.set(all ? new Uint8Array(6).fill(0xff) : request.mac, 0);
  frame.set(from.mac, 6);
  putWord(frame, 12, 0x0800);
  const ip = ETHERNET_HEADER;
  frame[ip] = 0x45;
  putWord(frame, ip + 2, frame.length - ip);
  frame[ip + 8] = 64;
  frame[ip + 9] = PROTOCOL.UDP;
  v.setUint32(ip + 12, from.address);
  v.setUint32(ip + 16, all ? ANY : known);
  const udp = ip + IP_HEADER;
  putWord(frame, udp, PORT.SERVER);
  putWord(frame, udp + 2, PORT.CLIENT);
  putWord(frame, udp + 4, UDP_HEADER + message.length);
  frame.set(message, udp + UDP_HEADER);
  const transport = transportOf(frame)!;
  fillIpv4(frame, transport);
  fillTransport(frame, transport);
  return frame;
}

function buildMessage(from: DhcpSource, request: DhcpRequest, reply: DhcpReply): Uint8Array {
  const message = new Uint8Array(MIN_MESSAGE);
  const v = new DataView(message.buffer);
  v.setUint8(AT.op, REPLY);
  v.setUint8(AT.htype, ETHERNET);
  v.setUint8(AT.hlen, 6);
  v.setUint32(AT.xid, request.xid);
  v.setUint16(AT.flags, request.flags);
  if (reply.type !== DHCP.NAK) v.setUint32(AT.ciaddr, request.client);
  v.setUint32(AT.yiaddr, reply.address);
  message.set(request.mac, AT.chaddr);
  v.setUint32(AT.cookie, COOKIE);
  let at = FIXED;
  const word = (option: number, value: number) => {
    v.setUint8(at, option);
    v.setUint8(at + 1, 4);
    v.setUint32(at + 2, value);
    at += 6;
  };
  v.setUint8(at, OPTION.TYPE);
  v.setUint8(at + 1, 1);
  v.setUint8(at + 2, reply.type);
  at += 3;
  word(OPTION.SERVER, from.address);
  if (reply.lease > 0) word(OPTION.LEASE, reply.lease);
  if (reply.type !== DHCP.NAK) word(OPTION.MASK, from.mask);
  v.setUint8(at, OPTION.END);
  return message;
}
