/** Control ring and multicast filter of the network back end: Linux’s front end uses neither, Windows’ drivers do. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  NETIF_RSP,
  NETTXF,
  XEN_NETIF_CTRL_HASH_ALGORITHM,
  XEN_NETIF_CTRL_HASH_TYPE,
  XEN_NETIF_CTRL_STATUS,
  XEN_NETIF_CTRL_TYPE,
  XEN_NETIF_EXTRA_TYPE,
} from '../../../src/abi/netif.ts';
import { XenbusState } from '../../../src/abi/xenbus.ts';
import { HASH_BYTES, HashConfig } from '../../../src/dom0/backends/net/hash.ts';
import { Host } from '../../../src/dom0/host.ts';
import { bytes, packet } from '../net/packets.ts';
import { GrantingDomain } from './front.ts';
import { rng } from './image-kinds.ts';
import { NetFront, type NetFrontOptions } from './net-front.ts';

const FUZZ = Number(process.env.NET_FUZZ ?? 60);
const { SUCCESS, NOT_SUPPORTED, INVALID_PARAMETER, BUFFER_OVERFLOW } = XEN_NETIF_CTRL_STATUS;
const T = XEN_NETIF_CTRL_TYPE;
const TOEPLITZ = XEN_NETIF_CTRL_HASH_ALGORITHM.TOEPLITZ;
const ALL_TYPES = 15;
/** The key of the examples that receive-side scaling is checked with everywhere. */
const KEY = Uint8Array.from(
  '6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa'.match(/../g)!,
  (h) => Number.parseInt(h, 16),
);

let host: Host;
let grants: GrantingDomain;
const warnings: string[] = [];

beforeAll(async () => {
  host = await Host.create({ memoryMiB: 256, pcpus: 1, warn: (m) => warnings.push(m) });
  grants = new GrantingDomain(host);
});
afterEach(() => host.devices.detachAll(0));
afterAll(() => host.stop());

async function front(options: NetFrontOptions = {}): Promise<NetFront> {
  const f = new NetFront(grants, await host.devices.nics.attach(0, {}), options);
  await f.connect();
  return f;
}

/** The bridge comes to know where `b` is. */
async function introduce(a: NetFront, b: NetFront): Promise<void> {
  b.send(packet({ version: 4, from: 2, to: 1, payload: bytes(20) }));
  await a.receive();
  await b.sent();
}

/** `a` sends, `b` has a control ring and four queues; the bridge knows where both are. */
async function pair(): Promise<[NetFront, NetFront]> {
  const a = await front();
  const b = await front({ queues: 4, control: true });
  await introduce(a, b);
  return [a, b];
}

/** A TCP frame of so many bytes from addresses and ports of RSS’s examples. */
function example(source: string, destination: string, ports: [number, number], size = 10): Uint8Array {
  const version = source.includes(':') ? 6 : 4;
  const frame = packet({ version, payload: bytes(size) });
  const at = version === 4 ? 26 : 22;
  const address = version === 4 ? (text: string) => text.split('.').map(Number) : v6;
  const from = address(source);
  frame.set([...from, ...address(destination)], at);
  const view = new DataView(frame.buffer);
  for (const [n, port] of ports.entries()) view.setUint16(at + 2 * from.length + 2 * n, port);
  return frame;
}
function v6(text: string): number[] {
  const [head, tail = ''] = text.split('::');
  const words = (part: string) => (part === '' ? [] : part.split(':').map((w) => Number.parseInt(w, 16)));
  const [first, last] = [words(head), words(tail)];
  const all = [...first, ...new Array(8 - first.length - last.length).fill(0), ...last];
  return all.flatMap((w) => [w >> 8, w & 255]);
}

