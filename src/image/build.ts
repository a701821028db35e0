/** From options to a disk image in a file: the file system as it comes, written sparsely in the format of the file's name. */
import { closeSync, existsSync, ftruncateSync, openSync, renameSync, rmSync } from 'node:fs';
import { extname } from 'node:path';
import { openImage } from '../dom0/backends/block/formats/formats.ts';
import { createQcow2 } from '../dom0/backends/block/formats/qcow2/create.ts';
import { createVhd } from '../dom0/backends/block/formats/vhd/create.ts';
import { ImageError } from '../dom0/backends/block/image.ts';
import { type DebianOptions, debianFileSystem, ImageBuildError } from './debian.ts';
import { copySparse } from './sparse.ts';

export { type DebianOptions, ImageBuildError } from './debian.ts';

function createRaw(path: string, { size }: { readonly size: number }): void {
  const fd = openSync(path, 'wx', 0o644);
  try {
    ftruncateSync(fd, size);
  } finally {
    closeSync(fd);
  }
}

interface Format {
  readonly format: string;
  create(path: string, options: { readonly size: number }): void;
}

const RAW: Format = { format: 'raw', create: createRaw };

/** By the end of a file's name. */
export const IMAGE_FORMATS: Readonly<Record<string, Format>> = {
  '.qcow2': { format: 'qcow2', create: createQcow2 },
  '.vhd': { format: 'vhd', create: createVhd },
  '.img': RAW,
  '.raw': RAW,
};

/**
 * Makes a disk with Debian. `out`, whose name must end in one of IMAGE_FORMATS, appears when it is whole and must not be
 * there before. Throws ImageBuildError.
 */
export async function buildImage(out: string, options: DebianOptions, progress: (line: string) => void): Promise<void> {
  const { format, create } = IMAGE_FORMATS[extname(out)];
  if (existsSync(out)) throw new ImageBuildError(`${out} is there already: remove it or choose another name`);
  const partial = `${out}.partial`;
  const stream = debianFileSystem(options, progress);
  try {
    rmSync(partial, { force: true });
    create(partial, { size: options.sizeMiB * 2 ** 20 });
    const image = openImage(partial, format, { readOnly: false });
    try {
      await copySparse(stream, { write: (position, bytes) => image.write(position, [bytes]) });
    } finally {
      image.close();
    }
    renameSync(partial, out);
  } catch (error) {
    rmSync(partial, { force: true });
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof ImageError || (code && !(error instanceof ImageBuildError))) {
      throw new ImageBuildError(`${out}: ${(error as Error).message}`);
    }
    throw error;
  } finally {
    stream.destroy();
  }
}
