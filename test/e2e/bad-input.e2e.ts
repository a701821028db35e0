/** What cannot be booted: a message that says why, exit status 1, and nothing left behind. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host } from '../../src/dom0/host.ts';
import { Cache } from '../../src/dom0/toolstack/cache.ts';
import { unpackKernel } from '../../src/dom0/toolstack/kernel/unpack.ts';
import { debianBusybox, debianKernel } from '../../src/start/debian.ts';
import { initramfs } from '../../src/start/initramfs.ts';
import { type Result, run } from './command.ts';

let dir: string;
let vmlinuz: Uint8Array;
let busybox: Uint8Array;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'bad-input-'));
  const cache = new Cache();
  vmlinuz = new Uint8Array((await debianKernel(cache, 'cloud', () => {})).image.read());
  busybox = (await debianBusybox(cache, () => {})).bytes;
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, bytes: Uint8Array | string): string {
  const path = join(dir, name);
  writeFileSync(path, bytes);
  return path;
}

/** A failure that a user can understand: one line, with the name of what is wrong, and no stack trace. */
function expectRefusal(result: Result, ...words: (string | RegExp)[]): void {
  expect(result.status).toBe(1);
  for (const word of words) expect(result.stderr).toMatch(word);
  expect(result.stderr).toContain('npm start: ');
  expect(result.stderr).not.toMatch(/^\s+at /m);
}

describe('a kernel that is', () => {
  it('not there', async () => {
    expectRefusal(await run(['--kernel', '/nowhere/vmlinuz']), 'no kernel at /nowhere/vmlinuz');
    expectRefusal(await run(['--kernel', dir]), 'folder');
    expectRefusal(await run(['--ramdisk', '/nowhere/initrd']), 'no ramdisk at /nowhere/initrd');
  });

  it('truncated', async () => {
    for (const length of [0, 100, 0x220, 100_000, vmlinuz.length >> 1]) {
      expectRefusal(
        await run(['--kernel', file('truncated', vmlinuz.subarray(0, length))]),
        /truncated|empty|no kernel/,
      );
    }
  });

  it('no kernel', async () => {
    expectRefusal(await run(['--kernel', file('text', 'hello\n'.repeat(1000))]), /text .*no kernel/);
  });

  it('an ELF file without Xen notes', async () => {
    expectRefusal(await run(['--kernel', file('elf', busybox)]), /no Xen notes/);
  });

  it('corrupt', async () => {
    const corrupt = vmlinuz.slice();
    for (let i = 0; i < 4096; i++) corrupt[(corrupt.length >> 1) + i] ^= 0x5a;
    expectRefusal(await run(['--kernel', file('corrupt', corrupt)]), 'corrupt');
  });
});

describe('memory', () => {
  it('that is too little', async () => {
    expectRefusal(await run(['--memory', '16']), /16|memory/i);
  });

  it('that the machine does not have', async () => {
    expectRefusal(await run(['--memory', '512', '--machine-memory', '256']), /machine has \d+ MiB/);
  });
});

describe('a host', () => {
  it('gets every frame back, and lives on', async () => {
    const host = await Host.create({ memoryMiB: 512 });
    try {
      const elf = unpackKernel(vmlinuz);
      const ramdisk = initramfs(busybox);
      const config = {
        name: 'g',
        memoryMiB: 128,
        vcpus: 1,
        kernel: elf,
        kernelName: 'k',
        ramdisk,
        cmdline: 'console=hvc0',
      };
      const free = () => host.xen.sysctl.physInfo().freePages;
      host.toolstack.create(config).destroy(); // what the first domain makes the hypervisor allocate for good
      const before = free();
      expect(() => host.toolstack.create({ ...config, memoryMiB: 1024 })).toThrow(/free/);
      expect(() => host.toolstack.create({ ...config, memoryMiB: 20 })).toThrow();
      expect(() => host.toolstack.create({ ...config, kernel: busybox })).toThrow('Xen notes');
      expect(free()).toBe(before);
      for (let i = 0; i < 3; i++) {
        const domain = host.toolstack.create(config);
        domain.unpause();
        await new Promise((resolve) => setTimeout(resolve, 300 * i));
        domain.destroy();
        expect(await domain.ended).toBe('destroyed');
        await new Promise((resolve) => setTimeout(resolve, 200));
        expect(free()).toBe(before);
      }
      expect([...host.store.dump()].filter((line) => line.startsWith('/local/domain/1'))).toEqual([]);
    } finally {
      await host.stop();
    }
  });
});

describe('a guest that', () => {
  it('faults in its first instruction is reported as crashed, with its registers', async () => {
    const result = await run(['--kernel', 'test/guests/images/first-fault.elf']);
    expect(result.status).toBe(1);
    expect(result.stderr).toContain('the guest ended: crash');
    expect(result.stderr).toMatch(/RIP: +e033:/);
  });

  it('writes garbage wherever it can harms nobody', async () => {
    const result = await run(['--kernel', 'test/guests/images/garbage.elf', '--memory', '64']);
    expect([0, 1]).toContain(result.status);
    expect(result.stderr).not.toMatch(/machine failed|^\s+at /m);
  });
});
