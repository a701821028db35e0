/** Disks of a real guest, and QEMU's tools on the other side: each reads what the other wrote. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DiskConfig } from '../../src/dom0/toolstack/devices/disk.ts';
import { HostGuest } from './host-guest.ts';

const MIB = 1 << 20;
const SIZE = 24 * MIB;
const KILLS = Number(process.env.BLOCK_GUEST_KILLS ?? 3);
/** What a healthy kernel does not print. */
const TROUBLE = /I\/O error|blkfront:.*(fail|error)|wrong operation|Call Trace|Oops/i;

let dir: string;
let guest: HostGuest;
let seed: string;
const warnings: string[] = [];

const at = (name: string) => join(dir, name);
const qemuImg = (...args: string[]) => execFileSync('qemu-img', args, { encoding: 'utf8' });
const sha256 = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');
const sums = (text: string) => /\b[0-9a-f]{64}\b/.exec(text)?.[0];

/** Images that QEMU's tools made, all with the same content, and the ways they have it. */
const MADE_BY_QEMU: Readonly<Record<string, { format: string; make: (path: string) => void }>> = {
  raw: { format: 'raw', make: (p) => qemuImg('convert', '-O', 'raw', seed, p) },
  'qcow2 v3': { format: 'qcow2', make: (p) => qemuImg('convert', '-O', 'qcow2', seed, p) },
  'qcow2 v2, small clusters': {
    format: 'qcow2',
    make: (p) => qemuImg('convert', '-O', 'qcow2', '-o', 'compat=0.10,cluster_size=4096', seed, p),
  },
  'qcow2, compressed': { format: 'qcow2', make: (p) => qemuImg('convert', '-c', '-O', 'qcow2', seed, p) },
  'qcow2, compressed with zstd': {
    format: 'qcow2',
    make: (p) => qemuImg('convert', '-c', '-O', 'qcow2', '-o', 'compression_type=zstd', seed, p),
  },
  'qcow2, refcounts of 1 bit': {
    format: 'qcow2',
    make: (p) => qemuImg('convert', '-O', 'qcow2', '-o', 'refcount_bits=1', seed, p),
  },
  'qcow2, overlay with zero clusters': {
    format: 'qcow2',
    make: (p) => {
      qemuImg('create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', seed, p);
      execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -z 1M 1M', '-c', 'write -P 7 5M 64k', p], {
        stdio: 'ignore',
      });
    },
  },
  'qcow2, overlay with a snapshot': {
    format: 'qcow2',
    make: (p) => {
      qemuImg('create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', seed, p);
      execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 9 3M 1M', p], { stdio: 'ignore' });
      qemuImg('snapshot', '-c', 'one', p);
    },
  },
  'vhd dynamic': {
    format: 'vhd',
    make: (p) => qemuImg('convert', '-O', 'vpc', '-o', 'subformat=dynamic,force_size=on', seed, p),
  },
  'vhd fixed': {
    format: 'vhd',
    make: (p) => qemuImg('convert', '-O', 'vpc', '-o', 'subformat=fixed,force_size=on', seed, p),
  },
};

const attach = async (config: Partial<DiskConfig> & { target: string }) => {
  await guest.host.devices.disks.attach(guest.domain.domid, { vdev: 'xvdb', ...config });
  // The node of a disk that was there before may take a moment to go; its size is 0 at once.
  await guest.shell(
    'for i in $(seq 100); do [ $(cat /sys/block/xvdb/size) -gt 0 ] && break; sleep 0.1; done 2>/dev/null',
  );
};
const detach = async () => {
  await guest.host.devices.disks.detach(guest.domain.domid, 'xvdb');
  // The back end is done when the front end is closed; the guest's block device goes some time after that, and who opens the
  // next disk's node meanwhile may get the old one, which is empty.
  await guest.shell('for i in $(seq 100); do [ -e /sys/block/xvdb ] || break; sleep 0.1; done');
};

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'block-e2e-'));
  seed = at('seed');
  const noise = randomBytes(SIZE);
  // Something to compress, and something to leave out.
  noise.fill('compressible ', 2 * MIB, 6 * MIB);
  noise.fill(0, 8 * MIB, 14 * MIB);
  writeFileSync(seed, noise);
  writeFileSync(at('root'), new Uint8Array(32 * MIB));
  execFileSync('mke2fs', ['-q', '-F', '-t', 'ext4', at('root')]);
  guest = await HostGuest.boot({
    modules: true,
    host: { warn: (m) => warnings.push(m) },
    domain: { disks: [{ vdev: 'xvda', target: at('root') }] },
  });
});
afterAll(async () => {
  await guest?.stop();
  rmSync(dir, { recursive: true, force: true });
});

