/** Internet checksums (RFC 1071) of what a guest left to be filled in. */
import { PROTOCOL, type Transport, transportOf } from './packet.ts';

/** Shorter ranges are not worth a view. */
const PAIRS_FROM = 128;

/**
 * Sum of the 16-bit words from `from` to `to`, an odd last byte filled up with 0; not folded. At most 2^16 words. Most are taken
 * two at a time: 2^16 is 1 modulo 2^16 - 1, so that `fold` makes the same of it.
 */
export function sum(bytes: Uint8Array, from: number, to: number): number {
  let total = 0;
  let at = from;
  if (to - from >= PAIRS_FROM) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (; at + 3 < to; at += 4) total += view.getUint32(at);
  }
  for (; at + 1 < to; at += 2) total += (bytes[at] << 8) | bytes[at + 1];
  if (at < to) total += bytes[at] << 8;
  return total;
}

export function fold(total: number): number {
  let t = total;
  while (t > 0xffff) t = (t & 0xffff) + Math.floor(t / 0x10000);
  return ~t & 0xffff;
}

export function putWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

/** Of the pseudo-header. `length`: of the transport header and what follows. */
function pseudo(frame: Uint8Array, t: Transport, length: number): number {
  const addresses = t.version === 4 ? sum(frame, t.ip + 12, t.ip + 20) : sum(frame, t.ip + 8, t.ip + 40);
  return addresses + t.protocol + length;
}

/** Fills in the checksum of a TCP or UDP packet. */
export function fillTransport(frame: Uint8Array, t: Transport): void {
  putWord(frame, t.checksum, 0);
  const value = fold(pseudo(frame, t, t.end - t.at) + sum(frame, t.at, t.end));
  // RFC 768: no checksum is sent as 0, so one that is 0 goes as its complement.
  putWord(frame, t.checksum, value === 0 && t.protocol === PROTOCOL.UDP ? 0xffff : value);
}

/** What a sender leaves there that has a card fill in the checksum: the sum of the pseudo-header alone. */
export function fillPseudo(frame: Uint8Array, t: Transport): void {
  putWord(frame, t.checksum, ~fold(pseudo(frame, t, t.end - t.at)) & 0xffff);
}

export function fillIpv4(frame: Uint8Array, t: Pick<Transport, 'ip' | 'at'>): void {
  putWord(frame, t.ip + 10, 0);
  putWord(frame, t.ip + 10, fold(sum(frame, t.ip, t.at)));
}

/** Fills in what was left blank; false if the frame is nothing that has such a checksum. */
export function fillBlank(frame: Uint8Array): boolean {
  const t = transportOf(frame);
  if (t) fillTransport(frame, t);
  return t !== undefined;
}