const EXAMPLES: [string, string, [number, number], number, number][] = [
  ['66.9.149.187', '161.142.100.80', [2794, 1766], 0x323e8fc2, 0x51ccc178],
  ['199.92.111.2', '65.69.140.83', [14230, 4739], 0xd718262a, 0xc626b0ea],
  ['24.19.198.95', '12.22.207.184', [12898, 38024], 0xd2d0a5de, 0x5c2b394a],
  ['3ffe:2501:200:1fff::7', '3ffe:2501:200:3::1', [2794, 1766], 0x2cc18cd5, 0x40207d3d],
  ['3ffe:501:8::260:97ff:fe40:efab', 'ff02::1', [14230, 4739], 0x0f0c461c, 0xdde51bbf],
];

it('hashes as the examples of receive-side scaling do', () => {
  const config = new HashConfig(new Uint8Array(new SharedArrayBuffer(HASH_BYTES)));
  config.setKey(KEY);
  config.algorithm = TOEPLITZ;
  for (const [source, destination, ports, plain, tcp] of EXAMPLES) {
    const frame = example(source, destination, ports);
    const { IPV4, IPV4_TCP, IPV6, IPV6_TCP } = XEN_NETIF_CTRL_HASH_TYPE;
    const [ip, withPorts] = source.includes(':') ? [IPV6, IPV6_TCP] : [IPV4, IPV4_TCP];
    config.flags = ALL_TYPES;
    expect(config.hash(frame)).toEqual({ type: withPorts, value: tcp });
    config.flags = 1 << ip;
    expect(config.hash(frame)).toEqual({ type: ip, value: plain });
    config.flags = ALL_TYPES & ~(1 << ip) & ~(1 << withPorts);
    expect(config.hash(frame)).toBeUndefined();
  }
});

