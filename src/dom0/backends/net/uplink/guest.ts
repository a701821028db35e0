/**
 * What passt knows of the guest from its frames only: it sends to the addresses that the last ones came from. They are kept
 * here for a passt that is started anew, to which a guest that waits for connections would say nothing.
 */
import { fillIpv4, putWord } from '../checksum.ts';
import { ETHERTYPE } from '../packet.ts';
import { GUEST_NETWORK } from './passt.ts';

/** Offsets in a frame: source, type; then those of an IPv4 packet and of an ARP message (RFC 826). */
const AT = { source: 6, type: 12, ip: 14, ipSource: 26, ipDestination: 30, arpHardware: 22, arpSource: 28 } as const;
const MIN_IPV4 = 34;
const MIN_ARP = 42;
/** Ethernet, IPv4, and how long their addresses are. */
const ARP_HEADER = [0, 1, 8, 0, 6, 4];
/** For experiments (RFC 3692): passt takes the addresses of such a packet and drops it. */
const PROTOCOL_NONE = 253;
/** Shortest that Ethernet carries. passt drops IPv4 packets that are followed by padding. */
const LENGTH = 60;

const octets = (address: string) => address.split('.').map(Number);

export class GuestAddresses {
  /** Zeros: not seen yet. */
  readonly #mac = new Uint8Array(6);
  readonly #ip = Uint8Array.from(octets(GUEST_NETWORK.address));

  /** A frame of the guest, which may hold anything: groups' and impossible addresses are left out. */
  see(frame: Uint8Array): void {
    if (frame.length < AT.ip || (frame[AT.source] & 1) !== 0 || isZero(frame, AT.source, 6)) return;
    copy(frame, AT.source, this.#mac);
    const at = ipv4Source(frame);
    if (at >= 0 && isHost(frame[at])) copy(frame, at, this.#ip);
  }

  /**
   * A frame of the guest's that does nothing but tell passt its addresses; undefined if there was none yet. An ARP message
   * would not do: passt takes no IPv4 addresses from these.
   */
  announcement(): Uint8Array | undefined {
    if (isZero(this.#mac, 0, 6)) return undefined;
    const frame = new Uint8Array(LENGTH);
    frame.fill(0xff, 0, AT.source);
    frame.set(this.#mac, AT.source);
    putWord(frame, AT.type, ETHERTYPE.IPV4);
    frame[AT.ip] = 0x45;
    putWord(frame, AT.ip + 2, LENGTH - AT.ip);
    frame[AT.ip + 8] = 1;
    frame[AT.ip + 9] = PROTOCOL_NONE;
    frame.set(this.#ip, AT.ipSource);
    frame.set(octets(GUEST_NETWORK.gateway), AT.ipDestination);
    fillIpv4(frame, { ip: AT.ip, at: MIN_IPV4 });
    return frame;
  }
}

/** Where the frame has the IPv4 address of its sender; -1: it has none. */
function ipv4Source(frame: Uint8Array): number {
  const type = (frame[AT.type] << 8) | frame[AT.type + 1];
  if (type === ETHERTYPE.IPV4) return frame.length >= MIN_IPV4 && frame[AT.ip] >> 4 === 4 ? AT.ipSource : -1;
  if (type !== ETHERTYPE.ARP || frame.length < MIN_ARP) return -1;
  for (let i = 0; i < ARP_HEADER.length; i++) if (frame[AT.ip + i] !== ARP_HEADER[i]) return -1;
  for (let i = 0; i < 6; i++) if (frame[AT.arpHardware + i] !== frame[AT.source + i]) return -1;
  return AT.arpSource;
}

/** By its first octet, can the address be a host's: not of "this network", loopback, a group, all? */
const isHost = (first: number) => first !== 0 && first !== 127 && first < 224;

function isZero(bytes: Uint8Array, at: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (bytes[at + i] !== 0) return false;
  return true;
}

function copy(from: Uint8Array, at: number, to: Uint8Array): void {
  for (let i = 0; i < to.length; i++) to[i] = from[at + i];
}
