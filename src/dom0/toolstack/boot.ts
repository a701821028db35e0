/** Where a guest's kernel comes from: files of the host, or the guest's own disk, as its boot loader's configuration says. */
import { parseArgs } from 'node:util';
import { openImage } from '../backends/block/formats/formats.ts';
import { type BlockImage, ImageError } from '../backends/block/image.ts';
import { type BootChoice, type Booted, pygrub } from './bootloader/pygrub.ts';
import { BootError, type ByteSource } from './bootloader/source.ts';
import type { DiskConfig } from './devices/disk.ts';
import { ToolstackError } from './error.ts';

const SECTOR = 512;

/** `bootloader_args` of pygrub that have a meaning here. */
const OPTIONS = {
  entry: { type: 'string' },
  kernel: { type: 'string' },
  ramdisk: { type: 'string' },
  args: { type: 'string' },
  quiet: { type: 'boolean', short: 'q' },
  interactive: { type: 'boolean', short: 'i' },
} as const;

/** Throws ToolstackError for what pygrub here does not know. The menu is never shown. */
export function bootChoice(args: readonly string[]): BootChoice {
  try {
    const { values } = parseArgs({ args: [...args], options: OPTIONS, strict: true, allowPositionals: false });
    if (values.interactive) throw new ToolstackError('--interactive: there is no menu; --entry chooses');
    return { entry: values.entry, kernel: values.kernel, ramdisk: values.ramdisk, args: values.args };
  } catch (error) {
    if (error instanceof ToolstackError) throw error;
    throw new ToolstackError((error as Error).message.split('\n')[0]);
  }
}

/** The bytes of an image, which is read in whole sectors. */
export function sourceOf(image: BlockImage): ByteSource {
  return {
    size: image.size,
    read(offset, length) {
      const skip = offset % SECTOR;
      const bytes = new Uint8Array(Math.ceil((skip + length) / SECTOR) * SECTOR);
      image.read(offset - skip, [bytes]);
      return bytes.subarray(skip, skip + length);
    },
  };
}

/** Reads kernel, ramdisk and arguments from the first of the disks. Throws ToolstackError that says why it cannot. */
export function bootFromDisk(disks: readonly DiskConfig[], choice: BootChoice): Booted {
  const disk = disks.find((d) => !d.cdrom);
  if (!disk) throw new ToolstackError('bootloader=pygrub: there is no disk to boot from');
  let image: BlockImage | undefined;
  try {
    // Looking at it is no use of it: a back end that has it open may be on its way out.
    image = openImage(disk.target, disk.format ?? 'raw', { readOnly: true, lock: false });
    return pygrub(sourceOf(image), choice);
  } catch (error) {
    if (!(error instanceof BootError) && !(error instanceof ImageError)) throw error;
    throw new ToolstackError(`bootloader=pygrub: ${disk.vdev} (${disk.target}): ${error.message}`);
  } finally {
    image?.close();
  }
}
