/** Debian's GRUB for PV guests as `kernel=`: it finds a kernel on the guest's own disk and starts it in its place. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cache } from '../../src/dom0/toolstack/cache.ts';
import { debianKernel } from '../../src/start/debian.ts';
import { initramfs } from '../../src/start/initramfs.ts';
import { HostGuest } from './host-guest.ts';

const GRUB = '/usr/lib/grub-xen/grub-x86_64-xen.bin';

let dir: string;
let guest: HostGuest | undefined;
const warnings: string[] = [];

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'grub-xen-'));
});
afterAll(async () => {
  await guest?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** A disk with one file system, as an installation would leave it. Not the cloud kernel: GRUB 2.06 cannot unpack LZ4. */
async function makeDisk(): Promise<{ disk: string; release: string }> {
  const { image, release } = await debianKernel(new Cache(), 'generic', () => {});
  const root = join(dir, 'root');
  mkdirSync(join(root, 'boot/grub'), { recursive: true });
  writeFileSync(join(root, 'boot/vmlinuz'), image.read());
  writeFileSync(join(root, 'boot/initrd.img'), initramfs(readFileSync('/bin/busybox')));
  const entry = 'linux /boot/vmlinuz console=hvc0 quiet from=disk\ninitrd /boot/initrd.img';
  writeFileSync(join(root, 'boot/grub/grub.cfg'), `set timeout=0\nmenuentry Guest {\n${entry}\n}\n`);
  const disk = join(dir, 'disk.img');
  writeFileSync(disk, '');
  execFileSync('mke2fs', ['-q', '-t', 'ext4', '-d', root, disk, '40M']);
  return { disk, release };
}

test.skipIf(!existsSync(GRUB))(
  'a guest boots the kernel that GRUB finds on its disk (Debian: grub-xen-host)',
  async () => {
    const { disk, release } = await makeDisk();
    guest = await HostGuest.boot({
      host: { warn: (m) => warnings.push(m) },
      domain: {
        kernel: readFileSync(GRUB),
        kernelName: GRUB,
        ramdisk: undefined,
        cmdline: '',
        memoryMiB: 384,
        disks: [{ vdev: 'xvda', target: disk }],
      },
    });
    expect(guest.output).toContain('Booting `Guest');
    expect(await guest.shell('uname -r; cat /proc/cmdline')).toBe(`${release}\nconsole=hvc0 quiet from=disk`);
    // What GRUB used of pages, grants and event channels is the kernel's again.
    expect(Number(/MemTotal: +(\d+)/.exec(await guest.shell('cat /proc/meminfo'))![1])).toBeGreaterThan(256 * 1024);
    expect(await guest.shell('dmesg')).not.toMatch(/\bBUG\b|Oops|Call Trace|Bad page/);
    expect(warnings).toEqual([]);
  },
);
