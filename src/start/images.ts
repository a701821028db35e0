/** What to boot: the files the user names, or Debian's kernel and an initramfs made from its busybox. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { isElf } from '../dom0/toolstack/kernel/elf.ts';
import { KernelError, unpackKernel } from '../dom0/toolstack/kernel/kernel.ts';
import type { Cache } from './cache.ts';
import { debianBusybox, debianKernel, FetchError, type Say } from './debian.ts';
import { initramfs } from './initramfs.ts';
import type { Options } from './options.ts';

/** Something that cannot be booted; the message says what to do. */
export class ImageError extends Error {}

export interface Images {
  /** How to call the kernel in messages. */
  readonly kernelName: string;
  /** The kernel as it was given, and the ELF file inside. */
  readonly image: Uint8Array;
  readonly elf: Uint8Array;
  readonly ramdisk: Uint8Array;
  readonly ramdiskName: string;
}

export async function loadImages(options: Options, cwd: string, cache: Cache, say: Say): Promise<Images> {
  const kernel = options.kernel
    ? { name: options.kernel, image: readFile('kernel', options.kernel, cwd) }
    : await fetched('kernel', async () => {
        const { package: name, bytes } = await debianKernel(cache, options.flavour, say);
        return { name, image: bytes };
      });
  const ramdisk = options.ramdisk
    ? readFile('ramdisk', options.ramdisk, cwd)
    : await fetched('ramdisk', async () => initramfs((await debianBusybox(cache, say)).bytes));
  let elf: Uint8Array;
  try {
    elf = isElf(kernel.image)
      ? kernel.image
      : cache.derived('elf', kernel.image, () => {
          say(`decompressing ${kernel.name}`);
          return unpackKernel(kernel.image);
        });
  } catch (error) {
    if (error instanceof KernelError) throw new ImageError(`${kernel.name} ${error.message}`);
    throw error;
  }
  return { kernelName: kernel.name, image: kernel.image, elf, ramdisk, ramdiskName: options.ramdisk ?? 'initramfs' };
}

function readFile(what: string, name: string, cwd: string): Uint8Array {
  try {
    return readFileSync(resolve(cwd, name));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a folder' : (error as Error).message;
    throw new ImageError(`no ${what} at ${name}: ${why}`);
  }
}

async function fetched<T>(what: string, fetch: () => Promise<T>): Promise<T> {
  try {
    return await fetch();
  } catch (error) {
    if (!(error instanceof FetchError)) throw error;
    const advice = what === 'kernel' ? '--kernel FILE with a vmlinuz' : '--ramdisk FILE with an initial ramdisk';
    throw new ImageError(`${error.message}; pass ${advice}`);
  }
}
