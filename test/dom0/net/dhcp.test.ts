/** The DHCP server of bridges: its leases, and frames that are no requests. */
import { describe, expect, it } from 'vitest';
import { Bridge, createBridgeMemory } from '../../../src/dom0/backends/net/bridge/bridge.ts';
import { PLAIN } from '../../../src/dom0/backends/net/bridge/queue.ts';
import { DHCP, OPTION } from '../../../src/dom0/backends/net/dhcp/message.ts';
import { DhcpResponder } from '../../../src/dom0/backends/net/dhcp/responder.ts';
import { DhcpServer, parseNetwork } from '../../../src/dom0/backends/net/dhcp/server.ts';
import { rng } from '../devices/image-kinds.ts';
import { check } from './packets.ts';

const FUZZ = Number(process.env.NET_FUZZ ?? 60) * 50;
const ip = (text: string) => text.split('.').reduce((n, b) => n * 256 + Number(b), 0);
const word = (n: number) => [n >>> 24, (n >> 16) & 255, (n >> 8) & 255, n & 255];

interface Ask {
  readonly mac?: number;
  readonly client?: string;
  readonly requested?: string;
  readonly server?: string;
  readonly broadcast?: boolean;
}

/** A client's frame, byte by byte. */
function ask(type: number, o: Ask = {}): Uint8Array {
  const mac = [0, 0x16, 0x3e, 0, 0, o.mac ?? 1];
  const client = word(ip(o.client ?? '0.0.0.0'));
  const options = [99, 130, 83, 99, 53, 1, type];
  if (o.requested) options.push(50, 4, ...word(ip(o.requested)));
  if (o.server) options.push(54, 4, ...word(ip(o.server)));
  options.push(12, 3, 97, 98, 99, 255);
  const zeros = (n: number) => new Array(n).fill(0);
  const dhcp = [
    1,
    1,
    6,
    0,
    0xab,
    0xcd,
    0,
    o.mac ?? 1,
    0,
    0,
    o.broadcast ? 0x80 : 0,
    0,
    ...client,
    ...zeros(12),
    ...mac,
    ...zeros(202),
    ...options,
  ];
  const length = dhcp.length + 8;
  const udp = [0, 68, 0, 67, length >> 8, length & 255, 0, 0];
  const header = [
    0x45,
    0,
    (length + 20) >> 8,
    (length + 20) & 255,
    0,
    0,
    0,
    0,
    64,
    17,
    0,
    0,
    ...client,
    255,
    255,
    255,
    255,
  ];
  return Uint8Array.from([...zeros(6).fill(255), ...mac, 8, 0, ...header, ...udp, ...dhcp]);
}

/** What an answer says. Its checksums must be right. */
function said(frame: Uint8Array | undefined) {
  if (!frame) return undefined;
  expect(check(frame)).toMatchObject({ ipOk: true, transportOk: true });
  const v = new DataView(frame.buffer, frame.byteOffset);
  const at = 42;
  const options = new Map<number, number>();
  for (let o = at + 240; frame[o] !== 255; o += 2 + frame[o + 1])
    options.set(frame[o], frame[o + 1] === 1 ? frame[o + 2] : v.getUint32(o + 2));
  const dotted = (n: number) => word(n).join('.');
  return {
    type: options.get(OPTION.TYPE),
    address: dotted(v.getUint32(at + 16)),
    server: dotted(options.get(OPTION.SERVER) ?? 0),
    mask: dotted(options.get(OPTION.MASK) ?? 0),
    lease: options.get(OPTION.LEASE),
    to: dotted(v.getUint32(30)),
    mac: frame.subarray(0, 6).every((b) => b === 255) ? 'all' : frame[5],
  };
}

/** A server of 192.168.7.0/24, or another, and its clock. */
function server(network = '192.168.7.0/24') {
  const clock = { s: 100 };
  const s = new DhcpServer(parseNetwork(network)!, () => clock.s);
  return { clock, ask: (type: number, o?: Ask) => said(s.handle(ask(type, o))), raw: s };
}

it('gives an address, and says for how long', () => {
  const s = server();
  expect(s.ask(DHCP.DISCOVER)).toEqual({
    type: DHCP.OFFER,
    address: '192.168.7.2',
    server: '192.168.7.1',
    mask: '255.255.255.0',
    lease: 3600,
    to: '192.168.7.2',
    mac: 1,
  });
  expect(s.ask(DHCP.REQUEST, { requested: '192.168.7.2', server: '192.168.7.1', broadcast: true })).toMatchObject({
    type: DHCP.ACK,
    address: '192.168.7.2',
    lease: 3600,
    to: '255.255.255.255',
    mac: 'all',
  });
  // Renewed by its own address.
  expect(s.ask(DHCP.REQUEST, { client: '192.168.7.2' })).toMatchObject({
    type: DHCP.ACK,
    address: '192.168.7.2',
    to: '192.168.7.2',
    mac: 1,
  });
  expect(s.ask(DHCP.INFORM, { client: '192.168.7.2' })).toMatchObject({
    type: DHCP.ACK,
    address: '0.0.0.0',
    lease: undefined,
    to: '192.168.7.2',
  });
});

