/** What a guest boots from, made ready aside of the control domain's thread. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { FileError } from '../../src/dom0/toolstack/boot-files.ts';
import { loadBootFiles } from '../../src/dom0/toolstack/boot-thread.ts';
import { ToolstackError } from '../../src/dom0/toolstack/error.ts';
import { wholeOf } from '../../src/dom0/toolstack/kernel/bytes.ts';
import { KernelError } from '../../src/dom0/toolstack/kernel/error.ts';
import { unpackKernel } from '../../src/dom0/toolstack/kernel/unpack.ts';

const dir = mkdtempSync(join(tmpdir(), 'boot-thread-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const kernel = fileURLToPath(new URL('kernels/tiny.xz', import.meta.url));
const file = (name: string, content: string | Uint8Array) => {
  writeFileSync(join(dir, name), content);
  return join(dir, name);
};
const load = (spec: { kernel?: string; ramdisk?: string }, said: string[] = []) =>
  loadBootFiles({ cmdline: 'quiet', ...spec }, dir, (line) => said.push(line));

it('gives what is inside, says what it does, and keeps it', async () => {
  const said: string[] = [];
  const ramdisk = file('ramdisk', 'a ramdisk');
  const files = await load({ kernel, ramdisk }, said);
  expect(Buffer.compare(wholeOf(files.kernel), unpackKernel(readFileSync(kernel)))).toBe(0);
  expect(Buffer.from(files.ramdisk!).toString()).toBe('a ramdisk');
  expect(files).toMatchObject({ kernelName: kernel, ramdiskName: ramdisk, args: 'quiet' });
  expect(said).toEqual([`reading ${kernel}`, `decompressing ${kernel}`]);
  const again = await load({ kernel }, said);
  expect(Buffer.compare(wholeOf(again.kernel), wholeOf(files.kernel))).toBe(0);
  expect(said.slice(2)).toEqual([`reading ${kernel}`]);
});

it('hands an ELF file on as it is', async () => {
  const elf = unpackKernel(readFileSync(kernel));
  expect((await load({ kernel: file('elf', elf) })).kernel).toEqual(new Uint8Array(elf));
});

it('refuses by name, with errors of their kind', async () => {
  const wrong = file('wrong', 'hello, world');
  await expect(load({ kernel: wrong })).rejects.toThrow(`${wrong} is no kernel`);
  await expect(load({ kernel: wrong })).rejects.toBeInstanceOf(KernelError);
  const none = load({ kernel: join(dir, 'none') });
  await expect(none).rejects.toThrow(/no kernel at .*none: there is no such file/);
  await expect(none).rejects.toBeInstanceOf(FileError);
  const disk = [{ vdev: 'xvda', target: file('empty.img', new Uint8Array(1 << 20)) }];
  const booting = loadBootFiles({ cmdline: '', bootloader: 'pygrub', disk }, dir, () => {});
  await expect(booting).rejects.toBeInstanceOf(ToolstackError);
  await expect(booting).rejects.toThrow(/^bootloader=pygrub: xvda/);
});
