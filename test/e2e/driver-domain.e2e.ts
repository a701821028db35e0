/** A Linux guest as driver domain: its own disk, served to another guest by its kernel's back end (`backend=`). */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Host } from '../../src/dom0/host.ts';
import { Cache } from '../../src/dom0/toolstack/cache.ts';
import { parseDisk } from '../../src/dom0/toolstack/xlcfg/disk.ts';
import { debianKernel, FRONT_ENDS } from '../../src/start/debian.ts';
import { initramfs } from '../../src/start/initramfs.ts';
import { HostGuest, shellConfig } from './host-guest.ts';

let dir: string;
let host: Host;
const warnings: string[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'driver-domain-'));
  host = await Host.create({ memoryMiB: 1024, pcpus: 2, warn: (m) => warnings.push(m) });
});
afterAll(async () => {
  await host?.stop();
  rmSync(dir, { recursive: true, force: true });
});

test('a disk of one guest is another’s', async () => {
  const config = await shellConfig({ modules: true, programs: ['/usr/bin/xenstore-write'] });
  const modules = { ...FRONT_ENDS, 'xen-blkback': 'block/xen-blkback' };
  const kernel = await debianKernel(new Cache(), 'cloud', () => {}, modules);
  const withBackEnd = initramfs(readFileSync('/bin/busybox'), { release: kernel.release, files: kernel.modules });
  const image = join(dir, 'disk');
  writeFileSync(image, new Uint8Array(1 << 20).fill(0x41));
  const start = async (name: string, ramdisk: Uint8Array, disk: string) => {
    const disks = [{ vdev: 'xvda', target: disk }];
    const guest = new HostGuest(host, await host.toolstack.createWithDevices({ ...config, name, ramdisk, disks }));
    guest.domain.unpause();
    return guest;
  };
  const own = join(dir, 'own');
  writeFileSync(own, new Uint8Array(1 << 20));
  const storage = await start('storage', Buffer.concat([withBackEnd, config.ramdisk!]), image);
  const guest = await start('guest', config.ramdisk!, own);
  await storage.ready();
  await guest.ready();
  await storage.shell('insmod /lib/modules/*/xen-blkback.ko');

  const { disks } = host.devices;
  const { domid } = guest.domain;
  const disk = await disks.attach(domid, parseDisk('phy:/dev/xvda,xvdb,w,backend=storage'));
  const path = `/local/domain/${storage.domain.domid}/backend/vbd/${domid}/51728`;
  expect(disks.list(domid)[1]).toMatchObject({ vdev: 'xvdb', backend: path });
  expect(host.devices.drivers.of(disk.id)).toBeUndefined();
  // What Xen's script for such a device does in a driver domain, by hand: the numbers of /dev/xvda.
  await storage.shell(`xenstore-write ${path}/physical-device ca:0 ${path}/hotplug-status connected`);
  const wait = 'for i in $(seq 100); do [ -b /dev/xvdb ] && break; sleep 0.1; done';
  expect(await guest.shell(`${wait}; head -c 4 /dev/xvdb; echo; cat /sys/block/xvdb/size`)).toBe('AAAA\n2048');
  await guest.shell(
    'dd if=/dev/urandom of=/tmp/r bs=64k count=8 2>/dev/null; dd if=/tmp/r of=/dev/xvdb bs=64k conv=fsync 2>/dev/null',
  );
  const sum = (text: string) => /[0-9a-f]{64}/.exec(text)?.[0];
  const written = sum(await guest.shell('sha256sum < /tmp/r'));
  expect(sum(await guest.shell('echo 3 > /proc/sys/vm/drop_caches; head -c 524288 /dev/xvdb | sha256sum'))).toBe(
    written,
  );
  expect(sum(await storage.shell('echo 3 > /proc/sys/vm/drop_caches; head -c 524288 /dev/xvda | sha256sum'))).toBe(
    written,
  );
  await disks.detach(domid, 'xvdb');
  expect(await guest.shell('sleep 0.5; ls /dev/xvdb 2>&1')).toContain('No such file');
  expect(warnings).toEqual([]);
});
