/** What npm start fetches and makes, checked with the system's own tools. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Cache } from '../../src/dom0/toolstack/cache.ts';
import { appletNames } from '../../src/start/busybox.ts';
import { debianBusybox, debianKernel } from '../../src/start/debian.ts';
import { initramfs } from '../../src/start/initramfs.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'initramfs-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it('busybox has the applets that we read from its table', () => {
  const installed = readFileSync('/bin/busybox');
  const own = execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n');
  expect(appletNames(installed)).toEqual(own);
});

it('cpio unpacks the archive', () => {
  const archive = initramfs(readFileSync('/bin/busybox'));
  const out = join(dir, 'out');
  // Device nodes need root; everything else does not.
  const list = execFileSync('cpio', ['-itv', '--quiet'], { input: archive, encoding: 'utf8' });
  expect(list).toMatch(/^crw-------\s.*\s5,\s+1 .* dev\/console$/m);
  execFileSync('bash', ['-c', `mkdir -p ${out} && cd ${out} && cpio -idm --quiet --no-preserve-owner -f 'dev/*'`], {
    input: archive,
  });
  expect(readFileSync(join(out, 'bin/busybox'))).toEqual(readFileSync('/bin/busybox'));
  expect(readFileSync(join(out, 'etc/inittab'), 'utf8')).toContain('hvc0');
  execFileSync(join(out, 'bin/sh'), ['-n', join(out, 'etc/rc')]);
  execFileSync(join(out, 'bin/sh'), ['-n', join(out, 'etc/profile')]);
  expect(existsSync(join(out, 'sbin/poweroff'))).toBe(true);
});

it('packages are fetched once, with package lists of our own where there are none', async () => {
  const lists = join(dir, 'empty-lists');
  execFileSync('mkdir', ['-p', join(lists, 'partial')]);
  const config = join(dir, 'apt.conf');
  execFileSync('bash', ['-c', `echo 'Dir::State::Lists "${lists}";' > ${config}`]);
  process.env.APT_CONFIG = config;
  try {
    const cache = new Cache(join(dir, 'cache'));
    const said: string[] = [];
    const first = await debianBusybox(cache, (line) => said.push(line));
    expect(first.fetched).toBe(true);
    expect(said).toContain('fetching package lists');
    const again = await debianBusybox(cache, () => {});
    expect(again.fetched).toBe(false);
    expect(again.bytes).toEqual(first.bytes);
    const kernel = await debianKernel(cache, 'cloud', () => {});
    expect(kernel.package).toMatch(/^linux-image-6\.1\.0-\d+-cloud-amd64$/);
    expect(kernel.image.read().length).toBeGreaterThan(5e6);
    expect(kernel.package).toBe(`linux-image-${kernel.release}`);
    for (const name of ['xen-blkfront', 'xen-netfront']) {
      expect(Buffer.from(kernel.modules.get(name)!.subarray(0, 4)).toString('latin1')).toBe('\x7fELF');
    }
  } finally {
    delete process.env.APT_CONFIG;
  }
});