describe('the control ring', () => {
  it('steers frames to the queues that the guest says, and tells it the hash', async () => {
    const [a, b] = await pair();
    expect(b.back('feature-ctrl-ring')).toBe('1');
    expect(await b.ask(T.GET_HASH_FLAGS)).toEqual({ status: NOT_SUPPORTED, data: 0 });
    expect(await b.ask(T.SET_HASH_ALGORITHM, TOEPLITZ)).toEqual({ status: SUCCESS, data: 0 });
    expect(await b.ask(T.GET_HASH_FLAGS)).toEqual({ status: SUCCESS, data: ALL_TYPES });
    expect(await b.ask(T.SET_HASH_FLAGS, ALL_TYPES)).toEqual({ status: SUCCESS, data: 0 });
    expect(await b.askWith(T.SET_HASH_KEY, KEY, KEY.length)).toEqual({ status: SUCCESS, data: 0 });
    const send = async (frame: Uint8Array, queue: number, value: number, gso = 0) => {
      a.send(frame, gso ? { gsoSize: gso, gsoType: frame[12] === 8 ? 1 : 2, flags: NETTXF.csum_blank } : {});
      await a.sent();
      const got = await b.receive(queue);
      expect(Buffer.compare(got.frame, frame)).toBe(0);
      expect(got.hash).toMatchObject({ algorithm: TOEPLITZ, value });
      expect(got.gsoSize).toBe(gso);
    };
    // Without a table: modulo the number of queues.
    for (const [source, to, ports, , value] of EXAMPLES) await send(example(source, to, ports), value % 4, value);
    expect(await b.ask(T.GET_HASH_MAPPING_SIZE)).toEqual({ status: SUCCESS, data: 128 });
    expect((await b.ask(T.SET_HASH_MAPPING_SIZE, 128)).status).toBe(SUCCESS);
    const table = Uint32Array.from({ length: 64 }, (_, i) => (i * 7 + 1) & 3);
    const set = (first: number) => b.askWith(T.SET_HASH_MAPPING, new Uint8Array(table.buffer), table.length, first);
    expect((await set(0)).status).toBe(SUCCESS);
    expect((await set(64)).status).toBe(SUCCESS);
    // It goes on when the back end was killed: the guest set it up once.
    await host.devices.drivers.of(b.id)!.kill();
    for (const [source, to, ports, , value] of EXAMPLES) {
      await send(example(source, to, ports), table[value & 63], value);
    }
    const [source, to, ports, , value] = EXAMPLES[0];
    await send(example(source, to, ports, 20_000), table[value & 63], value, 1448);
    // And is gone with the connection's configuration.
    expect((await b.ask(T.SET_HASH_ALGORITHM, 0)).status).toBe(SUCCESS);
    a.send(example(source, to, ports));
    expect((await b.receiveAny()).hash).toBeUndefined();
  });

  it('refuses what makes no sense, and goes on', async () => {
    const [, b] = await pair();
    const wrong: [number[], number][] = [
      [[T.SET_HASH_ALGORITHM, 2], INVALID_PARAMETER],
      [[T.SET_HASH_FLAGS, 1], INVALID_PARAMETER],
      [[T.SET_HASH_KEY, 9999, 40], INVALID_PARAMETER],
      [[T.SET_HASH_KEY, 9999, 41], BUFFER_OVERFLOW],
      [[T.SET_HASH_MAPPING_SIZE, 129], INVALID_PARAMETER],
      [[T.SET_HASH_MAPPING, 9999, 1, 0], INVALID_PARAMETER],
      [[T.SET_HASH_MAPPING, 9999, 0xffff_ffff, 1], BUFFER_OVERFLOW],
      [[T.INVALID], NOT_SUPPORTED],
      [[T.GET_GREF_MAPPING_SIZE], NOT_SUPPORTED],
      [[T.ADD_GREF_MAPPING, 0, 1, 1], NOT_SUPPORTED],
      [[0xffff], NOT_SUPPORTED],
    ];
    for (const [[type, ...data], status] of wrong) {
      expect(await b.ask(type, ...data), `${type} ${data}`).toEqual({ status, data: 0 });
    }
    await b.ask(T.SET_HASH_ALGORITHM, TOEPLITZ);
    expect((await b.ask(T.SET_HASH_FLAGS, 16)).status).toBe(INVALID_PARAMETER);
    await b.ask(T.SET_HASH_MAPPING_SIZE, 4);
    const map = (queues: number[], first: number) =>
      b.askWith(T.SET_HASH_MAPPING, new Uint8Array(Uint32Array.from(queues).buffer), queues.length, first);
    expect((await map([0, 1, 2, 4], 0)).status).toBe(INVALID_PARAMETER);
    expect((await map([0, 1], 3)).status).toBe(INVALID_PARAMETER);
    expect((await map([3, 2], 2)).status).toBe(SUCCESS);
    expect((await b.ask(T.SET_HASH_KEY, 0, 0)).status).toBe(SUCCESS);
    expect(b.back('state')).toBe(`${XenbusState.Connected}`);
    expect(warnings).toEqual([]);
  });

  it.each([
    [{ 'ctrl-ring-ref': 9999 }, 'grant 9999'],
    [{ 'event-channel-ctrl': 0 }, 'event-channel-ctrl is "0"'],
  ])('that is wrong (%j) is no connection', async (nodes, message) => {
    const id = await host.devices.nics.attach(0, {});
    const f = new NetFront(grants, id, { control: true });
    f.publish();
    for (const [key, value] of Object.entries(nodes)) f.write(key, value);
    f.write('state', XenbusState.Connected);
    await f.backendState(XenbusState.Closing);
    expect(host.store.read(`/local/domain/${id.backendDomid}/error/backend/vif/0/${id.devid}/error`)).toContain(
      message,
    );
  });

  it('may be used for noise, by a guest that changes what it has granted meanwhile', async () => {
    const [a, b] = await pair();
    const random = rng(3);
    const page = b.data(bytes(4096));
    for (let n = 0; n < FUZZ; n++) {
      const odd = () =>
        [0, 1, 3, 40, 128, page.ref, 0xffff_ffff, Math.floor(random() * 2 ** 32)][Math.floor(random() * 8)];
      host.xen.memory.bytes[page.page + Math.floor(random() * 4096)] = random() * 6;
      await b.ask(Math.floor(random() * 12), odd(), odd(), odd());
      if (n % 10 > 0) continue;
      const frame = packet({ version: n % 20 ? 6 : 4, payload: bytes(n % 1000), udp: n % 30 === 0 });
      a.send(frame);
      await a.sent();
      expect(Buffer.compare((await b.receiveAny()).frame, frame)).toBe(0);
      for (const [q] of b.queues.entries()) b.give(1, q);
    }
    expect(host.devices.drivers.of(b.id)!.restarts).toBe(0);
    expect(b.back('state')).toBe(`${XenbusState.Connected}`);
  });
});

