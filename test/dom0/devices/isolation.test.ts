/** Back ends that are killed under load, and front ends that are hostile: nobody else notices. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BLKIF_ENTRY_SIZE, BLKIF_OP, BLKIF_RSP } from '../../../src/abi/blkif.ts';
import { Sring } from '../../../src/abi/ring.ts';
import { XenbusState } from '../../../src/abi/xenbus.ts';
import { createQcow2 } from '../../../src/dom0/backends/block/formats/qcow2/create.ts';
import type { DriverDomain } from '../../../src/dom0/driver-domain/driver-domain.ts';
import { Host } from '../../../src/dom0/host.ts';
import { BlockFront, GrantingDomain } from './front.ts';
import { rng } from './image-kinds.ts';

const SIZE = 8 << 20;
const KILLS = Number(process.env.BLOCK_KILLS ?? 2);
const FUZZ = Number(process.env.BLOCK_FUZZ ?? 15);
const SEED = Number(process.env.BLOCK_SEED ?? 1);

let host: Host;
let grants: GrantingDomain;
let dir: string;
let bystander: BlockFront;
const warnings: string[] = [];
let serial = 0;

beforeAll(async () => {
  host = await Host.create({ memoryMiB: 256, pcpus: 1, warn: (m) => warnings.push(m) });
  grants = new GrantingDomain(host, 32);
  dir = mkdtempSync(join(tmpdir(), 'isolation-'));
});
beforeEach(async () => {
  bystander = await connect('xvdz');
  await check(bystander);
});
afterEach(async () => {
  await check(bystander);
  expect(bystander.back('state')).toBe(`${XenbusState.Connected}`);
  expect(host.devices.drivers.of(bystander.disk.id)!.restarts).toBe(0);
  await host.devices.detachAll(0);
});
afterAll(async () => {
  await host.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function connect(vdev: string, options = {}, format = 'raw', backend?: string): Promise<BlockFront> {
  const target = join(dir, `disk-${serial++}`);
  if (format === 'raw') writeFileSync(target, new Uint8Array(SIZE));
  else createQcow2(target, { size: SIZE });
  const disk = await host.devices.disks.attach(0, { vdev, target, format, backend });
  const front = new BlockFront(grants, disk, options);
  await front.connect();
  return front;
}

/** Takes the disk away from a front end that lets go of it. */
async function detach(front: BlockFront): Promise<void> {
  const detached = host.devices.disks.detach(0, front.disk.vdev);
  await front.backendState(XenbusState.Closing);
  front.write('state', XenbusState.Closed);
  await detached;
}

/** Writes something and reads it back. */
async function check(front: BlockFront): Promise<void> {
  const data = new Uint8Array(4096).fill(0x5a);
  expect(await front.io(BLKIF_OP.WRITE, 64, data)).toBe(BLKIF_RSP.OKAY);
  data.fill(0);
  expect(await front.io(BLKIF_OP.READ, 64, data)).toBe(BLKIF_RSP.OKAY);
  expect(data.every((b) => b === 0x5a)).toBe(true);
}

/** Works on the front end until it is stopped, and compares what is read with what was written. */
class Load {
  readonly model = new Uint8Array(SIZE);
  /** Requests that were answered. */
  answered = 0;
  readonly #front: BlockFront;
  readonly #random: () => number;
  readonly #done: Promise<unknown>;
  #stop = false;

  constructor(front: BlockFront, random: () => number) {
    this.#front = front;
    this.#random = random;
    this.#done = Promise.all(front.rings.map((_, q) => this.#run(q)));
  }

