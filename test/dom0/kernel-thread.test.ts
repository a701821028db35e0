/** Kernels unpacked aside of the control domain's thread. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { Cache } from '../../src/dom0/toolstack/cache.ts';
import { KernelError, unpackKernel } from '../../src/dom0/toolstack/kernel/kernel.ts';
import { kernelElfAside } from '../../src/dom0/toolstack/kernel-thread.ts';

const dir = mkdtempSync(join(tmpdir(), 'kernel-thread-'));
const cache = new Cache(dir);
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const packed = readFileSync(new URL('kernels/tiny.xz', import.meta.url));

it('gives what is inside, says what it does, and keeps it', async () => {
  const said: string[] = [];
  const elf = await kernelElfAside(packed, 'tiny.xz', cache, (line) => said.push(line));
  expect(Buffer.compare(elf, unpackKernel(packed))).toBe(0);
  expect(said).toEqual(['decompressing tiny.xz']);
  const again = await kernelElfAside(packed, 'tiny.xz', cache, (line) => said.push(line));
  expect(Buffer.compare(again, elf)).toBe(0);
  expect(said.length).toBe(1);
});

it('hands an ELF file back as it is', async () => {
  const elf = unpackKernel(packed);
  expect(await kernelElfAside(elf, 'elf', cache, () => {})).toBe(elf);
});

it('refuses what is no kernel, by name', async () => {
  const wrong = kernelElfAside(Buffer.from('hello, world'), '/boot/no', cache, () => {});
  await expect(wrong).rejects.toThrow(/^\/boot\/no is no kernel/);
  await expect(wrong).rejects.toBeInstanceOf(KernelError);
});