it('a file system on a disk that was there at boot', async () => {
  await guest.shell('mkdir -p /mnt && mount -t ext4 /dev/xvda /mnt');
  const before = sums(await guest.shell('cp /bin/busybox /mnt/b && sha256sum /mnt/b'));
  await guest.shell('umount /mnt; mount -t ext4 /dev/xvda /mnt');
  expect(sums(await guest.shell('sha256sum /mnt/b'))).toBe(before);
  expect(
    await guest.shell('rm /mnt/b; dd if=/dev/zero of=/mnt/z bs=1M count=20 2>/dev/null; rm /mnt/z; fstrim -v /mnt'),
  ).toMatch(/trimmed/);
  await guest.shell('umount /mnt');
  execFileSync('e2fsck', ['-fn', at('root')]);
});

describe.each(Object.keys(MADE_BY_QEMU))('%s', (name) => {
  it('is read, written, and read by QEMU', async () => {
    const { format, make } = MADE_BY_QEMU[name];
    const image = at('image');
    rmSync(image, { force: true });
    make(image);
    const qemuFormat = format === 'vhd' ? 'vpc' : format;
    qemuImg('convert', '-f', qemuFormat, '-O', 'raw', image, at('expected'));
    await attach({ target: image, format });
    expect(sums(await guest.shell('sha256sum /dev/xvdb'))).toBe(sha256(at('expected')));
    // Whole clusters, parts of them, and across what was there before.
    await guest.shell('dd if=/dev/urandom of=/dev/xvdb bs=1M count=3 seek=7 conv=notrunc 2>/dev/null');
    await guest.shell('dd if=/dev/urandom of=/dev/xvdb bs=1536 count=999 seek=1111 conv=notrunc 2>/dev/null; sync');
    const written = sums(await guest.shell('echo 3 >/proc/sys/vm/drop_caches; sha256sum /dev/xvdb'));
    await detach();
    expect(await guest.shell('ls /dev/xvdb 2>&1')).toContain('No such file');
    qemuImg('convert', '-f', qemuFormat, '-O', 'raw', image, at('result'));
    expect(sha256(at('result'))).toBe(written);
    if (format === 'qcow2') expect(qemuImg('check', image)).toContain('No errors were found');
  });
});

it('sectors of 4 KiB, a read-only disk, and a CD', async () => {
  await attach({ target: seed, readOnly: true });
  expect(await guest.shell('cat /sys/block/xvdb/ro; dd if=/dev/zero of=/dev/xvdb count=1 2>&1')).toMatch(
    /^1\n[\s\S]*denied|^1\n[\s\S]*not permitted|^1\n[\s\S]*Read-only/,
  );
  await detach();
  const image = at('large-sectors');
  writeFileSync(image, new Uint8Array(SIZE));
  await attach({ target: image, sectorSize: 4096 });
  expect(await guest.shell('cat /sys/block/xvdb/queue/logical_block_size /sys/block/xvdb/size')).toBe(
    `4096\n${SIZE / 512}`,
  );
  await guest.shell('tr "\\0" "x" </dev/zero | dd of=/dev/xvdb bs=4k count=3 seek=2 conv=notrunc 2>/dev/null; sync');
  await detach();
  const bytes = readFileSync(image);
  expect(bytes.subarray(8192, 8192 + 12_288).every((b) => b === 120)).toBe(true);
  expect(bytes[8191] + bytes[8192 + 12_288]).toBe(0);
  const { disks } = guest.host.devices;
  const { domid } = guest.domain;
  await attach({ target: seed, cdrom: true });
  expect(sums(await guest.shell('sha256sum /dev/xvdb'))).toBe(sha256(seed));
  await expect(disks.changeMedium(domid, 'xvdb', { target: at('nothing') })).rejects.toThrow(/no such file/);
  await disks.changeMedium(domid, 'xvdb');
  expect(await guest.shell('sleep 0.2; cat /sys/block/xvdb/size')).toBe('0');
  await disks.changeMedium(domid, 'xvdb', { target: image });
  expect(sums(await guest.shell('sleep 0.2; echo 3 >/proc/sys/vm/drop_caches; sha256sum /dev/xvdb'))).toBe(
    sha256(image),
  );
  await detach();
});

