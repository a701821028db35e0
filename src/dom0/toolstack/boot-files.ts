/**
 * What a guest boots from, ready for the builder: the files of the host that its spec names, or of its own disk, with the
 * kernel unpacked. Slow (files of tens of MB are read, hashed, decompressed): `boot-thread.ts` has a thread do it.
 */
import { readFile } from 'node:fs/promises';
import { bootChoice, bootFromDisk } from './boot.ts';
import type { Booted } from './bootloader/pygrub.ts';
import type { Cache } from './cache.ts';
import { ToolstackError } from './error.ts';
import { isElf } from './kernel/elf.ts';
import { KernelError, unpackKernel } from './kernel/kernel.ts';
import type { DomainSpec } from './spec.ts';

/** Told what long work is doing. */
export type Progress = (message: string) => void;

/** `kernel`: the ELF file. */
export type BootFiles = Omit<Booted, 'partition' | 'title'>;

/** What of a spec says what is booted. */
export type BootSpec = Pick<DomainSpec, 'kernel' | 'ramdisk' | 'cmdline' | 'bootloader' | 'bootloader_args' | 'disk'>;

/** A file that cannot be read. */
export class FileError extends ToolstackError {}

/** `what`: what the file is to the user, as `kernel`. */
export async function readImage(what: string, path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT'
        ? 'there is no such file'
        : code === 'EISDIR'
          ? 'it is a folder'
          : code === 'EACCES'
            ? 'it may not be read'
            : (error as Error).message;
    throw new FileError(`no ${what} at ${path}: ${why}`);
  }
}

/** The kernel's ELF file; what had to be decompressed is kept in the cache. Throws KernelError that names `name`. */
export function kernelElf(image: Uint8Array, name: string, cache: Cache, progress: Progress): Uint8Array {
  try {
    if (isElf(image)) return image;
    return cache.derived('elf', image, () => {
      progress(`decompressing ${name}`);
      return unpackKernel(image);
    });
  } catch (error) {
    if (error instanceof KernelError) throw new KernelError(`${name} ${error.message}`);
    throw error;
  }
}

async function packed(spec: BootSpec, progress: Progress): Promise<BootFiles> {
  if (spec.bootloader !== undefined) {
    // As libxl does: what the configuration names is meant to be in the guest.
    const named = { kernel: spec.kernel, ramdisk: spec.ramdisk, args: spec.cmdline || undefined };
    const given = bootChoice(spec.bootloader_args ?? []);
    const choice = {
      ...named,
      ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    };
    progress('running pygrub');
    const booted = bootFromDisk(spec.disk ?? [], choice);
    progress(`booting ${booted.title}`);
    return booted;
  }
  const kernelName = spec.kernel!;
  progress(`reading ${kernelName}`);
  const [kernel, ramdisk] = await Promise.all([
    readImage('kernel', kernelName),
    spec.ramdisk === undefined ? undefined : readImage('ramdisk', spec.ramdisk),
  ]);
  return { kernel, kernelName, ramdisk, ramdiskName: spec.ramdisk, args: spec.cmdline };
}

/** Throws ToolstackError, KernelError. */
export async function bootFiles(spec: BootSpec, cache: Cache, progress: Progress): Promise<BootFiles> {
  const { kernel, kernelName, ramdisk, ramdiskName, args } = await packed(spec, progress);
  return { kernel: kernelElf(kernel, kernelName, cache, progress), kernelName, ramdisk, ramdiskName, args };
}
