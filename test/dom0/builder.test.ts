/** The PV domain builder: layout, page tables and the contents of a built domain, against a stand-in for the hypervisor. */
import { describe, expect, it } from 'vitest';
import { CpuUserRegs, VcpuGuestContext } from '../../src/abi/arch-x86.ts';
import { SIF, StartInfo, VcpuInfo } from '../../src/abi/xen.ts';
import { Hypercalls } from '../../src/dom0/kernel/hypercalls.ts';
import { StructView } from '../../src/dom0/kernel/memory.ts';
import type { DomainBuild } from '../../src/dom0/toolstack/builder/builder.ts';
import { buildPv, planPv } from '../../src/dom0/toolstack/builder/pv-builder.ts';
import { pvImage } from '../../src/dom0/toolstack/builder/pv-image.ts';
import { pagesNeeded } from '../../src/dom0/toolstack/builder/pv-layout.ts';
import { KernelError, parseKernel } from '../../src/dom0/toolstack/kernel/kernel.ts';
import { FakeXen } from './fake-xen.ts';
import { linuxNotes, num, sampleText, str, type TinyElf, tinyElf, VIRT_BASE } from './kernels/tiny-kernel.ts';

const MASK52 = ((1n << 40n) - 1n) << 12n;

function build(o: { elf?: TinyElf; ramdisk?: Uint8Array; memoryMiB?: number; cmdline?: string } = {}) {
  const fake = new FakeXen();
  const xen = new Hypercalls(fake);
  const b: DomainBuild = {
    kernel: parseKernel(tinyElf({ notes: linuxNotes(), ...o.elf })),
    kernelName: 'tiny',
    ramdisk: o.ramdisk,
    cmdline: o.cmdline ?? 'console=hvc0',
    memoryMiB: o.memoryMiB ?? 8,
    vcpus: 1,
    storePort: 11,
    consolePort: 12,
    storeDomid: 0,
    consoleDomid: 0,
  };
  const domid = xen.domctl.createDomain({
    handle: new Uint8Array(16),
    flags: 0,
    maxVcpus: 1,
    maxEvtchnPort: 1023,
    maxGrantFrames: 64,
    maxMaptrackFrames: 1024,
    grantVersion: 1,
    cpupool: 0,
    emulationFlags: 0,
  });
  xen.domctl.setMaxMem(domid, b.memoryMiB * 1024);
  const steps = buildPv(xen, domid, b);
  let step = steps.next();
  while (!step.done) step = steps.next();
  const built = step.value;
  const d = fake.domains.get(domid)!;
  const view = new DataView(d.context!.buffer, d.context!.byteOffset);
  const context = new StructView(view, 0, VcpuGuestContext);
  const regs = new StructView(view, VcpuGuestContext.off.user_regs, CpuUserRegs);
  const cr3 = context.big('ctrlreg', 3);

  /** Walks the domain's page tables: frame and flags of the page at va, or undefined. */
  const walk = (va: bigint) => {
    let table = Number(cr3 >> 12n);
    for (let shift = 39n; ; shift -= 9n) {
      const pte = new DataView(fake.memory.buffer).getBigUint64(table * 4096 + Number((va >> shift) & 511n) * 8, true);
      if (!(pte & 1n)) return undefined;
      const mfn = Number((pte & MASK52) >> 12n);
      if (shift === 12n) return { mfn, flags: Number(pte & 0xfffn) };
      table = mfn;
    }
  };
  const read = (va: bigint, length: number) => {
    const out = new Uint8Array(length);
    for (let i = 0; i < length; ) {
      const at = va + BigInt(i);
      const offset = Number(at & 0xfffn);
      const part = fake.page(walk(at)!.mfn).subarray(offset, Math.min(4096, offset + length - i));
      out.set(part, i);
      i += part.length;
    }
    return out;
  };
  const startInfo = () => {
    const bytes = read(regs.big('rsi'), 4096);
    return new StructView(new DataView(bytes.buffer), 0, StartInfo);
  };
  const p2m = (info: StructView<keyof typeof StartInfo.off>, pfn: number) =>
    Number(new DataView(read(info.big('mfn_list') + BigInt(pfn * 8), 8).buffer).getBigUint64(0, true));
  return { fake, domid, built, context, regs, walk, read, startInfo, p2m, b };
}

