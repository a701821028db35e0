/**
 * A DHCP server (RFC 2131) for a bridge: it gives each card an address of one network, the same as before where it can, and
 * nothing else: a bridge leads nowhere. The first address of the network is its own; it answers ARP for it.
 */
import { buildReply, DHCP, type DhcpRequest, type DhcpSource, parseRequest } from './message.ts';

/** Seconds that an address is given for, and that one which is only offered stays set aside. */
const LEASE_S = 3600;
const OFFER_S = 60;
/** What Linux's back ends have for their end of every vif. */
const MAC = Uint8Array.of(0xfe, 0xff, 0xff, 0xff, 0xff, 0xff);
const ARP = 0x0806;
const ARP_REQUEST = 1;
const ARP_REPLY = 2;
const ARP_FRAME = 42;

export interface Network {
  /** As a number, its last bits zeros. */
  readonly address: number;
  readonly prefix: number;
}

/** "192.168.7.0/24": room for a server and a client at least, and not more than 4,096 addresses. Undefined: it is none. */
export function parseNetwork(text: string): Network | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text);
  const bytes = match?.slice(1, 5).map(Number) ?? [];
  const prefix = Number(match?.[5]);
  if (!match || bytes.some((b) => b > 255) || prefix < 20 || prefix > 30) return undefined;
  const address = bytes.reduce((n, b) => n * 256 + b, 0);
  return address % 2 ** (32 - prefix) === 0 && bytes[0] > 0 && bytes[0] < 224 ? { address, prefix } : undefined;
}

interface Lease {
  readonly address: number;
  /** In seconds of the server's clock. */
  until: number;
}

export class DhcpServer {
  readonly #source: DhcpSource;
  readonly #first: number;
  readonly #last: number;
  readonly #now: () => number;
  /** By MAC address, the one that was used last at the end. Leases that have ended stay while nobody needs their address. */
  readonly #leases = new Map<string, Lease>();
  readonly #taken = new Map<number, string>();
  /** No address below this one was never given. */
  #fresh: number;

  /** `now`: seconds, of a clock that does not go back. */
  constructor(network: Network, now = () => performance.now() / 1000) {
    const mask = (0xffff_ffff << (32 - network.prefix)) >>> 0;
    this.#source = { mac: MAC, address: network.address + 1, mask };
    this.#first = network.address + 2;
    this.#fresh = this.#first;
    this.#last = network.address + 2 ** (32 - network.prefix) - 2;
    this.#now = now;
  }

  /** The answer to a frame, if there is one. The frame may be anything. */
  handle(frame: Uint8Array): Uint8Array | undefined {
    const request = parseRequest(frame);
    return request ? this.#answer(request) : this.#arp(frame);
  }

  #answer(r: DhcpRequest): Uint8Array | undefined {
    const mac = Buffer.from(r.mac).toString('hex');
    switch (r.type) {
      case DHCP.DISCOVER: {
        const lease = this.#leaseFor(mac, r.requested);
        if (!lease) return undefined;
        lease.until = Math.max(lease.until, this.#now() + OFFER_S);
        return buildReply(this.#source, r, { type: DHCP.OFFER, address: lease.address, lease: LEASE_S });
      }
      case DHCP.REQUEST:
        return this.#request(mac, r);
      case DHCP.DECLINE:
        this.#decline(mac, r.requested);
        return undefined;
      case DHCP.RELEASE: {
        const lease = this.#leases.get(mac);
        if (lease?.address === r.client) lease.until = this.#now();
        return undefined;
      }
      case DHCP.INFORM:
        return buildReply(this.#source, r, { type: DHCP.ACK, address: 0, lease: 0 });
      default:
        return undefined;
    }
  }

  /** It takes an offer, or wants to keep what it has, or had: asked for by option or, to renew, by its own address. */
  #request(mac: string, r: DhcpRequest): Uint8Array | undefined {
    // The offer of another server.
    if (r.server !== 0 && r.server !== this.#source.address) return undefined;
    const wanted = r.requested || r.client;
    const lease = this.#leaseFor(mac, wanted);
    if (lease?.address !== wanted) return buildReply(this.#source, r, { type: DHCP.NAK, address: 0, lease: 0 });
    lease.until = this.#now() + LEASE_S;
    return buildReply(this.#source, r, { type: DHCP.ACK, address: wanted, lease: LEASE_S });
  }

  /** Somebody has the address already, of himself: nobody gets it for a while. */
  #decline(mac: string, address: number): void {
    if (this.#leases.get(mac)?.address !== address) return;
    this.#leases.delete(mac);
    this.#set(`declined ${address}`, { address, until: this.#now() + LEASE_S });
  }

  /** The lease of a card: its old one, or `wanted` if that is free, or any. Undefined: all addresses are taken. */
  #leaseFor(mac: string, wanted: number): Lease | undefined {
    const old = this.#leases.get(mac);
    if (old) return this.#set(mac, old);
    const address = this.#isFree(wanted) ? wanted : this.#freeAddress();
    if (address === undefined) return undefined;
    const before = this.#taken.get(address);
    if (before !== undefined) this.#leases.delete(before);
    return this.#set(mac, { address, until: 0 });
  }

  #set(mac: string, lease: Lease): Lease {
    this.#leases.delete(mac);
    this.#leases.set(mac, lease);
    this.#taken.set(lease.address, mac);
    return lease;
  }

  #isFree(address: number): boolean {
    if (address < this.#first || address > this.#last) return false;
    const mac = this.#taken.get(address);
    return mac === undefined || (this.#leases.get(mac)?.until ?? 0) <= this.#now();
  }

  #freeAddress(): number | undefined {
    while (this.#fresh <= this.#last && this.#taken.has(this.#fresh)) this.#fresh++;
    if (this.#fresh <= this.#last) return this.#fresh;
    // Of those whose lease ended, the one that was used longest ago.
    const now = this.#now();
    for (const { address, until } of this.#leases.values()) if (until <= now) return address;
    return undefined;
  }

  /** RFC 826: who asks for the server's address is told. */
  #arp(frame: Uint8Array): Uint8Array | undefined {
    if (frame.length < ARP_FRAME) return undefined;
    const v = new DataView(frame.buffer, frame.byteOffset, frame.length);
    const asks =
      v.getUint16(12) === ARP && v.getUint32(14) === 0x0001_0800 && v.getUint32(18) === 0x0604_0000 + ARP_REQUEST;
    if (!asks || v.getUint32(38) !== this.#source.address) return undefined;
    const reply = frame.slice(0, ARP_FRAME);
    const w = new DataView(reply.buffer);
    reply.set(frame.subarray(6, 12), 0);
    reply.set(MAC, 6);
    w.setUint16(20, ARP_REPLY);
    reply.set(MAC, 22);
    w.setUint32(28, this.#source.address);
    reply.set(frame.subarray(22, 32), 32);
    return reply;
  }
}
