/** What the guests of both sides boot: the kernel of `npm start`, and its initramfs with the programs as /init. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cache } from '../src/dom0/toolstack/cache.ts';
import { loadImages } from '../src/start/images.ts';
import { parseOptions } from '../src/start/options.ts';
import { buildPrograms, withPrograms } from './programs.ts';
import { type Files, ROOT } from './sides.ts';

/** Makes them in `dir`; `options` of `npm start` choose the kernel, `say` hears of the progress. `executable`: the programs. */
export async function makeFiles(
  dir: string,
  options: readonly string[] = [],
  say: (line: string) => void = () => {},
): Promise<Files & { readonly executable: string }> {
  const images = await loadImages(parseOptions([...options]), ROOT, new Cache(), say);
  const executable = buildPrograms(dir);
  const files = { kernel: join(dir, 'vmlinuz'), ramdisk: join(dir, 'initrd') };
  writeFileSync(files.kernel, images.image.read());
  writeFileSync(files.ramdisk, withPrograms(images.ramdisk, executable));
  return { ...files, executable };
}
