/** What of an Ethernet frame offloads need to know: where its IP and TCP or UDP headers are (RFC 791, 8200, 9293, 768). */

export const PROTOCOL = { TCP: 6, UDP: 17 } as const;
export const ETHERTYPE = { IPV4: 0x0800, ARP: 0x0806, IPV6: 0x86dd, VLAN: 0x8100, QINQ: 0x88a8 } as const;
/** IPv6 extension headers that may stand before TCP or UDP: hop-by-hop, routing, destination options. */
const EXTENSIONS: readonly number[] = [0, 43, 60];
const MAX_EXTENSIONS = 8;

/** Offsets are from the start of the frame. */
export interface Transport {
  readonly version: 4 | 6;
  readonly ip: number;
  readonly protocol: number;
  /** The TCP or UDP header; its checksum; what follows the header. */
  readonly at: number;
  readonly checksum: number;
  readonly payload: number;
  /** End of the IP packet: what follows in the frame is padding. */
  readonly end: number;
}

/** 16 bits, as networks order them. */
export const word = (f: Uint8Array, at: number) => (f[at] << 8) | f[at + 1];

/** Where the IP header is, behind up to two VLAN tags, and the type that says so. */
function network(frame: Uint8Array): { readonly type: number; readonly ip: number } | undefined {
  if (frame.length < 14) return undefined;
  let ip = 14;
  let type = word(frame, 12);
  for (let tags = 0; tags < 2 && (type === ETHERTYPE.VLAN || type === ETHERTYPE.QINQ); tags++) {
    if (frame.length < ip + 4) return undefined;
    type = word(frame, ip + 2);
    ip += 4;
  }
  return { type, ip };
}

/** The two addresses of an IP packet, source first: bytes `from` to `to` of the frame. */
export interface IpAddresses {
  readonly version: 4 | 6;
  readonly from: number;
  readonly to: number;
}

/** Undefined for what is no IP packet. Fragments have addresses too. */
export function ipOf(frame: Uint8Array): IpAddresses | undefined {
  const { type, ip } = network(frame) ?? { type: 0, ip: 0 };
  if (type === ETHERTYPE.IPV4 && frame.length >= ip + 20 && frame[ip] >> 4 === 4) {
    return { version: 4, from: ip + 12, to: ip + 20 };
  }
  if (type === ETHERTYPE.IPV6 && frame.length >= ip + 40 && frame[ip] >> 4 === 6) {
    return { version: 6, from: ip + 8, to: ip + 40 };
  }
  return undefined;
}

/** Undefined for what is no whole, unfragmented TCP or UDP packet. Never reads outside the frame. */
export function transportOf(frame: Uint8Array): Transport | undefined {
  const found = network(frame);
  if (!found) return undefined;
  const { type, ip } = found;
  const header = type === ETHERTYPE.IPV4 ? ipv4(frame, ip) : type === ETHERTYPE.IPV6 ? ipv6(frame, ip) : undefined;
  if (!header) return undefined;
  const { at, protocol, end, version } = header;
  if (protocol === PROTOCOL.TCP) {
    if (at + 20 > end) return undefined;
    const payload = at + (frame[at + 12] >> 4) * 4;
    return payload < at + 20 || payload > end
      ? undefined
      : { version, ip, protocol, at, checksum: at + 16, payload, end };
  }
  if (protocol === PROTOCOL.UDP && at + 8 <= end)
    return { version, ip, protocol, at, checksum: at + 6, payload: at + 8, end };
  return undefined;
}

interface IpHeader {
  readonly version: 4 | 6;
  readonly protocol: number;
  readonly at: number;
  readonly end: number;
}

function ipv4(frame: Uint8Array, ip: number): IpHeader | undefined {
  if (frame.length < ip + 20 || frame[ip] >> 4 !== 4) return undefined;
  const at = ip + (frame[ip] & 15) * 4;
  const end = ip + word(frame, ip + 2);
  const fragment = word(frame, ip + 6) & 0x3fff;
  if (at < ip + 20 || end < at || end > frame.length || fragment !== 0) return undefined;
  return { version: 4, protocol: frame[ip + 9], at, end };
}

function ipv6(frame: Uint8Array, ip: number): IpHeader | undefined {
  if (frame.length < ip + 40 || frame[ip] >> 4 !== 6) return undefined;
  const end = ip + 40 + word(frame, ip + 4);
  if (end > frame.length) return undefined;
  let at = ip + 40;
  let protocol = frame[ip + 6];
  for (let n = 0; EXTENSIONS.includes(protocol); n++) {
    if (n === MAX_EXTENSIONS || at + 8 > end) return undefined;
    protocol = frame[at];
    at += (frame[at + 1] + 1) * 8;
  }
  return at > end ? undefined : { version: 6, protocol, at, end };
}
