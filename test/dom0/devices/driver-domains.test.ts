/** Driver domains that devices name (`backend=`): several devices in one, its life, and what is written for guests that are one. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { BLKIF_OP, BLKIF_RSP } from '../../../src/abi/blkif.ts';
import { XenbusState } from '../../../src/abi/xenbus.ts';
import { Host } from '../../../src/dom0/host.ts';
import { backendPath, frontendPath, libxlDevicePath } from '../../../src/dom0/toolstack/devices/device.ts';
import { parseDisk } from '../../../src/dom0/toolstack/xlcfg/disk.ts';
import { parseVif } from '../../../src/dom0/toolstack/xlcfg/vif.ts';
import { linuxNotes, tinyElf } from '../kernels/tiny-kernel.ts';
import { bytes, packet } from '../net/packets.ts';
import { BlockFront, GrantingDomain } from './front.ts';
import { NetFront } from './net-front.ts';

let host: Host;
let grants: GrantingDomain;
let dir: string;

beforeAll(async () => {
  host = await Host.create({ memoryMiB: 256, pcpus: 1 });
  grants = new GrantingDomain(host);
  dir = mkdtempSync(join(tmpdir(), 'drivers-'));
});
afterEach(async () => {
  await host.devices.detachAll(0);
  for (const d of host.devices.drivers.list()) await host.devices.drivers.destroy(d.name);
});
afterAll(async () => {
  await host.stop();
  rmSync(dir, { recursive: true, force: true });
});

function image(name: string): string {
  writeFileSync(join(dir, name), new Uint8Array(1 << 20));
  return join(dir, name);
}

it('one serves disks and network cards, with nodes where Xen has them', async () => {
  const driver = host.devices.drivers.create('storage');
  const { domid } = driver;
  expect(host.store.read(`/local/domain/${domid}/name`)).toBe('storage');
  expect(host.toolstack.domainInfo('storage').domid).toBe(domid);
  const fronts: BlockFront[] = [];
  for (const vdev of ['xvda', 'xvdb']) {
    const disk = await host.devices.disks.attach(0, parseDisk(`${image(vdev)},raw,${vdev},w,backend=storage`));
    expect(disk.id.backendDomid).toBe(domid);
    fronts.push(new BlockFront(grants, disk));
    await fronts.at(-1)!.connect();
  }
  const id = await host.devices.nics.attach(0, parseVif('mac=00:16:3e:00:00:09,backend=storage'));
  const net = new NetFront(grants, id);
  await net.connect();

  const at = (path: string) => host.store.read(path);
  const path = `/local/domain/${domid}/backend/vbd/0/51712`;
  expect(backendPath(fronts[0].disk.id)).toBe(path);
  expect(at('/local/domain/0/device/vbd/51712/backend')).toBe(path);
  expect(at('/local/domain/0/device/vbd/51712/backend-id')).toBe(`${domid}`);
  expect(at('/libxl/0/device/vbd/51712/backend')).toBe(path);
  expect(at(`${path}/frontend`)).toBe('/local/domain/0/device/vbd/51712');
  expect(at(`${path}/frontend-id`)).toBe('0');
  expect(at(`${path}/state`)).toBe(`${XenbusState.Connected}`);
  expect([...host.store.dump()].find((line) => line.startsWith(`${path} = `))).toContain(`(n${domid},r0)`);
  expect(host.devices.drivers.devicesOf(driver)).toEqual([
    path,
    `/local/domain/${domid}/backend/vbd/0/51728`,
    `/local/domain/${domid}/backend/vif/0/0`,
  ]);

  // It is killed: all of its devices go on.
  for (let kill = 0; kill < 2; kill++) {
    await driver.kill();
    for (const [n, f] of fronts.entries()) {
      expect(await f.io(BLKIF_OP.WRITE, 8 * n, new Uint8Array(4096).fill(n + 1))).toBe(BLKIF_RSP.OKAY);
    }
    net.send(packet({ version: 4, payload: bytes(10) }));
    await net.sent();
  }
  expect(driver.restarts).toBe(2);
  await expect(host.devices.drivers.destroy('storage')).rejects.toThrow(/3 devices still: detach them first/);
});

it('names are taken once, and asked for by what there is', async () => {
  host.devices.drivers.create('net');
  expect(() => host.devices.drivers.create('net')).toThrow(/is there already/);
  const disk = (backend: string) =>
    host.devices.disks.attach(0, parseDisk(`${image('x')},raw,xvda,w,backend=${backend}`));
  await expect(disk('nobody')).rejects.toThrow(/backend=nobody: there is no domain of that name/);
  await expect(host.devices.drivers.destroy('nobody')).rejects.toThrow(/no driver domain nobody/);
  // The control domain's own: each device gets a domain to itself.
  for (const name of ['0', 'Domain-0']) {
    const { id } = await disk(name);
    expect(host.devices.drivers.of(id)?.name).toBe('vbd-0-51712');
    await host.devices.detachAll(0);
  }
});

it('a guest as back end gets the nodes that libxl writes for its devd', async () => {
  const spin = { paddr: 0x10_0000n, data: Uint8Array.from([0xeb, 0xfe]) };
  const kernel = tinyElf({ segments: [spin], notes: linuxNotes() });
  const guest = host.toolstack.create({ name: 'sd', memoryMiB: 8, vcpus: 1, kernel, kernelName: 'spin', cmdline: '' });
  try {
    const id = { kind: 'vbd', domid: 0, backendDomid: guest.domid, devid: 51712 };
    // What Linux's back end does in it when the device appears.
    const watch = host.store.watch(`${backendPath(id)}/online`, () => {
      if (host.store.exists(`${backendPath(id)}/online`)) host.store.write(`${backendPath(id)}/state`, '2');
    });
    await host.devices.disks.attach(0, parseDisk('phy:/dev/xvdb,xvda,w,backend=sd'));
    watch.close();
    const nodes = (path: string) =>
      Object.fromEntries(host.store.directory(path).map((k) => [k, host.store.read(`${path}/${k}`)]));
    expect(nodes(backendPath(id))).toEqual({
      frontend: '/local/domain/0/device/vbd/51712',
      'frontend-id': '0',
      params: '/dev/xvdb',
      script: '/etc/xen/scripts/block',
      type: 'phy',
      dev: 'xvda',
      mode: 'w',
      'device-type': 'disk',
      'discard-enable': '1',
      removable: '0',
      bootable: '1',
      online: '1',
      state: '2',
    });
    expect(host.store.read(`${frontendPath(id)}/backend-id`)).toBe(`${guest.domid}`);
    expect(host.store.exists(libxlDevicePath(id))).toBe(true);
    await expect(host.devices.disks.attach(0, parseDisk('/x.qcow2,qcow2,xvdb,w,backend=sd'))).rejects.toThrow(
      /serves its own block devices only/,
    );
    host.store.write(`${backendPath(id)}/state`, '6');
    await host.devices.disks.detach(0, 'xvda');
  } finally {
    guest.destroy();
  }
});