describe('a built domain', () => {
  it('has the kernel at its place, with zeros behind', () => {
    const text = sampleText(10_000);
    const data = sampleText(5000);
    const { read, regs } = build({
      elf: {
        segments: [
          { paddr: 0x10_0000n, data: text },
          { paddr: 0x11_0123n, data, size: 20_000n },
        ],
      },
    });
    expect(regs.big('rip')).toBe(VIRT_BASE + 0x10_0000n);
    expect(read(VIRT_BASE + 0x10_0000n, text.length)).toEqual(text);
    expect(read(VIRT_BASE + 0x11_0123n, data.length)).toEqual(data);
    expect(read(VIRT_BASE + 0x11_0123n + 5000n, 15_000)).toEqual(new Uint8Array(15_000));
  });

  it('has the zeros of a segment where another one has put something before', () => {
    const { read } = build({
      elf: {
        segments: [
          { paddr: 0x10_0000n, data: sampleText(20_000) },
          { paddr: 0x10_1000n, data: new Uint8Array(8192), size: 12_288n },
        ],
      },
    });
    expect(read(VIRT_BASE + 0x10_1000n, 12_288)).toEqual(new Uint8Array(12_288));
    expect(read(VIRT_BASE + 0x10_0000n, 0x1000)).toEqual(sampleText(20_000).subarray(0, 0x1000));
  });

  it('starts with the registers that Xen gives', () => {
    const { context, regs, walk } = build();
    expect([regs.get('cs'), regs.get('ss'), regs.get('ds'), regs.get('es')]).toEqual([0xe033, 0xe02b, 0, 0]);
    expect(regs.big('rflags')).toBe(0x200n);
    expect(context.get('flags')).toBe((1 << 2) | (1 << 5));
    expect(regs.big('rsp')).toBe(context.big('kernel_sp'));
    expect(walk(regs.big('rsp') - 8n)!.flags & 2).toBe(2);
    expect(context.big('debugreg', 6)).toBe(0xffff_0ff0n);
  });

  it('has a start_info', () => {
    const { startInfo, built, fake, domid, read, context } = build({ cmdline: 'root=/dev/xvda1 quiet' });
    const s = startInfo();
    const text = (name: 'magic' | 'cmd_line', n: number) =>
      String.fromCharCode(...Array.from({ length: n }, (_, i) => s.get(name, i))).replace(/\0+$/, '');
    expect(text('magic', 32)).toBe('xen-3.0-x86_64');
    expect(text('cmd_line', 1024)).toBe('root=/dev/xvda1 quiet');
    expect(s.get('nr_pages')).toBe(2048);
    expect(s.big('shared_info')).toBe(BigInt(fake.domains.get(domid)!.sharedInfo) << 12n);
    expect(s.get('flags')).toBe(SIF.VIRT_P2M_4TOOLS);
    expect([s.get('store_mfn'), s.get('store_evtchn')]).toEqual([built.storeGfn, 11]);
    expect([s.get('console_mfn'), s.get('console_evtchn')]).toEqual([built.consoleGfn, 12]);
    expect(s.get('mod_len')).toBe(0);
    // The L4 table is mapped where pt_base says, and pinned: the kernel unpins it once it has others.
    expect([...fake.domains.get(domid)!.pinned]).toEqual([Number(context.big('ctrlreg', 3) >> 12n)]);
    expect(s.get('nr_pt_frames')).toBeGreaterThanOrEqual(4);
    expect(read(s.big('pt_base'), 4096).some((x) => x !== 0)).toBe(true);
  });

  it('has a p2m list where the kernel wants it, and every frame of it is its own', () => {
    const { startInfo, p2m, fake, domid, walk } = build();
    const s = startInfo();
    expect(s.big('mfn_list')).toBe(0x80_0000_0000n);
    const frames = Array.from({ length: 2048 }, (_, pfn) => p2m(s, pfn));
    expect(new Set(frames)).toEqual(fake.domains.get(domid)!.frames);
    const first = s.get('first_p2m_pfn');
    expect(walk(0x80_0000_0000n)!.mfn).toBe(frames[first]);
    // Four pages of list, then an L3, an L2 and an L1 table of its own.
    expect(s.get('nr_p2m_frames')).toBe(4 + 3);
  });

  it('has the list behind the kernel if it does not say', () => {
    const { startInfo, p2m, walk } = build({ elf: { notes: linuxNotes({ INIT_P2M: undefined }) } });
    const s = startInfo();
    expect(s.big('mfn_list')).toBe(VIRT_BASE + 0x10_2000n);
    expect(s.get('nr_p2m_frames')).toBe(0);
    expect(walk(VIRT_BASE + 5n * 4096n)!.mfn).toBe(p2m(s, 5));
  });

  it('maps its page tables read-only, everything else writable, up to a multiple of 4 MiB', () => {
    const { startInfo, walk, p2m } = build();
    const s = startInfo();
    const first = Number((s.big('pt_base') - VIRT_BASE) / 4096n);
    const tables = new Set(Array.from({ length: s.get('nr_pt_frames') }, (_, i) => first + i));
    for (let pfn = 0; pfn < 1024; pfn++) {
      const page = walk(VIRT_BASE + BigInt(pfn) * 4096n)!;
      expect(page.mfn).toBe(p2m(s, pfn));
      expect(page.flags, `pfn ${pfn}`).toBe(tables.has(pfn) ? 0x21 : 0x23);
    }
    expect(walk(VIRT_BASE + 1024n * 4096n)).toBeUndefined();
  });

  it('has its RAM disk by pfn, or mapped behind the kernel', () => {
    const ramdisk = sampleText(70_000);
    const byPfn = build({ ramdisk });
    const s = byPfn.startInfo();
    expect(s.get('flags') & SIF.MOD_START_PFN).toBe(SIF.MOD_START_PFN);
    expect([s.get('mod_start'), s.get('mod_len')]).toEqual([1024, ramdisk.length]);
    expect(byPfn.fake.page(byPfn.p2m(s, 1024)).slice()).toEqual(ramdisk.slice(0, 4096));
    expect(byPfn.fake.page(byPfn.p2m(s, 1024 + 17)).slice(0, 368)).toEqual(ramdisk.slice(17 * 4096));

    const mapped = build({ ramdisk, elf: { notes: linuxNotes({ MOD_START_PFN: undefined }) } });
    const m = mapped.startInfo();
    expect(m.get('flags') & SIF.MOD_START_PFN).toBe(0);
    expect(mapped.read(m.big('mod_start'), ramdisk.length)).toEqual(ramdisk);
  });

  it('has empty rings, grants for them, and masked events', () => {
    const { fake, domid, built } = build();
    expect(fake.page(built.storeGfn).every((b) => b === 0)).toBe(true);
    expect(fake.page(built.consoleGfn).every((b) => b === 0)).toBe(true);
    const d = fake.domains.get(domid)!;
    const grants = new DataView(fake.page(d.grantFrame).slice().buffer);
    expect([grants.getUint16(0, true), grants.getUint16(2, true), grants.getUint32(4, true)]).toEqual([
      1,
      0,
      built.consoleGfn,
    ]);
    expect([grants.getUint16(8, true), grants.getUint16(10, true), grants.getUint32(12, true)]).toEqual([
      1,
      0,
      built.storeGfn,
    ]);
    const info = fake.page(d.sharedInfo);
    for (let i = 0; i < 32; i++) expect(info[i * VcpuInfo.size + 1]).toBe(1);
  });

  it('gets a hypercall page if its kernel has one', () => {
    const hypercalls = (notes: ReturnType<typeof linuxNotes>) => build({ elf: { notes } }).fake.calls;
    expect(hypercalls(linuxNotes())).not.toContain('domctl hypercall_init');
    expect(hypercalls(linuxNotes({ HYPERCALL_PAGE: num(VIRT_BASE + 0x10_1000n) }))).toContain('domctl hypercall_init');
  });
});