describe('the filter of multicast frames', () => {
  const GROUP = [0x01, 0, 0x5e, 1, 2, 3];
  const OTHER = [0x33, 0x33, 0, 0, 0, 1];
  const ALL = [255, 255, 255, 255, 255, 255];
  const { MCAST_ADD, MCAST_DEL } = XEN_NETIF_EXTRA_TYPE;
  const to = (address: readonly number[], seed: number) => {
    const frame = packet({ version: 4, payload: bytes(30, seed) });
    frame.set(address);
    return frame;
  };
  /** Sends each; which arrive. */
  async function arrive(a: NetFront, b: NetFront, ...groups: (readonly number[])[]): Promise<number[]> {
    const frames = groups.map((g, n) => to(g, n));
    const end = packet({ version: 4, payload: bytes(77) });
    for (const frame of [...frames, end]) {
      a.send(frame);
      await a.sent();
    }
    const got: number[] = [];
    for (;;) {
      const { frame } = await b.receive();
      b.give(1);
      if (Buffer.compare(frame, end) === 0) return got;
      got.push(frames.findIndex((f) => Buffer.compare(f, frame) === 0));
    }
  }

  it('lets through what the guest wants, from when it wants it', async () => {
    const [a, b] = [await front(), await front()];
    expect(b.back('feature-multicast-control')).toBe('1');
    expect(b.back('feature-dynamic-multicast-control')).toBe('1');
    await introduce(a, b);
    expect(await arrive(a, b, GROUP, OTHER, ALL)).toEqual([0, 1, 2]);
    expect(await b.filter(MCAST_ADD, GROUP)).toBe(NETIF_RSP.OKAY);
    expect(await arrive(a, b, GROUP, OTHER, ALL)).toEqual([0, 1, 2]);
    b.write('request-multicast-control', 1);
    while ((await arrive(a, b, OTHER)).length > 0);
    expect(await arrive(a, b, GROUP, OTHER, ALL)).toEqual([0, 2]);
    await host.devices.drivers.of(b.id)!.kill();
    expect(await arrive(a, b, GROUP, OTHER, ALL)).toEqual([0, 2]);
    expect(await b.filter(MCAST_DEL, GROUP)).toBe(NETIF_RSP.OKAY);
    expect(await b.filter(MCAST_DEL, GROUP)).toBe(NETIF_RSP.OKAY);
    expect(await b.filter(MCAST_ADD, OTHER)).toBe(NETIF_RSP.OKAY);
    expect(await arrive(a, b, GROUP, OTHER, ALL)).toEqual([1, 2]);
    b.write('request-multicast-control', 0);
    while ((await arrive(a, b, GROUP)).length === 0);
  });

  it('has room for 64 groups', async () => {
    const b = await front({ features: { 'request-rx-copy': 1, 'request-multicast-control': 1 } });
    const group = (n: number) => [1, 0, 0x5e, 0, 0, n];
    for (let n = 0; n < 64; n++) expect(await b.filter(MCAST_ADD, group(n))).toBe(NETIF_RSP.OKAY);
    expect(await b.filter(MCAST_ADD, group(64))).toBe(NETIF_RSP.ERROR);
    expect(await b.filter(MCAST_ADD, group(5))).toBe(NETIF_RSP.OKAY);
    expect(await b.filter(MCAST_DEL, group(9))).toBe(NETIF_RSP.OKAY);
    expect(await b.filter(MCAST_ADD, group(64))).toBe(NETIF_RSP.OKAY);
  });
});