it('keeps cards apart, and gives each what it had', () => {
  const s = server();
  expect(s.ask(DHCP.DISCOVER, { mac: 1 })?.address).toBe('192.168.7.2');
  expect(s.ask(DHCP.DISCOVER, { mac: 2, requested: '192.168.7.2' })?.address).toBe('192.168.7.3');
  expect(s.ask(DHCP.DISCOVER, { mac: 3, requested: '192.168.7.77' })?.address).toBe('192.168.7.77');
  expect(s.ask(DHCP.DISCOVER, { mac: 4, requested: '10.0.0.1' })?.address).toBe('192.168.7.4');
  expect(s.ask(DHCP.REQUEST, { mac: 2, requested: '192.168.7.77' })).toMatchObject({
    type: DHCP.NAK,
    address: '0.0.0.0',
    mac: 'all',
  });
  // After a host has started anew: what a card says that it had.
  expect(s.ask(DHCP.REQUEST, { mac: 9, requested: '192.168.7.99' })?.type).toBe(DHCP.ACK);
  expect(s.ask(DHCP.REQUEST, { mac: 9, requested: '192.168.7.99', server: '192.168.7.200' })).toBeUndefined();
  s.clock.s += 10_000;
  expect(s.ask(DHCP.DISCOVER, { mac: 9 })?.address).toBe('192.168.7.99');
});

it('has no more than there are: ended, released and declined ones', () => {
  const s = server('10.1.2.128/29');
  const all = [1, 2, 3, 4, 5].map((mac) => s.ask(DHCP.DISCOVER, { mac })?.address);
  expect(all).toEqual(['10.1.2.130', '10.1.2.131', '10.1.2.132', '10.1.2.133', '10.1.2.134']);
  expect(s.ask(DHCP.DISCOVER, { mac: 6 })).toBeUndefined();
  for (const mac of [1, 2, 3, 4, 5]) expect(s.ask(DHCP.REQUEST, { mac, requested: all[mac - 1] })?.type).toBe(DHCP.ACK);
  s.clock.s += 100;
  expect(s.ask(DHCP.DISCOVER, { mac: 6 })).toBeUndefined();
  s.ask(DHCP.RELEASE, { mac: 3, client: all[2] });
  expect(s.ask(DHCP.DISCOVER, { mac: 6 })?.address).toBe(all[2]);
  s.ask(DHCP.DECLINE, { mac: 6, requested: all[2] });
  expect(s.ask(DHCP.DISCOVER, { mac: 6 })).toBeUndefined();
  s.clock.s += 4000;
  expect(s.ask(DHCP.DISCOVER, { mac: 6 })?.address).toBe(all[0]);
});

it('answers who asks for its own address, and nobody else', () => {
  const s = server();
  const arp = (target: string) =>
    Uint8Array.from([
      ...new Array(6).fill(255),
      0,
      22,
      62,
      0,
      0,
      1,
      8,
      6,
      0,
      1,
      8,
      0,
      6,
      4,
      0,
      1,
      0,
      22,
      62,
      0,
      0,
      1,
      ...word(ip('192.168.7.2')),
      ...new Array(6).fill(0),
      ...word(ip(target)),
    ]);
  const mac = [0xfe, 255, 255, 255, 255, 255];
  expect([...s.raw.handle(arp('192.168.7.1'))!]).toEqual([
    0,
    22,
    62,
    0,
    0,
    1,
    ...mac,
    8,
    6,
    0,
    1,
    8,
    0,
    6,
    4,
    0,
    2,
    ...mac,
    192,
    168,
    7,
    1,
    0,
    22,
    62,
    0,
    0,
    1,
    192,
    168,
    7,
    2,
  ]);
  expect(s.raw.handle(arp('192.168.7.2'))).toBeUndefined();
});

it('networks are checked', () => {
  for (const text of [
    '',
    '192.168.7.0',
    '192.168.7.1/24',
    '192.168.7.0/31',
    '10.0.0.0/8',
    '300.0.0.0/24',
    '0.0.0.0/24',
    '224.0.0.0/24',
  ])
    expect(parseNetwork(text), text).toBeUndefined();
});

describe('frames that are anything', () => {
  it('do no harm', () => {
    const s = server('10.1.2.128/28');
    const random = rng(5);
    for (let n = 0; n < FUZZ; n++) {
      const frame = ask(Math.floor(random() * 9), {
        mac: Math.floor(random() * 256),
        requested: `10.1.2.${Math.floor(random() * 256)}`,
      });
      for (let change = Math.floor(random() * 4); change > 0; change--)
        frame[Math.floor(random() * frame.length)] = random() * 256;
      s.raw.handle(random() < 0.3 ? frame.subarray(0, Math.floor(random() * frame.length)) : frame);
      s.clock.s += random() * 20;
    }
    s.clock.s += 10_000;
    expect(s.ask(DHCP.DISCOVER, { mac: 1 })?.type).toBe(DHCP.OFFER);
  });

  it('many of them do not hold a bridge up, and requests are answered after', async () => {
    const bridge = new Bridge(createBridgeMemory());
    const responder = DhcpResponder.start(bridge, parseNetwork('192.168.7.0/24')!)!;
    const port = bridge.attach();
    for (let n = 0; n < 3000; n++) bridge.forward(port, new Uint8Array(1000).fill(255), PLAIN);
    let answer: Uint8Array | undefined;
    for (let n = 0; n < 300 && !answer; n++) {
      bridge.forward(port, ask(DHCP.DISCOVER), PLAIN);
      await new Promise((r) => setTimeout(r, 10));
      answer = bridge.queue(port).peek()?.frame.slice();
    }
    expect(said(answer)).toMatchObject({ type: DHCP.OFFER, address: '192.168.7.2' });
    responder.stop();
  });
});
