/**
 * `bootloader="pygrub"`: finds kernel, ramdisk and command line inside a guest's disk, as Xen's pygrub does, without running
 * anything of the guest: it reads the partition table, the file system and the boot loader's configuration.
 */
import { MAX_KERNEL_BYTES } from '../kernel/bytes.ts';
import type { BootEntry, BootMenu } from './entry.ts';
import { parseExtlinuxConfig } from './extlinux-config.ts';
import { ExtFileSystem } from './fs/ext.ts';
import type { FileSystem } from './fs/file-system.ts';
import { parseGrubConfig } from './grub-config.ts';
import { partitions } from './partitions.ts';
import { BootError, type ByteSource } from './source.ts';

export interface BootChoice {
  /** The entry to take: its number (from 0) or title; by default what the configuration says (pygrub --entry). */
  readonly entry?: string;
  /** Boot this, whatever the configuration says (pygrub --kernel, --ramdisk, --args). */
  readonly kernel?: string;
  readonly ramdisk?: string;
  readonly args?: string;
}

export interface Booted {
  /** Of the partition that was booted from; 0: the whole disk. */
  readonly partition: number;
  readonly title: string;
  readonly kernel: Uint8Array;
  /** Path inside the guest's file system. */
  readonly kernelName: string;
  readonly ramdisk?: Uint8Array;
  readonly ramdiskName?: string;
  readonly args: string;
}

/** Where configurations are looked for, in this order (pygrub's lists), and how they are read. */
const CONFIGS: readonly { readonly paths: readonly string[]; parse(text: string): BootMenu }[] = [
  {
    paths: ['/boot/grub/grub.cfg', '/grub/grub.cfg', '/boot/grub2/grub.cfg', '/grub2/grub.cfg'],
    parse: parseGrubConfig,
  },
  {
    paths: [
      '/boot/isolinux/isolinux.cfg',
      '/boot/extlinux/extlinux.conf',
      '/boot/extlinux.conf',
      '/extlinux/extlinux.conf',
      '/extlinux.conf',
      '/boot/syslinux/syslinux.cfg',
    ],
    parse: parseExtlinuxConfig,
  },
];
const MAX_CONFIG = 4 << 20;
const MAX_RAMDISK_BYTES = 512 << 20;

/** File systems that boot loaders' files are read from: one row each. */
const FILE_SYSTEMS: readonly ((source: ByteSource) => FileSystem | undefined)[] = [ExtFileSystem.open];

/** Reads what is to be booted from a disk. Throws BootError, which says what was looked for. */
export function pygrub(disk: ByteSource, choice: BootChoice = {}): Booted {
  const looked: string[] = [];
  for (const { number, source } of partitions(disk)) {
    const place = number ? `partition ${number}` : 'the disk';
    let fs: FileSystem | undefined;
    try {
      fs = FILE_SYSTEMS.map((open) => open(source)).find((f) => f);
    } catch (error) {
      if (!(error instanceof BootError)) throw error;
      looked.push(`${place}: ${error.message}`);
      continue;
    }
    if (!fs) {
      looked.push(`${place}: no ext2, ext3 or ext4 file system`);
      continue;
    }
    const entry = choose(fs, choice);
    if (entry) return load(fs, number, entry);
    looked.push(`${place}: ${fs.kind} without a boot loader's configuration`);
  }
  throw new BootError(`nothing to boot (${looked.join('; ')})`);
}

function choose(fs: FileSystem, choice: BootChoice): BootEntry | undefined {
  if (choice.kernel !== undefined) {
    if (!fs.isFile(choice.kernel)) return undefined;
    return { title: choice.kernel, kernel: choice.kernel, ramdisk: choice.ramdisk, args: choice.args ?? '' };
  }
  const found = menu(fs);
  if (!found) return undefined;
  const entry = named(found, choice.entry);
  // As pygrub does: what is given replaces the ramdisk, and arguments are added.
  const args = [entry.args, choice.args ?? ''].filter((a) => a !== '').join(' ');
  return { ...entry, ramdisk: choice.ramdisk ?? entry.ramdisk, args };
}

function menu(fs: FileSystem): BootMenu | undefined {
  for (const { paths, parse } of CONFIGS) {
    const path = paths.find((p) => fs.isFile(p));
    if (!path) continue;
    const read = parse(new TextDecoder().decode(fs.readFile(path, MAX_CONFIG)));
    if (read.entries.length === 0) throw new BootError(`${path} has no entry with a Linux kernel`);
    return read;
  }
  return undefined;
}

function named({ entries, default: fallback }: BootMenu, wanted?: string): BootEntry {
  if (wanted === undefined) return entries[fallback];
  const entry =
    entries.find((e) => e.title === wanted || e.id === wanted) ?? entries[/^\d+$/.test(wanted) ? Number(wanted) : -1];
  if (!entry) {
    const list = entries.map((e, i) => `${i}: ${e.title}`).join(', ');
    throw new BootError(`there is no entry "${wanted}" in the boot menu, which has ${list}`);
  }
  return entry;
}

function load(fs: FileSystem, partition: number, entry: BootEntry): Booted {
  // A kernel's path may begin with GRUB's name of a device: "(hd0,msdos1)/boot/vmlinuz". pygrub reads from this one.
  const kernelName = withoutDevice(entry.kernel);
  const ramdiskName = entry.ramdisk === undefined ? undefined : withoutDevice(entry.ramdisk);
  return {
    partition,
    title: entry.title,
    kernelName,
    kernel: fs.readFile(onFileSystem(fs, kernelName), MAX_KERNEL_BYTES),
    ramdiskName,
    ramdisk: ramdiskName === undefined ? undefined : fs.readFile(onFileSystem(fs, ramdiskName), MAX_RAMDISK_BYTES),
    args: entry.args,
  };
}

const withoutDevice = (path: string) => path.replace(/^\([^)]*\)/, '');

/** Paths in the configuration of a separate /boot partition may be given as they are once it is mounted, or without /boot. */
function onFileSystem(fs: FileSystem, path: string): string {
  if (fs.isFile(path)) return path;
  const short = path.replace(/^\/boot(?=\/)/, '');
  return fs.isFile(short) ? short : path;
}
