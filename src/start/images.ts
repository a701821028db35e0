/** What to boot: the files the user names, or Debian's kernel and an initramfs made from its busybox. */
import { resolve } from 'node:path';
import { imageAt, type KernelImage, kernelElf, readImage } from '../dom0/toolstack/boot-files.ts';
import type { Cache } from '../dom0/toolstack/cache.ts';
import type { CacheFile } from '../dom0/toolstack/cache-file.ts';
import type * as Debian from './debian.ts';
import type { Say } from './debian.ts';
import type { Options } from './options.ts';

/** Something that cannot be booted; the message says what to do. */
export class ImageError extends Error {}

export interface Images {
  /** How to call the kernel in messages. */
  readonly kernelName: string;
  /** The kernel as it was given, and the ELF file inside. */
  readonly image: KernelImage;
  readonly elf: CacheFile | Uint8Array;
  readonly ramdisk: Uint8Array;
  readonly ramdiskName: string;
}

export async function loadImages(options: Options, cwd: string, cache: Cache, say: Say): Promise<Images> {
  const kernel = options.kernel
    ? { name: options.kernel, image: imageAt(resolve(cwd, options.kernel), cache), modules: undefined }
    : await fetched('kernel', async ({ debianKernel }) => {
        const { package: name, image, release, modules } = await debianKernel(cache, options.flavour, say);
        return { name, image, modules: { release, files: modules } };
      });
  const ramdisk = options.ramdisk
    ? await readImage('ramdisk', resolve(cwd, options.ramdisk))
    : await fetched('ramdisk', async ({ debianBusybox }) => {
        const { initramfs } = await import('./initramfs.ts');
        return initramfs((await debianBusybox(cache, say)).bytes, kernel.modules);
      });
  const elf = await kernelElf(kernel.image, kernel.name, cache, say);
  return { kernelName: kernel.name, image: kernel.image, elf, ramdisk, ramdiskName: options.ramdisk ?? 'initramfs' };
}

/** Nothing of this is loaded where the user names the files. */
async function fetched<T>(what: string, fetch: (debian: typeof Debian) => Promise<T>): Promise<T> {
  const debian = await import('./debian.ts');
  try {
    return await fetch(debian);
  } catch (error) {
    if (!(error instanceof debian.FetchError)) throw error;
    const advice = what === 'kernel' ? '--kernel FILE with a vmlinuz' : '--ramdisk FILE with an initial ramdisk';
    throw new ImageError(`${error.message}; pass ${advice}`);
  }
}
