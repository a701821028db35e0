/**
 * Makes the disks of these tests with the real tools (mke2fs, sfdisk): `node test/dom0/bootloader/make.ts [FOLDER]` writes
 * `NAME.gz` for each. They are kept beside this file so that `npm test` needs no tools; the end-to-end tests make them anew.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { files, GRUB_CFG } from './content.ts';

/** File systems of which a disk is made: mke2fs options and size in KiB. */
const FILE_SYSTEMS: Readonly<Record<string, { readonly options: readonly string[]; readonly kib: number }>> = {
  'ext2-1k': { options: ['-t', 'ext2', '-b', '1024'], kib: 2048 },
  'ext3-1k': { options: ['-t', 'ext3', '-b', '1024', '-J', 'size=1'], kib: 4096 },
  'ext4-4k': { options: ['-t', 'ext4', '-b', '4096', '-O', '^has_journal'], kib: 4096 },
  'ext4-1k-plain': {
    options: ['-t', 'ext4', '-b', '1024', '-O', '^64bit,^metadata_csum,^flex_bg,^has_journal'],
    kib: 2048,
  },
};

/** Partition tables in sfdisk's language; the file system goes into `partition` (from 1 MiB on, 4 MiB long). */
const TABLES: Readonly<Record<string, string>> = {
  mbr: 'label: dos\nstart=2048, size=8192, type=83, bootable\n',
  'mbr-logical': 'label: dos\nstart=1024, size=9216, type=5\nstart=2048, size=8192, type=83\n',
  gpt: 'label: gpt\nstart=2048, size=8192, type=L\n',
};
const PARTITION_AT = 1 << 20;

function makeFileSystem(scratch: string, name: string): Uint8Array {
  const { options, kib } = FILE_SYSTEMS[name];
  const image = join(scratch, `${name}.img`);
  const uuid = '6f1d7a5e-0000-4000-8000-00000000e574';
  const fixed = ['-q', '-N', '64', '-U', uuid, '-E', `root_owner=0:0,hash_seed=${uuid}`, '-d', join(scratch, 'root')];
  execFileSync('mke2fs', [...options, ...fixed, image, `${kib}k`], { stdio: ['ignore', 'ignore', 'inherit'] });
  return readFileSync(image);
}

function makePartitioned(scratch: string, name: string, content: Uint8Array): Uint8Array {
  const image = join(scratch, `${name}.img`);
  writeFileSync(image, new Uint8Array(6 << 20));
  execFileSync('sfdisk', ['-q', '--no-reread', '--no-tell-kernel', image], { input: TABLES[name] });
  const disk = readFileSync(image);
  disk.set(content, PARTITION_AT);
  return disk;
}

function main(out: string): void {
  const scratch = mkdtempSync(join(tmpdir(), 'xenolith-disks-'));
  const root = join(scratch, 'root');
  try {
    mkdirSync(join(root, 'boot/grub'), { recursive: true });
    writeFileSync(join(root, 'boot/grub/grub.cfg'), GRUB_CFG);
    for (const [name, bytes] of Object.entries(files())) writeFileSync(join(root, 'boot', name), bytes);
    symlinkSync('boot/kernel-2', join(root, 'vmlinuz'));
    symlinkSync('/boot/../boot/./ramdisk', join(root, 'initrd.img'));
    symlinkSync(`/${'boot/../'.repeat(20)}boot/kernel-1`, join(root, 'boot', 'long-link'));
    symlinkSync('loop', join(root, 'loop'));
    const made = new Map(Object.keys(FILE_SYSTEMS).map((name) => [name, makeFileSystem(scratch, name)]));
    for (const name of Object.keys(TABLES)) made.set(name, makePartitioned(scratch, name, made.get('ext4-4k')!));
    mkdirSync(out, { recursive: true });
    for (const [name, bytes] of made) writeFileSync(join(out, `${name}.gz`), gzipSync(bytes, { level: 9 }));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

main(process.argv[2] ?? fileURLToPath(new URL('disks', import.meta.url)));
