/** The toolstack on the real hypervisor: domains come and go, and every frame comes back. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { XEN_SCHEDULER } from '../../src/abi/domctl.ts';
import { XS } from '../../src/abi/xs_wire.ts';
import { Host } from '../../src/dom0/host.ts';
import { HypercallError } from '../../src/dom0/kernel/hypercalls.ts';
import type { DomainConfig } from '../../src/dom0/toolstack/config.ts';
import { linuxNotes, tinyElf } from './kernels/tiny-kernel.ts';
import { Client } from './xs-guest.ts';

/** `ud2` for ever: its exception has no handler. */
const CRASHES = new Uint8Array(4096).map((_, i) => (i % 2 ? 0x0b : 0x0f));
/** mov $29, %eax (sched_op); mov $2, %edi (shutdown); lea reason(%rip), %rsi; syscall; reason: `code`. */
const stops = (code: number) =>
  Uint8Array.from([
    ...[0xb8, 29, 0, 0, 0],
    ...[0xbf, 2, 0, 0, 0],
    ...[0x48, 0x8d, 0x35, 2, 0, 0, 0],
    ...[0x0f, 0x05],
    ...[code, 0, 0, 0],
  ]);

const kernel = (data: Uint8Array) => tinyElf({ segments: [{ paddr: 0x10_0000n, data }], notes: linuxNotes() });

const config: DomainConfig = {
  name: 'tiny',
  memoryMiB: 8,
  vcpus: 1,
  kernel: kernel(stops(0)),
  kernelName: 'tiny',
  cmdline: '',
};

let host: Host;
const warnings: string[] = [];
const free = () => host.xen.sysctl.physInfo().freePages;

beforeAll(async () => {
  host = await Host.create({ memoryMiB: 256, pcpus: 1, warn: (m) => warnings.push(m) });
});
beforeEach(() => {
  warnings.length = 0;
});
afterAll(() => host.stop());

describe('the machine', () => {
  it('says what it is', () => {
    const { version } = host.xen;
    expect(version.version()).toEqual({ major: 4, minor: 17 });
    expect(version.capabilities()).toContain('xen-3.0-x86_64');
    expect(version.pageSize()).toBe(4096);
    const info = host.xen.sysctl.physInfo();
    expect(info.cpus).toBe(1);
    expect(info.freePages).toBeLessThanOrEqual(info.totalPages);
    expect(host.xen.sysctl.schedId()).toBe(XEN_SCHEDULER.CREDIT2);
    expect(host.xen.sysctl.domainInfoList().map((d) => d.domid)).toEqual([0]);
    expect(host.xen.sysctl.cpuTopology()).toHaveLength(1);
  });

  it('refuses what concerns no domain', () => {
    expect(() => host.xen.domctl.pauseDomain(77)).toThrow(HypercallError);
    expect(() => host.xen.domctl.pauseDomain(77)).toThrow(/pausedomain of domain 77: ESRCH/);
    expect(host.xen.domctl.getDomainInfo(77)).toBeUndefined();
    expect(() => host.xen.memory.foreignPage(77, 0x1000)).toThrow(/frame 0x1000 is not domain 77’s/);
    expect(() => host.xen.memory.foreignMap(0, 1)).toThrow(/is not domain 0’s/);
  });
});

describe('a domain', () => {
  it('gives its frames back when it is destroyed before it ran', () => {
    const before = free();
    const d = host.toolstack.create(config);
    expect(before - free()).toBeGreaterThanOrEqual(2048);
    expect(d.info()).toMatchObject({ paused: true, totPages: 2048, onlineVcpus: 1, shutdown: false });
    d.destroy();
    expect(free()).toBe(before);
  });

  it('can be introduced anew over the wire, with a frame and a port of its own', () => {
    const before = free();
    const d = host.toolstack.create(config);
    const program = new Client(host.store, 0);
    const frame = host.store.read(`/local/domain/${d.domid}/store/ring-ref`);
    const port = host.xen.evtchn.allocUnbound(d.domid, 0);
    const introduce = (mfn: string, to: number) => program.ask(XS.INTRODUCE, `${d.domid}\0${mfn}\0${to}\0`);
    expect(introduce('1', port)).toBe('EINVAL');
    expect(introduce('99999999999', port)).toBe('EINVAL');
    expect(introduce(frame, 1000)).toBe('EINVAL');
    expect(introduce(frame, port)).toBe('OK\0');
    expect(introduce(frame, port)).toBe('EINVAL'); // the port is taken
    expect(program.ask(XS.IS_DOMAIN_INTRODUCED, `${d.domid}\0`)).toBe('T\0');
    host.store.event(d.domid);
    d.destroy();
    expect(program.ask(XS.IS_DOMAIN_INTRODUCED, `${d.domid}\0`)).toBe('F\0');
    expect(free()).toBe(before);
  });

  it.each([
    ['poweroff', stops(0)],
    ['reboot', stops(1)],
    ['crash', stops(3)],
    ['crash', CRASHES],
  ])('that ends by %s is noticed, and gives its frames back', async (end, code) => {
    const before = free();
    const d = host.toolstack.create({ ...config, kernel: kernel(code) });
    d.unpause();
    expect(await d.ended).toBe(end);
    d.destroy();
    expect(free()).toBe(before);
    expect(warnings).toEqual([]);
  });

  it('that cannot be made leaves nothing behind', () => {
    const before = free();
    const refused = (change: Partial<DomainConfig>, message: RegExp) =>
      expect(() => host.toolstack.create({ ...config, ...change })).toThrow(message);
    refused({ memoryMiB: 4 }, /too little for this kernel/);
    refused({ memoryMiB: 1024 }, /memory = 1024: the machine has \d+ MiB/);
    refused({ kernel: tinyElf() }, /no Xen notes/);
    refused({ kernel: new Uint8Array(100) }, /no ELF file/);
    expect(free()).toBe(before);
    expect(host.toolstack.list()).toEqual([]);
  });

  it('gives its frames back a hundred times', () => {
    const before = free();
    for (let i = 0; i < 100; i++) host.toolstack.create(config).destroy();
    expect(free()).toBe(before);
  });

  it('has others beside it', () => {
    const before = free();
    const all = Array.from({ length: 8 }, (_, i) => host.toolstack.create({ ...config, name: `tiny-${i}` }));
    expect(host.xen.sysctl.domainInfoList().map((d) => d.domid)).toEqual([0, ...all.map((d) => d.domid)]);
    for (const d of all) d.destroy();
    expect(free()).toBe(before);
  });
});
