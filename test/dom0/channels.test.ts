/** Consoles besides the first, with front ends that write what they have not. On the real hypervisor. */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { XenbusState } from '../../src/abi/xenbus.ts';
import { Host } from '../../src/dom0/host.ts';
import type { DomainConfig } from '../../src/dom0/toolstack/config.ts';
import { linuxNotes, tinyElf } from './kernels/tiny-kernel.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create({ memoryMiB: 256, pcpus: 1 });
});
afterAll(() => host.stop());

const config = (names: string[]): DomainConfig => ({
  name: 'tiny',
  memoryMiB: 8,
  vcpus: 1,
  kernel: tinyElf({ segments: [{ paddr: 0x10_0000n, data: Uint8Array.of(0xeb, 0xfe) }], notes: linuxNotes() }),
  kernelName: 'tiny',
  cmdline: '',
  channels: names.map((name) => ({ name })),
});
const dir = mkdtempSync(join(tmpdir(), 'channels-'));
afterAll(() => rmSync(dir, { recursive: true }));
const free = () => host.xen.sysctl.physInfo().freePages;
const tick = () => new Promise((resolve) => setTimeout(resolve, 5));

it('has the nodes that a guest’s driver looks for', () => {
  const d = host.toolstack.create(config(['agent', 'log']));
  const front = `/local/domain/${d.domid}/device/console/2`;
  const back = `/local/domain/0/backend/console/${d.domid}/2`;
  expect(host.store.read(`${front}/backend`)).toBe(back);
  expect(host.store.read(`${back}/frontend`)).toBe(front);
  expect(host.store.read(`${back}/name`)).toBe('log');
  expect(host.store.read(`${back}/state`)).toBe(`${XenbusState.InitWait}`);
  expect(host.store.getPerms(`${front}/state`)).toEqual([`n${d.domid}`, 'r0']);
  expect(d.channels.map((c) => c.console)).toEqual([undefined, undefined]);
  d.destroy();
  expect(host.store.exists(back)).toBe(false);
});

it.each([
  ['5', '1'],
  ['x', '1'],
  ['4294967295', '4294967295'],
  ['', ''],
])('refuses ring %j with port %j, and lets the guest try again', async (ref, port) => {
  const before = free();
  const d = host.toolstack.create(config(['agent']));
  const front = `/local/domain/${d.domid}/device/console/1`;
  const state = () => Number(host.store.read(`/local/domain/0/backend/console/${d.domid}/1/state`));
  host.store.write(`${front}/ring-ref`, ref);
  host.store.write(`${front}/port`, port);
  host.store.write(`${front}/state`, `${XenbusState.Initialised}`);
  await tick();
  expect(state()).toBe(XenbusState.Closed);
  expect(d.channels[0].console).toBeUndefined();
  for (const s of [XenbusState.Closing, XenbusState.Closed]) {
    host.store.write(`${front}/state`, `${s}`);
    await tick();
    expect(state()).toBe(s);
  }
  host.store.write(`${front}/state`, `${XenbusState.Initialising}`);
  await tick();
  expect(state()).toBe(XenbusState.InitWait);
  for (const noise of ['99', '-1', 'x', '']) host.store.write(`${front}/state`, noise);
  host.store.rm(front);
  await tick();
  d.destroy();
  // The first frame for what dom0 maps stays dom0's.
  expect(before - free()).toBeLessThanOrEqual(ref === '5' ? 1 : 0);
});

it.each([[['a', 'a']], [['']], [['a/b']], [Array.from({ length: 10 }, (_, i) => `c${i}`)]])(
  'refuses names %j',
  (names) => {
    expect(() => host.toolstack.create(config(names))).toThrow(/channel/);
  },
);

describe('a socket', () => {
  const path = join(dir, 'agent.sock');
  const withSocket = (name: string, at = path): DomainConfig => ({
    ...config([]),
    name,
    channels: [{ name: 'a', path: at }],
  });

  it('is there as long as the domain, for its owner alone', async () => {
    const d = host.toolstack.create(withSocket('one'));
    const back = `/local/domain/0/backend/console/${d.domid}/1`;
    expect(host.store.read(`${back}/connection`)).toBe('socket');
    expect(host.store.read(`${back}/path`)).toBe(path);
    expect(host.store.read(`/local/domain/${d.domid}/device/console/1/output`)).toBe('chardev:libxl-channel1');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(() => host.toolstack.create(withSocket('two'))).toThrow(`channel path = ${path}: another channel has it`);
    d.destroy();
    expect(existsSync(path)).toBe(false);
    host.toolstack.create(withSocket('again')).destroy();
  });

  it('that was left behind is replaced', async () => {
    const left = createServer().listen(path);
    host.toolstack.create(withSocket('one')).destroy();
    await new Promise((resolve) => left.close(resolve));
  });

  it('cannot be where something else is, or nothing can be', () => {
    const file = join(dir, 'file');
    writeFileSync(file, 'precious');
    const before = free();
    for (const at of [file, join(dir, 'no/where'), `/${'x'.repeat(107)}`, 'relative', '/a\0b']) {
      expect(() => host.toolstack.create(withSocket('one', at)), at).toThrow(/^channel path = /);
    }
    expect(free()).toBe(before);
    expect(statSync(file).size).toBe(8);
  });
});
