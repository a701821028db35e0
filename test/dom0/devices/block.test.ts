/** The block back end in its driver domain, with a front end of the test's own (front.ts). */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { BLKIF_OP, BLKIF_RSP } from '../../../src/abi/blkif.ts';
import { XenbusState } from '../../../src/abi/xenbus.ts';
import { Host } from '../../../src/dom0/host.ts';
import type { DiskConfig } from '../../../src/dom0/toolstack/devices/disk.ts';
import { BlockFront, type FrontOptions, GrantingDomain } from './front.ts';

const SIZE = 1 << 20;
let host: Host;
let grants: GrantingDomain;
let dir: string;
const warnings: string[] = [];

beforeAll(async () => {
  host = await Host.create({ memoryMiB: 256, pcpus: 1, warn: (m) => warnings.push(m) });
  grants = new GrantingDomain(host);
  dir = mkdtempSync(join(tmpdir(), 'block-'));
});
afterEach(async () => {
  await host.devices.detachAll(0);
});
afterAll(async () => {
  await host.stop();
  rmSync(dir, { recursive: true, force: true });
});

function image(name = 'disk.img'): string {
  const path = join(dir, name);
  writeFileSync(
    path,
    Uint8Array.from({ length: SIZE }, (_, i) => (i >> 9) ^ i),
  );
  return path;
}

async function front(options: FrontOptions = {}, config: Partial<DiskConfig> = {}): Promise<BlockFront> {
  const disk = await host.devices.disks.attach(0, { vdev: 'xvda', target: image(), ...config });
  const f = new BlockFront(grants, disk, options);
  await f.connect();
  return f;
}

describe('a disk', () => {
  it('says what it is, is read and written', async () => {
    const f = await front();
    expect(f.back('sectors')).toBe(`${SIZE / 512}`);
    expect(f.back('sector-size')).toBe('512');
    expect(f.back('info')).toBe('0');
    const data = new Uint8Array(4096);
    expect(await f.io(BLKIF_OP.READ, 8, data)).toBe(BLKIF_RSP.OKAY);
    const file = join(dir, 'disk.img');
    expect(Buffer.from(data).equals(readFileSync(file).subarray(4096, 8192))).toBe(true);
    data.fill(0xa5);
    expect(await f.io(BLKIF_OP.WRITE, 16, data)).toBe(BLKIF_RSP.OKAY);
    // Linux's front end names no sector in a flush.
    for (const sector of [0, -1]) {
      expect(await f.call(f.request(BLKIF_OP.FLUSH_DISKCACHE, sector, []))).toBe(BLKIF_RSP.OKAY);
      expect(await f.call(f.request(BLKIF_OP.WRITE_BARRIER, sector, []))).toBe(BLKIF_RSP.OKAY);
    }
    expect(
      readFileSync(file)
        .subarray(8192, 12288)
        .every((b) => b === 0xa5),
    ).toBe(true);
  });

  it('survives that its back end is killed', async () => {
    const f = await front({ order: 1, queues: 2, persistent: true });
    const driver = host.devices.drivers.of(f.disk.id)!;
    for (let i = 0; i < 3; i++) {
      const kill = driver.kill();
      const data = new Uint8Array(8192).fill(i + 1);
      expect(await f.io(BLKIF_OP.WRITE, i * 16, data, i % 2)).toBe(BLKIF_RSP.OKAY);
      await kill;
    }
    expect(driver.restarts).toBe(3);
    expect(f.back('state')).toBe(`${XenbusState.Connected}`);
    const data = new Uint8Array(8192);
    expect(await f.io(BLKIF_OP.READ, 16, data)).toBe(BLKIF_RSP.OKAY);
    expect(data.every((b) => b === 2)).toBe(true);
  });
});
