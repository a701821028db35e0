/** Files and block devices of the host as disks: locks, holes, sizes that change. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { BLKIF_OP, BLKIF_RSP, VDISK } from '../../../src/abi/blkif.ts';
import { openImage } from '../../../src/dom0/backends/block/formats/formats.ts';
import { HostFile } from '../../../src/dom0/backends/block/host-file.ts';
import { Host } from '../../../src/dom0/host.ts';
import { backendPath } from '../../../src/dom0/toolstack/devices/device.ts';
import type { DiskConfig } from '../../../src/dom0/toolstack/devices/disk.ts';
import { waitForNode } from '../../../src/dom0/toolstack/devices/wait.ts';
import { parseDisk } from '../../../src/dom0/toolstack/xlcfg/disk.ts';
import { BlockFront, GrantingDomain } from './front.ts';
import { canLoop, detachLoop, loopDevice } from './loop.ts';

const MIB = 1 << 20;
let dir: string;
let host: Host;
let grants: GrantingDomain;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'host-files-'));
  host = await Host.create({ memoryMiB: 128, pcpus: 1 });
  grants = new GrantingDomain(host);
});
afterEach(() => host.devices.detachAll(0));
afterAll(async () => {
  await host.stop();
  rmSync(dir, { recursive: true, force: true });
});

function file(name: string, size = MIB): string {
  const path = join(dir, name);
  writeFileSync(path, new Uint8Array(size).fill(0x11));
  return path;
}

async function front(config: DiskConfig): Promise<BlockFront> {
  const f = new BlockFront(grants, await host.devices.disks.attach(0, config));
  await f.connect();
  return f;
}

/** Waits until the back end has found another size; it looks after a request, once a second. */
async function resized(f: BlockFront, sectors: number): Promise<void> {
  const path = `${backendPath(f.disk.id)}/sectors`;
  const found = waitForNode(host.store, path, 10_000, (v) => v === `${sectors}`);
  const nudge = setInterval(() => void f.call(f.request(BLKIF_OP.FLUSH_DISKCACHE, 0, [])), 100);
  expect(await found, `sectors: ${f.back('sectors')}`).toBeDefined();
  clearInterval(nudge);
}

describe('an image that is in use', () => {
  const open = (path: string, readOnly: boolean) => new HostFile(path, { readOnly });

  it('has one who writes, or many who read', () => {
    const path = file('locked');
    const writer = open(path, false);
    expect(() => open(path, false)).toThrow(`${path} is in use: another program has it open for writing`);
    expect(() => open(path, true)).toThrow('has it open for writing');
    new HostFile(path, { readOnly: true, lock: false }).close();
    writer.close();
    const readers = [open(path, true), open(path, true)];
    expect(() => open(path, false)).toThrow('reads it and does not want it written');
    for (const r of readers) r.close();
    open(path, false).close();
  });

  it('counts what lies behind it, and what another process does', async () => {
    const base = file('base');
    execFileSync(process.execPath, ['-e', CREATE, join(dir, 'over'), base], { cwd: import.meta.dirname });
    const image = openImage(join(dir, 'over'), 'qcow2', { readOnly: false });
    expect(spawnSync(process.execPath, ['-e', OPEN, base], { cwd: import.meta.dirname }).status).toBe(3);
    await expect(host.devices.disks.attach(0, { vdev: 'xvda', target: base })).rejects.toThrow(
      /is in use: another program reads it/,
    );
    image.close();
    expect(spawnSync(process.execPath, ['-e', OPEN, base], { cwd: import.meta.dirname }).status).toBe(0);
  });

  it('is free again when the back end that had it was killed', async () => {
    const f = await front({ vdev: 'xvda', target: file('killed') });
    await host.devices.drivers.of(f.disk.id)!.kill();
    expect(await f.io(BLKIF_OP.WRITE, 0, new Uint8Array(4096))).toBe(BLKIF_RSP.OKAY);
    expect(() => open(f.disk.config.target, true)).toThrow('for writing');
  });

  const SOURCES = '../../../src/dom0/backends/block';
  const CREATE = `import('${SOURCES}/formats/qcow2/create.ts').then((m) =>
    m.createQcow2(process.argv[1], { size: ${MIB}, backing: { name: process.argv[2], format: 'raw' } }))`;
  /** Exits with 3 if the file cannot be had for writing. */
  const OPEN = `import('${SOURCES}/host-file.ts').then((m) => {
    try { new m.HostFile(process.argv[1], { readOnly: false }).close(); } catch { process.exit(3); } })`;
});