it('a back end that is killed under load: the guest goes on', async () => {
  const image = at('killed');
  qemuImg('create', '-q', '-f', 'qcow2', image, `${SIZE}`);
  await attach({ target: image, format: 'qcow2' });
  const [id] = guest.host.devices.disks
    .list(guest.domain.domid)
    .filter((d) => d.vdev === 'xvdb')
    .map((d) => d.id);
  const driver = guest.host.devices.drivers.of(id)!;
  const other = guest.host.devices.drivers.of(guest.host.devices.disks.list(guest.domain.domid)[0].id)!;
  const work = guest.shell(
    'for i in $(seq 3); do dd if=/dev/urandom of=/tmp/r bs=64k count=64 2>/dev/null; dd if=/tmp/r of=/dev/xvdb bs=64k oflag=direct conv=fsync 2>/dev/null; ' +
      'dd if=/dev/xvdb bs=64k count=64 iflag=direct 2>/dev/null | cmp - /tmp/r && echo same; done',
  );
  for (let i = 0; i < KILLS; i++) {
    await new Promise((r) => setTimeout(r, 100 + Math.random() * 400));
    await driver.kill();
  }
  expect(await work).toBe(Array(3).fill('same').join('\n'));
  expect(driver.restarts).toBe(KILLS);
  expect(other.restarts).toBe(0);
  const written = sums(await guest.shell('sha256sum /dev/xvdb'));
  await detach();
  expect(qemuImg('check', image)).toContain('No errors were found');
  qemuImg('convert', '-f', 'qcow2', '-O', 'raw', image, at('result'));
  expect(sha256(at('result'))).toBe(written);
});

it('a disk that grows while it is used', async () => {
  const image = at('grows');
  writeFileSync(image, new Uint8Array(MIB));
  await attach({ target: image });
  truncateSync(image, 3 * MIB);
  // It is noticed with the next request, and looked at once a second.
  const wait = `for i in $(seq 50); do dd if=/dev/xvdb of=/dev/null count=1 iflag=direct 2>/dev/null; [ $(cat /sys/block/xvdb/size) = ${(3 * MIB) / 512} ] && break; sleep 0.2; done`;
  expect(
    await guest.shell(
      `${wait}; echo end | dd of=/dev/xvdb bs=512 seek=6143 conv=fsync 2>/dev/null; cat /sys/block/xvdb/size`,
    ),
  ).toBe('6144');
  expect(
    readFileSync(image)
      .subarray(6143 * 512, 6143 * 512 + 4)
      .toString(),
  ).toBe('end\n');
  await detach();
});

it('a back end that fails again and again: the guest gets I/O errors and lives on, the disk is attached anew', async () => {
  const image = at('failing');
  writeFileSync(image, new Uint8Array(MIB).fill(0x78));
  await attach({ target: image });
  const { domid } = guest.domain;
  const { id } = guest.host.devices.disks.list(domid).find((d) => d.vdev === 'xvdb')!;
  const driver = guest.host.devices.drivers.of(id)!;
  const work = guest.shell(
    'while dd if=/dev/xvdb of=/dev/null bs=64k iflag=direct 2>/dev/null; do :; done; echo failed',
  );
  while (driver.lost === undefined) await driver.fail('a test');
  // The kernel says so on the console too.
  expect(await work).toMatch(/failed$/);
  expect(await guest.shell('dd if=/dev/xvda of=/dev/null bs=64k count=16 2>&1 | tail -n 1')).toMatch(
    /16\+0 records out/,
  );
  expect(warnings.splice(0).join('\n')).toMatch(/failed 5 times|failed too often/);
  await detach();
  await attach({ target: image });
  expect(await guest.shell('head -c 4 /dev/xvdb; echo')).toBe('xxxx');
  await detach();
  expect(await guest.shell('dmesg -c | grep -c "I/O error"')).not.toBe('0');
});

it('the kernel and the control domain find nothing wrong', async () => {
  expect(await guest.shell('dmesg')).not.toMatch(TROUBLE);
  expect(warnings).toEqual([]);
});
