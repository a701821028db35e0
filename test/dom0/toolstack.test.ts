/** Domains from creation to end: what the toolstack asks of the hypervisor, what it gives back, and when. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SHUTDOWN } from '../../src/abi/sched.ts';
import type { EventChannels } from '../../src/dom0/kernel/evtchn.ts';
import { HypercallError } from '../../src/dom0/kernel/hypercalls.ts';
import { createDom0Kernel } from '../../src/dom0/kernel/kernel.ts';
import type { DomainConfig } from '../../src/dom0/toolstack/config.ts';
import { dumpCore } from '../../src/dom0/toolstack/core/dump-core.ts';
import { ToolstackError } from '../../src/dom0/toolstack/error.ts';
import { supervise } from '../../src/dom0/toolstack/lifecycle.ts';
import { Toolstack } from '../../src/dom0/toolstack/toolstack.ts';
import { XenConsoled } from '../../src/dom0/xenconsoled/xenconsoled.ts';
import { XenStore } from '../../src/dom0/xenstored/xenstored.ts';
import { FakeXen } from './fake-xen.ts';
import { linuxNotes, tinyElf } from './kernels/tiny-kernel.ts';

const config: DomainConfig = {
  name: 'lpv',
  uuid: 'd2bd3a5e-2036-49c4-9789-103d9edf0a5d',
  memoryMiB: 8,
  vcpus: 2,
  kernel: tinyElf({ notes: linuxNotes() }),
  kernelName: '/boot/vmlinuz',
  ramdisk: new Uint8Array(5000).fill(7),
  ramdiskName: '/boot/initrd.gz',
  cmdline: 'console=hvc0',
};

let fake: FakeXen;
let store: XenStore;
let toolstack: Toolstack;
let events: EventChannels;

beforeEach(() => {
  fake = new FakeXen();
  const kernel = createDom0Kernel(fake);
  events = kernel.events;
  store = new XenStore();
  toolstack = new Toolstack({ ...kernel, store, consoles: new XenConsoled() });
  fake.calls.length = 0;
  events.start();
});

afterEach(async () => {
  await toolstack.close();
  events.stop();
});

describe('creating a domain', () => {
  it('makes the calls of xl create, in its order', () => {
    toolstack.create(config);
    const counted = fake.calls.filter((c, i) => c !== fake.calls[i - 1] && !c.startsWith('sysctl'));
    expect(counted).toEqual([
      'domctl createdomain',
      'domctl max_vcpus',
      'domctl setvcpuaffinity',
      'domctl setnodeaffinity',
      'domctl max_mem',
      'memory_op set_memory_map',
      'event_channel_op alloc_unbound',
      'domctl settscinfo',
      'domctl set_address_size',
      'memory_op populate_physmap',
      'domctl getdomaininfo',
      'mmuext_op',
      'domctl setvcpucontext',
      'memory_op acquire_resource',
      'event_channel_op bind_interdomain',
    ]);
  });

  it('leaves it paused, then starts it', () => {
    const d = toolstack.create(config);
    expect(d.info()?.paused).toBe(true);
    d.unpause();
    expect(d.info()?.paused).toBe(false);
  });

  it('writes what xl writes into XenStore', () => {
    const { domid } = toolstack.create(config);
    const lines = [...store.dump()].map((l) => l.replace(/start_time = "\d+\.\d\d"/, 'start_time = "T"'));
    const mfn = (path: string) => store.read(path);
    const expected = [
      `/local/domain/1/vm = "/vm/${config.uuid}"   (n0,r1)`,
      '/local/domain/1/name = "lpv"   (n0,r1)',
      '/local/domain/1/cpu/1/availability = "online"   (n0,r1)',
      '/local/domain/1/memory/static-max = "8192"   (n0,r1)',
      '/local/domain/1/memory/target = "8192"   (n0,r1)',
      '/local/domain/1/device/suspend/event-channel = ""   (n1)',
      '/local/domain/1/control/shutdown = ""   (n1)',
      '/local/domain/1/control/platform-feature-xs_reset_watches = "1"   (n0,r1)',
      '/local/domain/1/data = ""   (n1)',
      '/local/domain/1/domid = "1"   (n0,r1)',
      `/local/domain/1/store/ring-ref = "${mfn('/local/domain/1/store/ring-ref')}"   (n0,r1)`,
      '/local/domain/1/console/backend-id = "0"   (n1,r0)',
      '/local/domain/1/console/type = "xenconsoled"   (n0,r1)',
      '/local/domain/0/backend/console/1/0/frontend = "/local/domain/1/console"   (n0,r1)',
      `/vm/${config.uuid}/image/kernel = "/boot/vmlinuz"   (n0,r1)`,
      `/vm/${config.uuid}/image/ramdisk = "/boot/initrd.gz"   (n0,r1)`,
      `/vm/${config.uuid}/start_time = "T"   (n0,r1)`,
      '/libxl/1/device/console/0/backend = "/local/domain/0/backend/console/1/0"   (n0)',
      '/libxl/1/type = "pv"   (n0)',
    ];
    expect(domid).toBe(1);
    expect(expected.filter((e) => !lines.includes(e))).toEqual([]);
    expect(store.isIntroduced(1)).toBe(true);
  });

  it('gives everything back when it is destroyed', async () => {
    const before = fake.usage;
    const nodes = [...store.dump()].length;
    const d = toolstack.create(config);
    d.unpause();
    d.destroy();
    d.destroy();
    expect(fake.usage).toEqual(before);
    expect([...store.dump()].filter((l) => /domain\/1|lpv|libxl\/1/.test(l))).toEqual([]);
    expect([...store.dump()].length - nodes).toBeLessThanOrEqual(3);
    expect(store.isIntroduced(1)).toBe(false);
    expect(await d.ended).toBe('destroyed');
    expect(toolstack.list()).toEqual([]);
  });

  it('gives everything back whichever call fails', () => {
    const first = toolstack.create(config);
    const calls = fake.calls.length;
    first.destroy();
    const before = fake.usage;
    let failed = 0;
    for (let i = 0; i < calls; i++) {
      fake.calls.length = 0;
      fake.failAt = i;
      try {
        toolstack.create(config);
        expect.unreachable();
      } catch (e) {
        failed += 1;
        expect(e).toBeInstanceOf(HypercallError);
        expect((e as HypercallError).code).toBe('ENOMEM');
      }
      fake.failAt = -1;
      expect(fake.usage, `after call ${i} had failed`).toEqual(before);
      expect(toolstack.list()).toEqual([]);
      expect([...store.dump()].filter((l) => /lpv/.test(l))).toEqual([]);
    }
    fake.failAt = -1;
    expect(failed).toBe(calls);
    toolstack.create(config);
  });
});

describe('a PVH domain', () => {
  const pvh: DomainConfig = { ...config, name: 'lpvh', type: 'pvh', vcpus: 1 };

  it('is made with the calls of xl create, in its order', () => {
    toolstack.create(pvh);
    const counted = fake.calls.filter((c, i) => c !== fake.calls[i - 1] && !c.startsWith('sysctl'));
    expect(counted).toEqual([
      'domctl createdomain',
      'domctl max_vcpus',
      'domctl setvcpuaffinity',
      'domctl setnodeaffinity',
      'domctl max_mem',
      'memory_op set_memory_map',
      'event_channel_op alloc_unbound',
      'domctl settscinfo',
      'memory_op populate_physmap',
      'hvm_op set_param',
      'memory_op acquire_resource',
      'domctl gethvmcontext',
      'domctl sethvmcontext',
      'event_channel_op bind_interdomain',
    ]);
    const map = fake.domains.get(1)!.memoryMap;
    expect(map.map(([address, , type]) => [address, type])).toEqual([
      [0, 1],
      [0xfc00_0000, 3],
      [0xfeff_8000, 2],
    ]);
    expect([map[0][1], map[2][1]]).toEqual([8 << 20, 0x8000]);
  });

  it('has what xl writes into XenStore: its type, its rings by gfn, and no image', () => {
    toolstack.create(pvh);
    const lines = [...store.dump()];
    for (const line of [
      '/libxl/1/type = "pvh"   (n0)',
      '/libxl/1/dm-version = "qemu_xen"   (n0)',
      '/local/domain/1/store/ring-ref = "1044476"   (n0,r1)',
      '/local/domain/1/console/ring-ref = "1044479"   (n0,r1)',
      '/local/domain/1/memory/target = "8192"   (n0,r1)',
      '/local/domain/1/memory/static-max = "8192"   (n0,r1)',
      '/local/domain/1/memory/videoram = "0"   (n0,r1)',
    ]) {
      expect(lines).toContain(line);
    }
    expect(lines.filter((l) => l.startsWith(`/vm/${config.uuid}/image`))).toEqual([]);
  });

  it('has its rings served where its gfns lie', () => {
    const { console } = toolstack.create(pvh);
    const d = fake.domains.get(1)!;
    expect(fake.usage.held).toBe(2);
    // A byte that the guest writes into its console's ring arrives.
    const page = new DataView(fake.memory.buffer, d.p2m.get(0xfefff)! * 4096, 4096);
    page.setUint8(1024, 0x41);
    page.setUint32(2048 + 1024 + 12, 1, true);
    toolstack.consoles.event(1);
    expect(new TextDecoder().decode(console.recent(10))).toBe('A');
  });

  it('gives everything back whichever call fails, and when it is destroyed', () => {
    const before = fake.usage;
    const first = toolstack.create(pvh);
    const calls = fake.calls.length;
    first.destroy();
    expect(fake.usage).toEqual(before);
    for (let i = 0; i < calls; i++) {
      fake.calls.length = 0;
      fake.failAt = i;
      expect(() => toolstack.create(pvh), `call ${i}`).toThrow(HypercallError);
      fake.failAt = -1;
      expect(fake.usage, `after call ${i} had failed`).toEqual(before);
    }
  });

  it('takes what it may have at most of the machine', () => {
    expect(() => toolstack.create({ ...pvh, maxMemoryMiB: 64 })).toThrow(/memory = 64: the machine has/);
    toolstack.create({ ...pvh, maxMemoryMiB: 12 });
    expect(fake.domains.get(1)!.p2m.size).toBe(12 * 256 + 9);
    expect(store.read('/local/domain/1/memory/target')).toBe('8192');
    expect(store.read('/local/domain/1/memory/static-max')).toBe('12288');
  });

  it('has one vCPU, no dump and no gdb', async () => {
    expect(() => toolstack.create({ ...pvh, vcpus: 2 })).toThrow('vcpus: PVH guests have one vCPU so far');
    expect(() => toolstack.create({ ...pvh, maxVcpus: 2 })).toThrow('maxvcpus: PVH guests have one vCPU so far');
    expect(fake.domains.has(1)).toBe(false);
    const d = toolstack.create(pvh);
    fake.calls.length = 0;
    await expect(dumpCore(toolstack.xen, d, '/nowhere/core')).rejects.toThrow(
      'no dump of lpvh: core dumps of PVH guests are not supported yet',
    );
    expect(fake.calls).toEqual([]);
  });

  it('needs a kernel that can be one', () => {
    const kernel = tinyElf({ notes: linuxNotes({ PHYS32_ENTRY: undefined }) });
    expect(() => toolstack.create({ ...pvh, kernel })).toThrow(/^\/boot\/vmlinuz cannot be started as a PVH guest/);
    expect(fake.calls.filter((c) => c.startsWith('domctl'))).toEqual([]);
  });
});

describe('a configuration', () => {
  const refused = (change: Partial<DomainConfig>, message: RegExp) => {
    const before = fake.usage;
    expect(() => toolstack.create({ ...config, ...change })).toThrow(ToolstackError);
    expect(() => toolstack.create({ ...config, ...change })).toThrow(message);
    expect(fake.usage).toEqual(before);
  };

  it('that cannot be is refused', () => {
    refused({ name: '' }, /name = ""/);
    refused({ name: 'a/b' }, /without "\/"/);
    refused({ uuid: '1234' }, /no UUID/);
    refused({ memoryMiB: 0 }, /memory = 0: it must be a whole number/);
    refused({ memoryMiB: 8.5 }, /memory = 8.5/);
    refused({ maxMemoryMiB: 4 }, /maxmem = 4: it must be a whole number from 8/);
    refused({ vcpus: 0 }, /vcpus = 0/);
    refused({ vcpus: 129 }, /maxvcpus = 129: it must be a whole number from 1 to 128/);
    refused({ vcpus: 3, maxVcpus: 2 }, /vcpus = 3: it must be a whole number from 1 to 2/);
    refused({ cmdline: 'a\0b' }, /none of them 0/);
  });

  it('with more memory than the machine has is refused', () => {
    refused({ memoryMiB: 64 }, /memory = 64: the machine has \d+ MiB, of which \d+ MiB are free/);
  });

  it('of a name that is taken is refused', () => {
    toolstack.create(config);
    refused({ uuid: undefined }, /a domain of the name lpv is there already/);
  });

  it('without a kernel', () => {
    expect(() => toolstack.create({ ...config, kernel: tinyElf() })).toThrow(/^\/boot\/vmlinuz has no Xen notes/);
  });
});

describe('a domain that ends', () => {
  it.each(Object.entries(SHUTDOWN).filter(([k]) => k !== 'MAX'))('by %s is told so', async (name, reason) => {
    const d = toolstack.create(config);
    d.unpause();
    fake.shutdown(d.domid, reason);
    expect(await d.ended).toBe(name === 'soft_reset' ? 'soft-reset' : name);
    expect(d.gone).toBe(false);
    d.destroy();
    expect(await d.ended).not.toBe('destroyed');
  });

  it('for an unknown reason has crashed', async () => {
    const d = toolstack.create(config);
    fake.shutdown(d.domid, 77);
    expect(await d.ended).toBe('crash');
  });

  it('is announced by XenStore', async () => {
    const d = toolstack.create(config);
    const released = new Promise<void>((resolve) => {
      let calls = 0;
      store.watch('@releaseDomain', () => {
        if (++calls === 2) resolve();
      });
    });
    fake.shutdown(d.domid, SHUTDOWN.poweroff);
    await released;
  });

  it('behind the toolstack’s back is cleaned up after', async () => {
    const d = toolstack.create(config);
    const page = fake.usage;
    expect(page.held).toBe(2);
    // Both rings are held, so the frames stay until the toolstack lets go.
    const info = d.info()!;
    d.observe({ ...info, dying: true });
    expect(await d.ended).toBe('destroyed');
    expect(fake.usage.held).toBe(0);
    expect(fake.domains.has(d.domid)).toBe(false);
  });
});

describe('life cycle', () => {
  it('a reboot is a new domain; a power-off the end', async () => {
    const first = toolstack.create(config);
    const started: number[] = [];
    const s = supervise(toolstack, first, { started: (d) => started.push(d.domid) });
    fake.shutdown(first.domid, SHUTDOWN.reboot);
    await first.ended;
    await vi.waitFor(() => expect(started).toEqual([2]));
    expect(s.domain.info()?.paused).toBe(false);
    fake.shutdown(2, SHUTDOWN.poweroff);
    expect(await s.done).toBe('poweroff');
    expect(toolstack.list()).toEqual([]);
  });

  it('a crashed domain can be kept, under another name', async () => {
    const first = toolstack.create({ ...config, uuid: undefined, onCrash: 'rename-restart' });
    const s = supervise(toolstack, first);
    fake.shutdown(first.domid, SHUTDOWN.crash);
    await first.ended;
    await vi.waitFor(() => expect(s.domain.domid).toBe(2));
    expect(first.name).toBe('lpv-1');
    expect(store.read('/local/domain/1/name')).toBe('lpv-1');
    expect(s.domain.name).toBe('lpv');
    expect(s.domain.domid).toBe(2);
    s.domain.destroy();
    expect(await s.done).toBe('destroyed');
  });

  it('a restart that fails is reported', async () => {
    const first = toolstack.create(config);
    const s = supervise(toolstack, first);
    const done = expect(s.done).rejects.toThrow(/ENOMEM/);
    fake.failOn = 'domctl setvcpucontext';
    fake.shutdown(first.domid, SHUTDOWN.reboot);
    await done;
    expect([...fake.domains.keys()]).toEqual([0]);
  });
});

describe('a request to shut down', () => {
  it('reaches a guest that listens', () => {
    const d = toolstack.create(config);
    expect(d.listensFor('poweroff')).toBe(false);
    store.write('/local/domain/1/control/feature-poweroff', '1');
    expect(d.listensFor('halt')).toBe(true);
    d.requestShutdown('halt');
    expect(store.read('/local/domain/1/control/shutdown')).toBe('halt');
  });
});

describe('event channels', () => {
  it('call the handler of each pending port, once for each event', async () => {
    const seen: number[] = [];
    const ports = Array.from({ length: 40 }, (_, i) => events.bindVirq(20, () => seen.push(i)));
    for (const i of [0, 3, 39]) fake.setPending(ports[i]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(seen.sort((a, b) => a - b)).toEqual([0, 3, 39]);
    events.unbind(ports[3]);
    fake.setPending(ports[3]);
    fake.setPending(ports[0]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(seen).toHaveLength(4);
    for (const p of ports) events.unbind(p);
  });
});