it('what is discarded of a raw file becomes a hole', async () => {
  const path = file('holes');
  const before = statSync(path).blocks;
  const f = await front({ vdev: 'xvda', target: path });
  expect(f.back('feature-discard')).toBe('1');
  expect(await f.call(f.discard(256, 1024))).toBe(BLKIF_RSP.OKAY);
  expect(before - statSync(path).blocks).toBe(1024);
  const bytes = readFileSync(path);
  expect(bytes.subarray(256 * 512, 1280 * 512).every((b) => b === 0)).toBe(true);
  expect([bytes[256 * 512 - 1], bytes[1280 * 512], bytes.length]).toEqual([0x11, 0x11, MIB]);
});

it('a raw file that grows or shrinks is a disk that does', async () => {
  const path = file('grows');
  const f = await front({ vdev: 'xvda', target: path });
  truncateSync(path, 2 * MIB);
  await resized(f, 4096);
  expect(f.back('state')).toBe('4');
  expect(await f.io(BLKIF_OP.WRITE, 4088, new Uint8Array(4096).fill(7))).toBe(BLKIF_RSP.OKAY);
  expect(readFileSync(path)[2 * MIB - 1]).toBe(7);
  truncateSync(path, MIB);
  await resized(f, 2048);
  expect(await f.io(BLKIF_OP.READ, 4088, new Uint8Array(4096))).toBe(BLKIF_RSP.ERROR);
});

describe.skipIf(!canLoop)('a block device of the host (skipped where this user cannot make loop devices)', () => {
  it('is read, written, discarded, and grows', async () => {
    const path = file('device');
    const device = loopDevice(path)!;
    try {
      const f = await front(parseDisk(`phy:${device},xvda,w`));
      expect(f.back('sectors')).toBe('2048');
      expect(await f.io(BLKIF_OP.WRITE, 8, new Uint8Array(4096).fill(0x77))).toBe(BLKIF_RSP.OKAY);
      const data = new Uint8Array(8192);
      expect(await f.io(BLKIF_OP.READ, 0, data)).toBe(BLKIF_RSP.OKAY);
      expect([data[4095], data[4096], data[8191]]).toEqual([0x11, 0x77, 0x77]);
      expect(await f.call(f.request(BLKIF_OP.FLUSH_DISKCACHE, 0, []))).toBe(BLKIF_RSP.OKAY);
      expect(readFileSync(path)[4096]).toBe(0x77);
      expect(await f.call(f.discard(16, 8))).toBe(BLKIF_RSP.OKAY);
      expect(await f.io(BLKIF_OP.READ, 8, data)).toBe(BLKIF_RSP.OKAY);
      expect([data[4095], data[4096], data[8191]]).toEqual([0x77, 0, 0]);
      truncateSync(path, 3 * MIB);
      execFileSync('losetup', ['--set-capacity', device]);
      await resized(f, 6144);
      expect(await f.io(BLKIF_OP.WRITE, 6136, new Uint8Array(4096).fill(9))).toBe(BLKIF_RSP.OKAY);
    } finally {
      await host.devices.detachAll(0);
      detachLoop(device);
    }
    expect(readFileSync(path)[3 * MIB - 1]).toBe(9);
  });

  it('that is read-only is a read-only disk, or none', async () => {
    const device = loopDevice(file('ro'), '--read-only')!;
    try {
      await expect(front(parseDisk(`phy:${device},xvda,w`))).rejects.toThrow(/is a read-only device.*access=ro/);
      const f = await front(parseDisk(`phy:${device},xvda,r`));
      expect(Number(f.back('info')) & VDISK.READONLY).toBeTruthy();
      expect(await f.io(BLKIF_OP.WRITE, 0, new Uint8Array(4096))).toBe(BLKIF_RSP.ERROR);
      expect(await f.io(BLKIF_OP.READ, 0, new Uint8Array(4096))).toBe(BLKIF_RSP.OKAY);
    } finally {
      await host.devices.detachAll(0);
      detachLoop(device);
    }
  });

  it('that the host has mounted is not written', async () => {
    const path = file('mounted', 4 * MIB);
    const device = loopDevice(path)!;
    const mountpoint = mkdtempSync(join(dir, 'mnt-'));
    try {
      execFileSync('mke2fs', ['-q', device]);
      execFileSync('mount', [device, mountpoint]);
      await expect(front(parseDisk(`phy:${device},xvda,w`))).rejects.toThrow(/the host uses it/);
      execFileSync('umount', [mountpoint]);
      await front(parseDisk(`phy:${device},xvda,w`));
    } finally {
      await host.devices.detachAll(0);
      detachLoop(device);
    }
  });
});
