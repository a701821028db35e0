/** A guest with Debian's kernel, busybox, and the modules of split devices loaded; and images made with real tools. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Cache } from '../../src/dom0/toolstack/cache.ts';
import type { DomainConfig } from '../../src/dom0/toolstack/config.ts';
import { cpio, S_IFDIR, S_IFREG } from '../../src/start/cpio.ts';
import { debianKernel, debianModule } from '../../src/start/debian.ts';
import { type GuestOptions, HostGuest, shellConfig } from './host-guest.ts';

export const MODULES = ['drivers/block/xen-blkfront.ko'];

/** A domain that boots to a shell, with the modules in its /lib. */
export async function deviceConfig(options: GuestOptions = {}): Promise<DomainConfig> {
  const config = await shellConfig(options);
  const cache = new Cache();
  const kernel = await debianKernel(cache, 'cloud', () => {});
  const modules = await Promise.all(MODULES.map((m) => debianModule(cache, kernel.package, m, () => {})));
  const files = MODULES.map((m, i) => ({
    name: `modules/${m.replace(/.*\//, '')}`,
    mode: S_IFREG | 0o644,
    data: modules[i].bytes,
  }));
  const ramdisk = Buffer.concat([config.ramdisk!, cpio([{ name: 'modules', mode: S_IFDIR | 0o755 }, ...files])]);
  return { ...config, ramdisk };
}

/** Boots it and loads the block driver; the disks in `options.domain` are there then. */
export async function blockGuest(options: GuestOptions = {}): Promise<HostGuest> {
  const guest = await HostGuest.start(await deviceConfig(options), options.host);
  await guest.shell('insmod /modules/xen-blkfront.ko');
  return guest;
}

export const qemuImg = (...args: string[]): string => execFileSync('qemu-img', args, { encoding: 'utf8' });

export const sha256 = (path: string): string => execFileSync('sha256sum', [path], { encoding: 'utf8' }).split(' ')[0];

export const bytesOf = (path: string): Buffer => readFileSync(path);
