/**
 * `npm run images`: Debian's kernel and an initramfs with busybox's shell, as build/images/vmlinuz and
 * build/images/initramfs. The files of examples/ boot them.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Cache } from '../src/dom0/toolstack/cache.ts';
import { loadImages } from '../src/start/images.ts';
import { parseOptions } from '../src/start/options.ts';

const dir = fileURLToPath(new URL('../build/images/', import.meta.url));
const { image, ramdisk } = await loadImages(parseOptions([]), dir, new Cache(), (line) => console.error(line));
mkdirSync(dir, { recursive: true });
writeFileSync(`${dir}vmlinuz`, image.read());
writeFileSync(`${dir}initramfs`, ramdisk);
console.log(`${dir}vmlinuz\n${dir}initramfs`);
