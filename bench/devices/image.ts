/**
 * The Debian that the device lines use: a disk made once by what `xl image debian` uses, with fio, and kept in the cache; and
 * the parts of it that the guests need outside of it: the kernel, the initrd, modules of front ends.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { openImage } from '../../src/dom0/backends/block/formats/formats.ts';
import { sourceOf } from '../../src/dom0/toolstack/boot.ts';
import { ExtFileSystem } from '../../src/dom0/toolstack/bootloader/fs/ext.ts';
import { pygrub } from '../../src/dom0/toolstack/bootloader/pygrub.ts';
import type { Cache } from '../../src/dom0/toolstack/cache.ts';
import { buildImage } from '../../src/image/build.ts';

/** Part of the file's name: to be changed with what the disk is made of. */
const EDITION = 1;
const SIZE_MIB = 1500;
const LIMIT = 64 << 20;
/** In the order in which they are wanted; what they need themselves comes before them. */
const DRIVERS = ['xen-blkfront', 'xen-netfront', 'virtio_pci', 'virtio_blk', 'virtio_net'];

export interface Debian {
  /** The disk, a raw image, not to be written. */
  readonly disk: string;
  /** Its bytes. */
  readonly size: number;
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
  /** Arguments of its boot loader for the kernel, without a console. */
  readonly args: string;
  /** Modules in an order in which they can be loaded; what is built into the kernel is not among them. */
  readonly modules: ReadonlyMap<string, Uint8Array>;
}

/** Makes the disk if it is not in the cache. Throws ImageBuildError where it cannot be made. */
export async function debianDisk(cache: Cache, say: (line: string) => void): Promise<Debian> {
  const dir = join(cache.dir, 'bench');
  const disk = join(dir, `debian-${EDITION}.img`);
  if (!existsSync(disk)) {
    mkdirSync(dir, { recursive: true });
    const options = { sizeMiB: SIZE_MIB, suite: 'bookworm', flavour: 'cloud', hostname: 'bench' } as const;
    say('making a disk with Debian and fio; this takes minutes, once');
    await buildImage(disk, { ...options, password: 'bench', packages: ['fio'] }, say);
  }
  return readDisk(disk);
}

function readDisk(disk: string): Debian {
  const image = openImage(disk, 'raw', { readOnly: true });
  try {
    const source = sourceOf(image);
    const { kernel, ramdisk, args } = pygrub(source);
    const fs = ExtFileSystem.open(source)!;
    return {
      disk,
      size: image.size,
      kernel,
      initrd: ramdisk!,
      args: args.replace(/\s*console=\S+/g, ''),
      modules: modules(fs, `/lib/modules/${releaseOf(kernel)}`),
    };
  } finally {
    image.close();
  }
}

/** What `uname -r` prints, from the setup header (Documentation/arch/x86/boot.rst, kernel_version). */
function releaseOf(kernel: Uint8Array): string {
  const at = new DataView(kernel.buffer, kernel.byteOffset).getUint16(0x20e, true) + 0x200;
  return new TextDecoder().decode(kernel.subarray(at, at + 100)).split(' ')[0];
}

function modules(fs: ExtFileSystem, dir: string): Map<string, Uint8Array> {
  const dependencies = new Map<string, readonly string[]>();
  for (const line of new TextDecoder().decode(fs.readFile(`${dir}/modules.dep`, LIMIT)).split('\n')) {
    const [file, needs] = line.split(':');
    if (needs !== undefined) dependencies.set(file, needs.split(' ').filter(Boolean).reverse());
  }
  const files = new Map<string, Uint8Array>();
  for (const driver of DRIVERS) {
    const file = [...dependencies.keys()].find((name) => name.endsWith(`/${driver}.ko`));
    if (!file) continue; // built in
    for (const name of [...dependencies.get(file)!, file]) {
      if (!files.has(name)) files.set(name, fs.readFile(`${dir}/${name}`, LIMIT));
    }
  }
  return files;
}