  /** Resolves when so many more requests were answered. Rejects if one was answered wrongly. */
  async progress(count: number): Promise<void> {
    const enough = this.answered + count;
    while (this.answered < enough) await Promise.race([this.#done, new Promise((r) => setTimeout(r, 1))]);
  }

  async stop(): Promise<void> {
    this.#stop = true;
    await this.#done;
  }

  /** Each queue has its part of the disk, so that the order between them does not matter. */
  async #run(q: number): Promise<void> {
    const part = SIZE / this.#front.rings.length;
    for (let n = 0; !this.#stop; n++) {
      const pages = 1 + Math.floor(this.#random() * 11);
      const at = q * part + 4096 * Math.floor(this.#random() * (part / 4096 - pages));
      const data = new Uint8Array(pages * 4096);
      if (this.#random() < 0.5) {
        data.fill(n & 0xff);
        expect(await this.#front.io(BLKIF_OP.WRITE, at / 512, data, q)).toBe(BLKIF_RSP.OKAY);
        this.model.set(data, at);
      } else {
        expect(await this.#front.io(BLKIF_OP.READ, at / 512, data, q)).toBe(BLKIF_RSP.OKAY);
        expect(Buffer.compare(data, this.model.subarray(at, at + data.length))).toBe(0);
      }
      if (this.#random() < 0.1) {
        const flush = this.#front.request(BLKIF_OP.FLUSH_DISKCACHE, 0, []);
        expect(await this.#front.call(flush, q)).toBe(BLKIF_RSP.OKAY);
      }
      this.answered++;
    }
  }
}

it.each(['raw', 'qcow2'])(
  'a back end that is killed while it works loses nothing (%s)',
  async (format) => {
    const front = await connect('xvda', { queues: 2, order: 2, persistent: true }, format);
    const driver = host.devices.drivers.of(front.disk.id)!;
    const random = rng(SEED);
    const load = new Load(front, random);
    for (let kill = 0; kill < KILLS; kill++) {
      // In the middle of work, and not before there was any: some at the first request of a life, some later.
      await load.progress(1 + Math.floor(random() ** 3 * 50));
      await new Promise((r) => setTimeout(r, random() * 3));
      await driver.kill();
    }
    await load.progress(1);
    await load.stop();
    expect(driver.restarts).toBe(KILLS);
    const all = new Uint8Array(11 * 4096);
    for (let at = 0; at < SIZE; at += all.length) {
      const part = all.subarray(0, Math.min(all.length, SIZE - at));
      expect(await front.io(BLKIF_OP.READ, at / 512, part)).toBe(BLKIF_RSP.OKAY);
      expect(Buffer.compare(part, load.model.subarray(at, at + part.length))).toBe(0);
    }
  },
  10_000 + KILLS * 5_000,
);

describe('a back end that fails again and again', () => {
  afterEach(() => {
    warnings.length = 0;
  });

  /** Ends its thread as often as it takes to be given up. */
  async function giveUp(driver: DriverDomain): Promise<void> {
    for (let n = 0; n < 20 && driver.lost === undefined; n++) await driver.fail('test: out of luck');
    expect(driver.lost).toMatch(/failed 5 times in a row: test: out of luck/);
    await driver.settled;
  }

  it('is given up: requests get errors, XenStore says why, and the disk can be attached anew', async () => {
    const front = await connect('xvda', { queues: 2 });
    const { config } = front.disk;
    // One is under way when the last thread dies.
    const pending = front.io(BLKIF_OP.READ, 0, new Uint8Array(4096), 1);
    await giveUp(host.devices.drivers.of(front.disk.id)!);
    expect([BLKIF_RSP.OKAY, BLKIF_RSP.ERROR]).toContain(await pending);
    for (const operation of [BLKIF_OP.READ, BLKIF_OP.WRITE]) {
      expect(await front.io(operation, 8, new Uint8Array(4096))).toBe(BLKIF_RSP.ERROR);
    }
    expect(front.back('hotplug-error')).toMatch(/failed 5 times in a row/);
    expect(front.back('sectors')).toBe('0');
    expect(warnings.join('\n')).toMatch(/vbd-0-51712\) failed too often/);
    await detach(front);
    const again = new BlockFront(grants, await host.devices.disks.attach(0, config));
    await again.connect();
    await check(again);
  });

  it('in a domain of a name takes nothing more', async () => {
    const driver = host.devices.drivers.create('storage');
    const front = await connect('xvda', {}, 'raw', 'storage');
    await giveUp(driver);
    expect(await front.io(BLKIF_OP.READ, 8, new Uint8Array(4096))).toBe(BLKIF_RSP.ERROR);
    await expect(connect('xvdb', {}, 'raw', 'storage')).rejects.toThrow(/backend=storage: .*make it anew/);
    await detach(front);
    await host.devices.drivers.destroy('storage');
    host.devices.drivers.create('storage');
    const again = await connect('xvda', {}, 'raw', 'storage');
    await check(again);
    await detach(again);
    await host.devices.drivers.destroy('storage');
  });

  it('and whose last thread fails too: the front end is told that the device is closed', async () => {
    const front = await connect('xvda');
    const driver = host.devices.drivers.of(front.disk.id)!;
    await giveUp(driver);
    await driver.fail('test: that too');
    await front.backendState(XenbusState.Closed);
    await host.devices.disks.detach(0, 'xvda');
    await check(await connect('xvda'));
  });
});

describe('a hostile front end', () => {
  const bytes = (random: () => number, n: number) => Uint8Array.from({ length: n }, () => random() * 256);

  it('gets errors for requests that make no sense', async () => {
    const front = await connect('xvda');
    const ref = grants.grant(front.domid, grants.page());
    const readOnly = grants.grant(front.domid, grants.page(), true);
    const seg = { ref };
    const wrong: [string, Uint8Array][] = [
      ['beyond the end', front.request(BLKIF_OP.READ, SIZE / 512, [seg])],
      ['across the end', front.request(BLKIF_OP.READ, SIZE / 512 - 1, [seg])],
      ['far beyond', front.request(BLKIF_OP.WRITE, 2 ** 50, [seg])],
      ['no segments', front.request(BLKIF_OP.READ, 0, [])],
      ['too many segments', front.request(BLKIF_OP.READ, 0, new Array(12).fill(seg))],
      ['sectors backwards', front.request(BLKIF_OP.READ, 0, [{ ref, first: 5, last: 4 }])],
      ['sectors beyond the page', front.request(BLKIF_OP.READ, 0, [{ ref, last: 8 }])],
      ['a frame that is not granted', front.request(BLKIF_OP.READ, 0, [{ ref: 9999 }])],
      ['a reference beyond the table', front.request(BLKIF_OP.READ, 0, [{ ref: 0xffff_ffff }])],
      ['reading into a read-only grant', front.request(BLKIF_OP.READ, 0, [{ ref: readOnly }])],
      ['indirect, none', front.indirect(BLKIF_OP.READ, 0, 0, [ref])],
      ['indirect, too many', front.indirect(BLKIF_OP.READ, 0, 257, [ref])],
      ['indirect inside indirect', front.indirect(BLKIF_OP.INDIRECT, 0, 1, [ref])],
      ['indirect page that is not granted', front.indirect(BLKIF_OP.READ, 0, 1, [9999])],
      ['discard beyond the end', front.discard(SIZE / 512 - 8, 16)],
    ];
    for (const [what, request] of wrong) expect(await front.call(request), what).toBe(BLKIF_RSP.ERROR);
    expect(await front.call(front.request(77, 0, [seg]))).toBe(BLKIF_RSP.EOPNOTSUPP);
    await check(front);
    expect(warnings).toEqual([]);
  });

  it('that moves the ring’s producer too far loses its connection, and may connect again', async () => {
    const front = await connect('xvda');
    for (const far of [1000, -1, 0x7fff_ffff]) {
      front.rings[0].prod = (front.rings[0].prod + far) | 0;
      front.push();
      host.xen.evtchn.send(front.rings[0].port);
      await front.backendState(XenbusState.Closing);
      await front.reconnect();
      await check(front);
    }
  });

  it('that writes nonsense into its nodes is not connected', async () => {
    const target = join(dir, `disk-${serial++}`);
    writeFileSync(target, new Uint8Array(SIZE));
    const disk = await host.devices.disks.attach(0, { vdev: 'xvda', target });
    const front = new BlockFront(grants, disk);
    const nonsense: Record<string, string>[] = [
      { 'ring-ref': '4294967296' },
      { 'ring-ref': '-1' },
      { 'ring-ref': '9999' },
      { 'ring-ref': 'x'.repeat(2000) },
      { 'event-channel': '0' },
      { 'event-channel': '1000000' },
      { 'event-channel': '77' },
      { protocol: 'x86_32-abi' },
      { 'multi-queue-num-queues': '0' },
      { 'multi-queue-num-queues': '1000000' },
      { 'ring-page-order': '40' },
      { 'feature-persistent': 'yes' },
    ];
    for (const nodes of nonsense) {
      front.publish();
      for (const [key, value] of Object.entries(nodes)) front.write(key, value);
      front.write('state', XenbusState.Initialised);
      await front.backendState(XenbusState.Closing);
      for (const key of Object.keys(nodes)) front.remove(key);
      await front.reconnect(false);
    }
    await front.connect();
    await check(front);
  });

  it('may fill the ring with noise', async () => {
    const front = await connect('xvda', { order: 1, persistent: true });
    const random = rng(SEED);
    const page = grants.page();
    const ref = grants.grant(front.domid, page);
    const { words, bytes: memory } = host.xen.memory;
    for (let i = 0; i < FUZZ; i++) {
      for (let n = 1 + random() * 8; n > 0; n--) {
        const request = bytes(random, BLKIF_ENTRY_SIZE);
        request[0] = random() * 8;
        if (random() < 0.5) request[1] = random() * 12;
        if (random() < 0.5) new DataView(request.buffer).setUint32(24, ref, true);
        if (random() < 0.7) request.fill(0, 18, 24);
        front.put(request);
      }
      front.push();
      // While it is looked at.
      for (const p of [page, front.rings[0].pages[1]]) memory[p + Math.floor(random() * 4096)] = random() * 256;
      const head = front.rings[0].pages[0];
      if (random() < 0.3) Atomics.store(words, (head + Sring.off.rsp_event) >>> 2, (random() * 2 ** 32) | 0);
      if (random() < 0.3) Atomics.store(words, (head + Sring.off.rsp_prod) >>> 2, (random() * 2 ** 32) | 0);
      host.xen.evtchn.send(front.rings[0].port);
      await new Promise((r) => setTimeout(r, 1));
      if (front.back('state') !== `${XenbusState.Connected}` || random() < 0.1) await front.reconnect();
    }
    await front.reconnect();
    await check(front);
    expect(host.devices.drivers.of(front.disk.id)!.restarts).toBe(0);
  });
});
