/**
 * Compresses a tiny kernel with the real tools, with the options of the Linux build (scripts/Makefile.lib), into
 * test/dom0/kernels/tiny.*: `node test/dom0/kernels/make.ts`. The tests need none of the tools.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { linuxNotes, tinyElf } from './tiny-kernel.ts';

export const TOOLS: Readonly<Record<string, readonly string[]>> = {
  gz: ['gzip', '-n', '-9', '-c'],
  bz2: ['bzip2', '-9', '-c'],
  lzma: ['xz', '--format=lzma', '-9', '-c'],
  xz: ['xz', '--check=crc32', '--x86', '--lzma2=dict=32MiB', '-c'],
  lzo: ['lzop', '-9', '-c'],
  lz4: ['lz4', '-l', '-9', '-c'],
  zst: ['zstd', '-22', '--ultra', '-c', '-q'],
};

/** The tiny kernel that the files hold. */
export const tinyKernel = () => tinyElf({ notes: linuxNotes() });

export const fixture = (suffix: string) => fileURLToPath(new URL(`tiny.${suffix}`, import.meta.url));

export function compress(suffix: string, data: Uint8Array): Uint8Array {
  const [tool, ...args] = TOOLS[suffix];
  return execFileSync(tool, args, { input: data, stdio: ['pipe', 'pipe', 'ignore'], maxBuffer: 1 << 28 });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const suffix of Object.keys(TOOLS)) writeFileSync(fixture(suffix), compress(suffix, tinyKernel()));
}
