/** The network back end in its driver domain, between front ends of the test's own (net-front.ts) on a bridge. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { NETIF_RSP, NETRXF, NETTXF, XEN_NETIF_EXTRA_TYPE } from '../../../src/abi/netif.ts';
import { XenbusState } from '../../../src/abi/xenbus.ts';
import { Host } from '../../../src/dom0/host.ts';
import { backendPath, frontendPath } from '../../../src/dom0/toolstack/devices/device.ts';
import type { NicConfig } from '../../../src/dom0/toolstack/devices/nic.ts';
import { bytes, check, packet } from '../net/packets.ts';
import { GrantingDomain } from './front.ts';
import { rng } from './image-kinds.ts';
import { NetFront, type NetFrontOptions } from './net-front.ts';

/** Connections of the fuzzing front end. */
const FUZZ = Number(process.env.NET_FUZZ ?? 4);
/** How often two back ends that work are killed. */
const KILLS = Number(process.env.NET_KILLS ?? 2);

let host: Host;
let grants: GrantingDomain;
let dir: string;

beforeAll(async () => {
  host = await Host.create({ memoryMiB: 256, pcpus: 1 });
  grants = new GrantingDomain(host);
  dir = mkdtempSync(join(tmpdir(), 'net-'));
});
afterEach(async () => {
  await host.devices.detachAll(0);
});
afterAll(async () => {
  await host.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function front(options: NetFrontOptions = {}, config: NicConfig = {}): Promise<NetFront> {
  const id = await host.devices.nics.attach(0, config);
  const f = new NetFront(grants, id, options);
  await f.connect();
  return f;
}

/** Two front ends, each known to the bridge: 1 and 2 in `packet`. */
async function pair(a: NetFrontOptions = {}, b: NetFrontOptions = {}, config: NicConfig = {}) {
  const fronts = [await front(a, config), await front(b)];
  fronts[1].send(packet({ version: 4, from: 2, to: 1, payload: bytes(20) }));
  await fronts[0].receiveAny();
  await fronts[1].sent();
  return fronts;
}

const frame = (size: number, version: 4 | 6 = 4) => packet({ version, from: 1, to: 2, payload: bytes(size) });

describe('a vif', () => {
  it('says what it can', async () => {
    const f = await front({}, { mac: '00:16:3E:00:00:01', mtu: 9000 });
    for (const key of ['feature-sg', 'feature-gso-tcpv4', 'feature-gso-tcpv6', 'feature-rx-copy'])
      expect(f.back(key)).toBe('1');
    expect(f.back('hotplug-status')).toBe('connected');
    expect(f.back('mac')).toBe('00:16:3e:00:00:01');
    expect(f.back('bridge')).toBe('xenbr0');
    expect(host.store.read(`${frontendPath(f.id)}/mtu`)).toBe('9000');
    expect(host.devices.nics.list(0)).toMatchObject([{ mac: '00:16:3e:00:00:01', state: XenbusState.Connected }]);
  });

  it('carries frames both ways', async () => {
    const [a, b] = await pair();
    for (const size of [0, 1, 100, 1446]) {
      const ids = a.send(frame(size));
      expect(await a.sent()).toEqual({ id: ids[0], status: NETIF_RSP.OKAY });
      const got = await b.receive();
      expect(got).toMatchObject({ frame: frame(size), slots: 1, gsoSize: 0, hash: undefined });
    }
  });

  it('leaves checksums and segmentation to a receiver that takes them', async () => {
    const [a, b] = await pair();
    for (const version of [4, 6] as const) {
      const large = frame(30_000, version);
      const gsoType = version === 4 ? 1 : 2;
      const ids = a.send(large, { flags: NETTXF.csum_blank | NETTXF.data_validated, gsoSize: 1448, gsoType });
      expect(await a.sent()).toEqual({ id: ids[0], status: NETIF_RSP.OKAY });
      expect((await a.sent()).status).toBe(NETIF_RSP.NULL);
      for (const id of ids.slice(1)) expect(await a.sent()).toEqual({ id, status: NETIF_RSP.OKAY });
      const got = await b.receive();
      expect(got).toMatchObject({ gsoSize: 1448, gsoType, slots: Math.ceil(large.length / 4096) + 1 });
      expect(got.flags & NETRXF.csum_blank).toBeTruthy();
      expect(Buffer.compare(got.frame, large)).toBe(0);
    }
  });

  it('does them for one that does not', async () => {
    const [a, b] = await pair({}, { features: { 'request-rx-copy': 1, 'feature-no-csum-offload': 1 } });
    a.send(frame(30_000), { flags: NETTXF.csum_blank, gsoSize: 1448, gsoType: 1 });
    const payload: number[] = [];
    while (payload.length < 30_000) {
      const got = await b.receive();
      expect(got.flags & (NETRXF.csum_blank | NETRXF.extra_info)).toBe(0);
      const part = check(got.frame);
      expect(part).toMatchObject({ ipOk: true, transportOk: true });
      payload.push(...part.payload);
    }
    expect(Uint8Array.from(payload)).toEqual(bytes(30_000));
    a.send(frame(99), { flags: NETTXF.csum_blank });
    expect(check((await b.receive()).frame)).toMatchObject({ transportOk: true, payload: bytes(99) });
  });

  it('keeps frames until the guest has pages for them', async () => {
    const [a, b] = await pair({}, { buffers: 0 });
    const large = frame(8000);
    a.send(large, { flags: NETTXF.csum_blank, gsoSize: 1448, gsoType: 1 });
    for (let n = 0; n < 4; n++) await a.sent();
    b.give(1);
    await new Promise((r) => setTimeout(r, 50));
    expect(b.pending('rx')).toBe(false);
    b.give(2);
    await new Promise((r) => setTimeout(r, 50));
    b.give(1);
    expect((await b.receive()).frame).toEqual(large);
  });

  it('uses one event channel where the front end has one, and several queues', async () => {
    const [a, b] = await pair({ split: false }, { queues: 4 });
    const seen = new Set<number>();
    for (let n = 0; n < 40; n++) {
      const f = frame(64);
      f[35] = n; // the source port: another flow
      a.send(f);
      await a.sent();
      const q = await new Promise<number>((resolve) => {
        const look = () => {
          const found = b.queues.findIndex((_, i) => b.pending('rx', i));
          if (found >= 0) resolve(found);
          else setImmediate(look);
        };
        look();
      });
      expect((await b.receive(q)).frame).toEqual(f);
      seen.add(q);
    }
    expect(seen.size).toBeGreaterThan(1);
    const ids = b.send(packet({ version: 4, from: 2, to: 1, payload: bytes(5) }), { q: 3 });
    expect(await b.sent(3)).toEqual({ id: ids[0], status: NETIF_RSP.OKAY });
    await a.receive();
  });

  it('is held to its rate', async () => {
    const [a, b] = await pair({}, {}, { rate: { bytesPerInterval: 3000, intervalUs: 100_000 } });
    const start = performance.now();
    for (let n = 0; n < 10; n++) a.send(frame(1400));
    for (let n = 0; n < 10; n++) await a.sent();
    const ms = performance.now() - start;
    for (let n = 0; n < 10; n++) await b.receive();
    // 14,540 bytes at 3,000 each 100 ms; the first window is free.
    expect(ms).toBeGreaterThan(250);
  });

  it('is captured', async () => {
    const capture = join(dir, 'x.pcap');
    const [a, b] = await pair({}, {}, { capture });
    a.send(frame(10));
    await b.receive();
    await host.devices.detachAll(0);
    const file = readFileSync(capture);
    const at = file.length - 16 - frame(10).length;
    expect(new Uint8Array(file.subarray(at + 16))).toEqual(frame(10));
  });

  it(
    'goes on after its thread was killed',
    async () => {
      const [a, b] = await pair();
      for (let n = 0; n < KILLS; n++) {
        a.send(frame(200 + n));
        await host.devices.drivers.of(a.id)!.kill();
        await host.devices.drivers.of(b.id)!.kill();
        await a.sent();
        // What was on its way may come twice, or be lost, as on any wire; what is sent after that arrives.
        let got: Uint8Array;
        do {
          a.send(frame(900 + n));
          await a.sent();
          got = (await b.receive()).frame;
        } while (got.length !== frame(900 + n).length);
        while (b.pending('rx')) await b.receive();
        b.give(8);
      }
      expect(host.devices.drivers.of(a.id)!.restarts).toBe(KILLS);
    },
    30_000 + KILLS * 5_000,
  );

  it('leaves nothing behind', async () => {
    const before = host.xen.domctl.getDomainInfo(0)!.outstandingPages;
    const f = await front();
    const detached = host.devices.nics.detach(0, `${f.id.devid}`);
    await f.backendState(XenbusState.Closing);
    f.write('state', XenbusState.Closed);
    await detached;
    expect(host.store.exists(backendPath(f.id))).toBe(false);
    expect(host.devices.nics.list(0)).toEqual([]);
    expect(host.xen.domctl.getDomainInfo(0)!.outstandingPages).toBe(before);
    await expect(host.devices.nics.detach(0, '0')).rejects.toThrow('has no network card 0');
  });
});

describe('a hostile front end', () => {
  /** What it does, and whether its connection ends or the packet alone is refused. */
  const ATTACKS: Record<string, (f: NetFront) => void> = {
    'a packet that ends in the middle': (f) => {
      f.slot({ ref: f.data(frame(10)).ref, size: 64, flags: NETTXF.more_data });
      f.pushTx();
    },
    'an extra slot that does not come': (f) => {
      f.slot({ ref: f.data(frame(10)).ref, size: 64, flags: NETTXF.extra_info });
      f.pushTx();
    },
    'an extra slot of an unknown type': (f) => {
      f.slot({ ref: f.data(frame(10)).ref, size: 64, flags: NETTXF.extra_info });
      f.extra(77, 0, 0);
      f.pushTx();
    },
    'extra slots without end': (f) => {
      f.slot({ ref: f.data(frame(10)).ref, size: 64, flags: NETTXF.extra_info });
      for (let n = 0; n < 20; n++) f.extra(XEN_NETIF_EXTRA_TYPE.GSO, 1448, 1, 1);
      f.pushTx();
    },
    'segments of no bytes': (f) => {
      f.slot({ ref: f.data(frame(10)).ref, size: 64, flags: NETTXF.extra_info });
      f.extra(XEN_NETIF_EXTRA_TYPE.GSO, 0, 1);
      f.pushTx();
    },
    'a fragment beyond its page': (f) => {
      f.slot({ ref: f.data(frame(10)).ref, offset: 4090, size: 64 });
      f.pushTx();
    },
    'fragments larger than the packet': (f) => {
      const { ref } = f.data(frame(10));
      f.slot({ ref, size: 64, flags: NETTXF.more_data });
      f.slot({ ref, size: 100 });
      f.pushTx();
    },
    'a packet of too many slots': (f) => {
      const { ref } = f.data(frame(10));
      for (let n = 0; n < 40; n++) f.slot({ ref, size: n ? 10 : 1000, flags: NETTXF.more_data });
      f.pushTx();
    },
    'an impossible producer of the tx ring': (f) => f.setIndex('tx', 0x7fff_0000),
  };

  it.each(Object.entries(ATTACKS))('%s ends its connection, and nothing else', async (_, attack) => {
    const [a, b] = await pair();
    const c = await front();
    attack(a);
    await a.backendState(XenbusState.Closing);
    c.send(packet({ version: 4, from: 3, to: 2, payload: bytes(77) }));
    await c.sent();
    expect((await b.receive()).frame).toEqual(packet({ version: 4, from: 3, to: 2, payload: bytes(77) }));
    expect(host.devices.drivers.of(a.id)!.restarts).toBe(0);
  });

  it('that names pages it did not grant gets an error for the packet', async () => {
    const [a, b] = await pair();
    const id = a.slot({ ref: 3000, size: 100 });
    a.pushTx();
    expect(await a.sent()).toEqual({ id, status: NETIF_RSP.ERROR });
    const short = a.slot({ ref: a.data(frame(1)).ref, size: 13 });
    a.pushTx();
    expect(await a.sent()).toEqual({ id: short, status: NETIF_RSP.ERROR });
    a.send(frame(10));
    await a.sent();
    expect((await b.receive()).frame).toEqual(frame(10));
  });

  it('may fill its rings with noise', async () => {
    const random = rng(7);
    const some = (n: number) => Math.floor(random() * n);
    const bystander = await pair();
    for (let life = 0; life < FUZZ; life++) {
      const f = await front({ buffers: 8 });
      const { ref } = f.data(frame(1000));
      for (let round = 0; round < 10 && f.back('state') === `${XenbusState.Connected}`; round++) {
        for (let n = 1 + some(30); n > 0; n--) {
          if (random() < 0.3) f.extra(some(6), some(2000), some(4), some(3));
          else
            f.slot({ ref: random() < 0.8 ? ref : some(5000), offset: some(5000), size: some(70_000), flags: some(16) });
        }
        f.pushTx();
        if (random() < 0.2) f.setIndex('rx', some(2 ** 32));
        if (random() < 0.1) f.setIndex('tx', some(2 ** 32));
        bystander[0].send(packet({ version: 4, from: 1, to: 9, payload: bytes(some(1400)) }));
        await bystander[0].sent();
      }
      expect(host.devices.drivers.of(f.id)!.restarts).toBe(0);
      host.store.rm(frontendPath(f.id));
      await host.devices.nics.detach(0, `${f.id.devid}`, { force: true });
      while (bystander[1].pending('rx')) await bystander[1].receive();
      bystander[1].give(40);
    }
    bystander[0].send(frame(123));
    let got: Uint8Array;
    do got = (await bystander[1].receive()).frame;
    while (got.length !== frame(123).length);
    expect(got).toEqual(frame(123));
  }, 60_000);

  it.each([
    [{ 'request-rx-copy': 0 }, 'does not ask for copied frames'],
    [{ 'request-rx-copy': 1, 'multi-queue-num-queues': 99 }, 'multi-queue-num-queues is "99"'],
    [{ 'request-rx-copy': 7 }, 'request-rx-copy is "7"'],
  ])('with nodes %j is not connected', async (features, message) => {
    const id = await host.devices.nics.attach(0, {});
    const f = new NetFront(grants, id, { features });
    f.publish();
    f.write('state', XenbusState.Connected);
    await f.backendState(XenbusState.Closing);
    expect(host.store.read(`/local/domain/${id.backendDomid}/error/backend/vif/0/${id.devid}/error`)).toContain(
      message,
    );
  });
});

it('where passt is missing, a way out is refused, and bridges work', async () => {
  const path = process.env.PATH;
  process.env.PATH = '/nowhere';
  try {
    await expect(host.devices.nics.attach(0, { script: 'vif-nat' })).rejects.toThrow(
      'vif: passt is not installed (apt-get install passt); without it guests have bridges only',
    );
    expect(host.devices.nics.list(0)).toEqual([]);
    expect((await front()).back('state')).toBe(`${XenbusState.Connected}`);
  } finally {
    process.env.PATH = path;
  }
});

describe('a configuration', () => {
  it.each<[NicConfig, string]>([
    [{ mac: '01:16:3e:00:00:01' }, 'unicast'],
    [{ mac: 'x' }, 'mac=x'],
    [{ bridge: 'a/b' }, 'no name of a bridge'],
    [{ script: 'mine' }, 'vif-bridge and vif-nat'],
    [{ mtu: 10 }, 'mtu=10'],
    [{ devid: 5000 }, 'devid=5000'],
    [{ forwards: ['tcp:1:2'] }, 'needs script=vif-nat'],
    [{ dhcp: '10.0.0.1/24' }, 'it must be a network like 192.168.7.0/24'],
    [{ dhcp: '10.0.0.0/24', script: 'vif-nat' }, 'dhcp= is for bridges'],
    [{ script: 'vif-nat', forwards: ['x'] }, 'forward "x"'],
    [{ backend: 'nobody' }, 'there is no domain of that name'],
  ])('%j is refused', async (config, message) => {
    await expect(host.devices.nics.attach(0, config)).rejects.toThrow(message);
    expect(host.devices.nics.list(0)).toEqual([]);
  });
});
