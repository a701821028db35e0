/**
 * What a guest boots from, ready for the builder: the files of the host that its spec names, or of its own disk, with the
 * kernel unpacked. Slow (files of tens of MB are read, hashed, decompressed): `boot-thread.ts` has a thread do it.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Booted } from './bootloader/pygrub.ts';
import { type Cache, sha256 } from './cache.ts';
import type { CacheFile } from './cache-file.ts';
import { ToolstackError } from './error.ts';
import { isElf } from './kernel/elf.ts';
import { KernelError } from './kernel/error.ts';
import type { DomainSpec } from './spec.ts';

/** Told what long work is doing. */
export type Progress = (message: string) => void;

/** `kernel`: the ELF file; in the cache, if it had to be made from the image. */
export interface BootFiles extends Omit<Booted, 'partition' | 'title' | 'kernel'> {
  readonly kernel: CacheFile | Uint8Array;
}

/** What of a spec says what is booted. */
export type BootSpec = Pick<DomainSpec, 'kernel' | 'ramdisk' | 'cmdline' | 'bootloader' | 'bootloader_args' | 'disk'>;

/** A file that cannot be read. */
export class FileError extends ToolstackError {}

/** `what`: what the file is to the user, as `kernel`. */
export async function readImage(what: string, path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw fileError(what, path, error);
  }
}

function fileError(what: string, path: string, error: unknown): FileError {
  const { code } = error as NodeJS.ErrnoException;
  const why =
    code === 'ENOENT'
      ? 'there is no such file'
      : code === 'EISDIR'
        ? 'it is a folder'
        : code === 'EACCES'
          ? 'it may not be read'
          : (error as Error).message;
  return new FileError(`no ${what} at ${path}: ${why}`);
}

/** A kernel's image, which is read only if what it holds is not in the cache. */
export interface KernelImage {
  /** SHA-256. */
  readonly hash: string;
  readonly isElf: boolean;
  read(): Uint8Array;
}

export const imageOf = (bytes: Uint8Array): KernelImage => ({
  hash: sha256(bytes),
  isElf: isElf(bytes),
  read: () => bytes,
});

export function imageAt(path: string, cache: Cache): KernelImage {
  try {
    const fd = openSync(path, 'r');
    try {
      const { hash } = cache.contentOf(fd);
      const start = new Uint8Array(4);
      readSync(fd, start, 0, 4, 0);
      return { hash, isElf: isElf(start), read: () => readKernel(path, hash) };
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw fileError('kernel', path, error);
  }
}

function readKernel(path: string, hash: string): Uint8Array {
  try {
    const bytes = readFileSync(path);
    if (sha256(bytes) === hash) return bytes;
  } catch (error) {
    throw fileError('kernel', path, error);
  }
  throw new FileError(`the kernel at ${path} was changed while it was read: try again`);
}

/** The kernel's ELF file; what had to be decompressed is kept in the cache. Throws KernelError that names `name`. */
export async function kernelElf(
  image: KernelImage,
  name: string,
  cache: Cache,
  progress: Progress,
): Promise<CacheFile | Uint8Array> {
  try {
    if (image.isElf) return image.read();
    return await cache.derived('elf', image.hash, async () => {
      progress(`decompressing ${name}`);
      const { unpackKernel } = await import('./kernel/unpack.ts');
      return unpackKernel(image.read());
    });
  } catch (error) {
    if (error instanceof KernelError) throw new KernelError(`${name} ${error.message}`);
    throw error;
  }
}

async function packed(
  spec: BootSpec,
  cache: Cache,
  progress: Progress,
): Promise<Omit<BootFiles, 'kernel'> & { kernel: KernelImage }> {
  if (spec.bootloader !== undefined) {
    const { bootChoice, bootFromDisk } = await import('./boot.ts');
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
    return { ...booted, kernel: imageOf(booted.kernel) };
  }
  const kernelName = spec.kernel!;
  progress(`reading ${kernelName}`);
  const kernel = imageAt(kernelName, cache);
  const ramdisk = spec.ramdisk === undefined ? undefined : await readImage('ramdisk', spec.ramdisk);
  return { kernel, kernelName, ramdisk, ramdiskName: spec.ramdisk, args: spec.cmdline };
}

/** Throws ToolstackError, KernelError. */
export async function bootFiles(spec: BootSpec, cache: Cache, progress: Progress): Promise<BootFiles> {
  const { kernel, kernelName, ramdisk, ramdiskName, args } = await packed(spec, cache, progress);
  return { kernel: await kernelElf(kernel, kernelName, cache, progress), kernelName, ramdisk, ramdiskName, args };
}