describe('memory', () => {
  it('that is too little is refused before there is a domain, with what it takes', () => {
    expect(() => build({ memoryMiB: 4 })).toThrow(/memory = 4 is too little for this kernel: loading them takes 5 MiB/);
    expect(() => build({ memoryMiB: 5, ramdisk: new Uint8Array(3 << 20) })).toThrow(
      /too little for this kernel and its ramdisk of 3\.0 MiB: loading them takes 8 MiB/,
    );
  });

  it('needed is found exactly', () => {
    const image = pvImage(parseKernel(tinyElf({ notes: linuxNotes() })));
    const pages = pagesNeeded(image, 0);
    expect(pages).toBe(1024 + 3 + 3);
  });

  it('of a large domain has as many tables as it takes', () => {
    const kernel = parseKernel(tinyElf({ notes: linuxNotes() }));
    const { layout } = planPv({ kernel, kernelName: 'tiny', cmdline: '', memoryMiB: 3072 });
    // 1536 pages of list: three L1 tables.
    expect(layout.p2m.pages).toBe(1536 + 1 + 1 + 3);
  });
});

describe('a kernel that cannot be a PV guest', () => {
  const refused = (elf: TinyElf, message: RegExp) => {
    const kernel = () =>
      planPv({ kernel: parseKernel(tinyElf(elf)), kernelName: 'vmlinuz', cmdline: '', memoryMiB: 8 });
    expect(kernel).toThrow(KernelError);
    expect(kernel).toThrow(message);
  };
  const note = (change: Parameters<typeof linuxNotes>[0]) => ({ notes: linuxNotes(change) });

  it('says why', () => {
    refused(note({ ENTRY: undefined }), /^vmlinuz can be started as a PVH guest only/);
    refused(note({ XEN_VERSION: str('xen-2.0') }), /interface xen-2\.0/);
    refused(note({ LOADER: str('own') }), /loader own/);
    refused(
      note({ HV_START_LOW: num(0xffff_9000_0000_0000n) }),
      /hypervisor’s addresses to begin at 0xffff900000000000/,
    );
    refused(note({ FEATURES: str('!auto_translated_physmap') }), /auto_translated_physmap/);
    refused(note({ VIRT_BASE: undefined }), /PADDR_OFFSET note but no VIRT_BASE/);
    refused(note({ VIRT_BASE: num(VIRT_BASE + 1n) }), /no page’s address/);
    refused(note({ ENTRY: num(VIRT_BASE) }), /entry point 0xffffffff80000000 is outside/);
    refused(note({ HYPERCALL_PAGE: num(VIRT_BASE + 0x10_0010n) }), /hypercall page/);
    refused(
      note({ VIRT_BASE: num(0xffff_8000_0000_0000n), ENTRY: num(0xffff_8000_0010_0000n) }),
      /where the hypervisor’s addresses are/,
    );
    refused(note({ INIT_P2M: num(0x8000_0000_0000n) }), /INIT_P2M 0x800000000000 is no canonical/);
    const huge = (paddr: bigint, size: bigint) => ({
      notes: linuxNotes(),
      segments: [
        { paddr: 0x10_0000n, data: sampleText() },
        { paddr, data: sampleText(10), size },
      ],
    });
    refused(huge(0x7fff_f000n, 0x2000n), /does not fit behind VIRT_BASE/);
    refused(huge(0x20_0000n, 1n << 63n), /does not fit behind VIRT_BASE/);
    refused(huge((1n << 64n) - 4096n, 10n), /does not fit behind VIRT_BASE/);
  });

  it('or whose list would reach where it may not', () => {
    const plan = (p2m: bigint) => () =>
      planPv({
        kernel: parseKernel(tinyElf({ notes: linuxNotes({ INIT_P2M: num(p2m) }) })),
        kernelName: 'tiny',
        cmdline: '',
        memoryMiB: 8,
      });
    expect(plan(VIRT_BASE - 4096n)).toThrow(/reaches into the kernel/);
    expect(plan(0xffff_87ff_ffff_f000n)).toThrow(/hypervisor’s addresses/);
  });
});

it('a command line that is too long is refused', () => {
  expect(() => build({ cmdline: 'x'.repeat(1024) })).toThrow(/1024 bytes; at most 1023/);
  expect(
    build({ cmdline: 'x'.repeat(1023) })
      .startInfo()
      .get('cmd_line', 1022),
  ).toBe(120);
});
