/** The PVH domain builder: memory, start info, parameters and first vCPU, against a stand-in for the hypervisor. */
import { describe, expect, it } from 'vitest';
import { CDF } from '../../src/abi/domctl.ts';
import { HVM_PARAM } from '../../src/abi/hvm/params.ts';
import { HvmHwCpu, HvmHwMtrr, HvmSaveDescriptor, HvmSaveHeader } from '../../src/abi/hvm/save.ts';
import { HvmMemmapTableEntry, HvmModlistEntry, HvmStartInfo } from '../../src/abi/hvm/start_info.ts';
import type { Struct } from '../../src/abi/layout.ts';
import { Hypercalls } from '../../src/dom0/kernel/hypercalls.ts';
import { StructView } from '../../src/dom0/kernel/memory.ts';
import type { DomainBuild, DomainPlan } from '../../src/dom0/toolstack/builder/builder.ts';
import { buildPvh, planPvh, pvhBuilder } from '../../src/dom0/toolstack/builder/pvh-builder.ts';
import { ToolstackError } from '../../src/dom0/toolstack/error.ts';
import { KernelError, parseKernel } from '../../src/dom0/toolstack/kernel/kernel.ts';
import { FakeXen } from './fake-xen.ts';
import { linuxNotes, num, sampleText, str, type TinyElf, tinyElf } from './kernels/tiny-kernel.ts';

const MiB = 2 ** 20;
const view = <N extends string>(bytes: Uint8Array, s: Struct<N>, at = 0) =>
  new StructView(new DataView(bytes.buffer, bytes.byteOffset), at, s);

interface Wanted {
  readonly elf?: TinyElf;
  readonly ramdisk?: Uint8Array;
  readonly memoryMiB?: number;
  readonly maxMemoryMiB?: number;
  readonly cmdline?: string;
  readonly fake?: FakeXen;
}

const plan = (o: Wanted = {}): DomainPlan => ({
  kernel: parseKernel(tinyElf({ notes: linuxNotes(), ...o.elf })),
  kernelName: 'tiny',
  ramdisk: o.ramdisk,
  cmdline: o.cmdline ?? 'console=hvc0',
  memoryMiB: o.memoryMiB ?? 8,
  maxMemoryMiB: o.maxMemoryMiB,
  vcpus: 1,
});

function build(o: Wanted = {}) {
  const fake = o.fake ?? new FakeXen();
  const xen = new Hypercalls(fake);
  const b: DomainBuild = { ...plan(o), storePort: 11, consolePort: 12, storeDomid: 3, consoleDomid: 0 };
  const domid = xen.domctl.createDomain({
    handle: new Uint8Array(16),
    flags: pvhBuilder.flags,
    maxVcpus: 1,
    maxEvtchnPort: 1023,
    maxGrantFrames: 64,
    maxMaptrackFrames: 1024,
    grantVersion: 1,
    cpupool: 0,
    emulationFlags: pvhBuilder.emulationFlags,
  });
  // As the toolstack does: what it may have, and a MiB.
  xen.domctl.setMaxMem(domid, (b.maxMemoryMiB ?? b.memoryMiB) * 1024 + 1024);
  const steps = buildPvh(xen, domid, b);
  let step = steps.next();
  while (!step.done) step = steps.next();
  const d = fake.domains.get(domid)!;
  const read = (at: number, length: number) => fake.physical(domid, at, length);
  const mtrrAt = 2 * HvmSaveDescriptor.size + HvmSaveHeader.size;
  const cpuAt = mtrrAt + HvmHwMtrr.size + HvmSaveDescriptor.size;
  const cpu = view(d.hvmContext!, HvmHwCpu, cpuAt);
  const startInfo = view(read(cpu.get('rbx'), HvmStartInfo.size), HvmStartInfo);
  const memmap = Array.from({ length: startInfo.get('memmap_entries') }, (_, i) => {
    const at = startInfo.get('memmap_paddr') + i * HvmMemmapTableEntry.size;
    const e = view(read(at, HvmMemmapTableEntry.size), HvmMemmapTableEntry);
    return [e.get('addr'), e.get('size'), e.get('type')];
  });
  return { fake, xen, domid, d, built: step.value, read, cpu, mtrrAt, startInfo, memmap, b };
}

describe('memory of a PVH domain', () => {
  it('is at its own gfns: RAM from 0, special pages below 0xff000, ACPI tables at 0xfc000000', () => {
    const { d } = build();
    const gfns = [...d.p2m.keys()].sort((a, b) => a - b);
    const ram = Array.from({ length: 2048 }, (_, i) => i);
    expect(gfns).toEqual([...ram, 0xfc000, ...Array.from({ length: 8 }, (_, i) => 0xfeff8 + i)]);
  });

  it('comes in large extents, and in pages where the machine has none', () => {
    const count = (largeExtents: number) => {
      const fake = new FakeXen();
      fake.largeExtents = largeExtents;
      const { d } = build({ fake, memoryMiB: 9 });
      expect(d.p2m.size).toBe(9 * 256 + 9);
      return largeExtents - fake.largeExtents;
    };
    expect(count(100)).toBe(4);
    // The last attempt of the second is refused.
    expect(count(2)).toBe(3);
    expect(count(0)).toBe(1);
  });

  it('is what it may have at most, and the map says so', () => {
    const { d, memmap } = build({ memoryMiB: 8, maxMemoryMiB: 12 });
    expect(d.p2m.size).toBe(12 * 256 + 9);
    expect(memmap[0]).toEqual([0, 12 * MiB, 1]);
    expect(pvhBuilder.startMiB(plan({ memoryMiB: 8, maxMemoryMiB: 12 }))).toBe(12);
  });

  it('goes on above 4 GiB, up to what can be translated', () => {
    const map = (memoryMiB: number) =>
      pvhBuilder.memoryMap(plan({ memoryMiB })).map(({ addr, size, type }) => [addr, size, type]);
    const acpi = planPvh(plan()).acpi.bytes.length;
    const hole = [
      [0xfc00_0000, acpi, 3],
      [0xfeff_8000, 0x8000, 2],
    ];
    expect(map(256)).toEqual([[0, 256 * MiB, 1], ...hole]);
    expect(map(3840)).toEqual([[0, 0xf000_0000, 1], ...hole]);
    expect(map(4096)).toEqual([[0, 0xf000_0000, 1], ...hole, [2 ** 32, 256 * MiB, 1]]);
    expect(map(7936).at(-1)).toEqual([2 ** 32, 4096 * MiB, 1]);
    expect(() => map(7937)).toThrow('memory = 7937: a PVH guest can have at most 7936 MiB');
  });

  it('that the machine does not have is told', () => {
    const failing = () => build({ memoryMiB: 40 });
    expect(failing).toThrow(ToolstackError);
    expect(failing).toThrow(/too little free memory: 40\.0 MiB are wanted/);
  });
});

describe('a built PVH domain', () => {
  it('has the kernel at its physical addresses, with zeros behind', () => {
    const text = sampleText(10_000);
    const data = sampleText(5000);
    const { read } = build({
      elf: {
        segments: [
          { paddr: 0x10_0000n, data: text },
          { paddr: 0x11_0123n, data, size: 20_000n },
        ],
      },
    });
    expect(read(0x10_0000, text.length)).toEqual(text);
    expect(read(0x11_0123, data.length)).toEqual(data);
    expect(read(0x11_0123 + 5000, 15_000)).toEqual(new Uint8Array(15_000));
  });

  it('starts in flat 32-bit mode at the note’s address', () => {
    const { d, cpu, mtrrAt } = build();
    const records: [number, number][] = [];
    for (let at = 0; at < d.hvmContext!.length; ) {
      const r = view(d.hvmContext!, HvmSaveDescriptor, at);
      records.push([r.get('typecode'), r.get('length')]);
      expect(r.get('instance')).toBe(0);
      at += HvmSaveDescriptor.size + r.get('length');
    }
    expect(records).toEqual([
      [1, 24],
      [14, HvmHwMtrr.size],
      [2, HvmHwCpu.size],
      [0, 0],
    ]);
    // The hypervisor's own header, and MTRRs as they were but for being enabled.
    expect(view(d.hvmContext!, HvmSaveHeader, HvmSaveDescriptor.size).get('magic')).toBe(0x1111_1111);
    const mtrr = view(d.hvmContext!, HvmHwMtrr, mtrrAt);
    expect([mtrr.get('msr_mtrr_def_type'), mtrr.big('msr_mtrr_cap')]).toEqual([0x806, 0x3333_3333_3333_3333n]);
    expect([cpu.get('rip'), cpu.get('rflags'), cpu.get('cr0'), cpu.get('cr4'), cpu.get('msr_efer')]).toEqual([
      0x10_0850, 2, 0x11, 0, 0,
    ]);
    for (const s of ['cs', 'ds', 'es', 'ss'] as const) {
      expect([cpu.get(`${s}_base`), cpu.get(`${s}_limit`)], s).toEqual([0, 0xffff_ffff]);
      expect(cpu.get(`${s}_arbytes`), s).toBe(s === 'cs' ? 0xc9b : 0xc93);
    }
    expect([cpu.get('tr_limit'), cpu.get('tr_arbytes')]).toEqual([0x67, 0x8b]);
    expect([cpu.get('dr6'), cpu.get('dr7')]).toEqual([0xffff_0ff0, 0x400]);
  });

  it('has a start info with the memory map, the command line and the RAM disk', () => {
    const ramdisk = sampleText(70_000);
    const { startInfo, read, memmap, cpu, b } = build({ ramdisk, cmdline: 'root=/dev/xvda1 quiet' });
    expect([startInfo.get('magic'), startInfo.get('version'), startInfo.get('flags')]).toEqual([0x336e_c578, 1, 0]);
    expect(cpu.get('rbx') % 4096).toBe(0);
    const cmdline = read(startInfo.get('cmdline_paddr'), 22);
    expect(new TextDecoder().decode(cmdline)).toBe('root=/dev/xvda1 quiet\0');
    expect(startInfo.get('nr_modules')).toBe(1);
    const module = view(read(startInfo.get('modlist_paddr'), HvmModlistEntry.size), HvmModlistEntry);
    expect([module.get('size'), module.get('cmdline_paddr')]).toEqual([70_000, 0]);
    expect(module.get('paddr') % 4096).toBe(0);
    expect(read(module.get('paddr'), 70_000)).toEqual(ramdisk);
    expect(memmap).toEqual(pvhBuilder.memoryMap(b).map(({ addr, size, type }) => [addr, size, type]));
    expect(startInfo.get('rsdp_paddr')).toBeGreaterThan(0xfc00_0000);
    expect(new TextDecoder().decode(read(startInfo.get('rsdp_paddr'), 8))).toBe('RSD PTR ');
  });

  it('has no module without a RAM disk', () => {
    const { startInfo } = build();
    expect([startInfo.get('nr_modules'), startInfo.get('modlist_paddr')]).toEqual([0, 0]);
  });

  it('has no two things at one place', () => {
    const ramdisk = sampleText(9000);
    const cmdline = 'x'.repeat(1023);
    const { image, layout, startInfo } = planPvh(plan({ ramdisk, cmdline }));
    const parts = [
      [image.start, image.end],
      [layout.startInfo, layout.startInfo + startInfo.length],
      [layout.ramdisk!.at, layout.ramdisk!.at + layout.ramdisk!.length],
    ];
    for (let i = 1; i < parts.length; i++) expect(parts[i][0]).toBeGreaterThanOrEqual(parts[i - 1][1]);
    // Nor in the BIOS's memory, if the kernel is below it.
    const low = planPvh(plan({ elf: { segments: [{ paddr: 0x1000n, data: sampleText() }], notes: entryAt(0x1000) } }));
    expect(low.layout.startInfo).toBe(MiB);
  });

  it('has the parameters that libxl sets', () => {
    const { d, xen, domid } = build();
    const P = HVM_PARAM;
    const of = (index: number) => Number(d.params.get(index));
    expect([of(P.STORE_PFN), of(P.STORE_EVTCHN)]).toEqual([0xfeffc, 11]);
    expect([of(P.CONSOLE_PFN), of(P.CONSOLE_EVTCHN)]).toEqual([0xfefff, 12]);
    expect([of(P.BUFIOREQ_PFN), of(P.IOREQ_PFN), of(P.IDENT_PT)]).toEqual([0xfeffb, 0xfeffd, 0xfeffe000]);
    expect([P.PAGING_RING_PFN, P.MONITOR_RING_PFN, P.SHARING_RING_PFN].map(of)).toEqual([0xfeff8, 0xfeff9, 0xfeffa]);
    expect(of(P.TIMER_MODE)).toBe(1);
    expect(xen.hvm.getParam(domid, 'STORE_PFN')).toBe(0xfeffcn);
  });

  it('has empty rings and grants for them', () => {
    const { fake, d, built, read } = build();
    expect(built).toEqual({ storeGfn: 0xfeffc, consoleGfn: 0xfefff });
    for (const gfn of [0xfeff8, 0xfeff9, 0xfeffa, 0xfeffb, 0xfeffc, 0xfeffd, 0xfefff]) {
      expect(read(gfn * 4096, 4096), gfn.toString(16)).toEqual(new Uint8Array(4096));
    }
    const grants = new DataView(fake.page(d.grantFrame).slice().buffer);
    expect([grants.getUint16(0, true), grants.getUint16(2, true), grants.getUint32(4, true)]).toEqual([1, 0, 0xfefff]);
    expect([grants.getUint16(8, true), grants.getUint16(10, true), grants.getUint32(12, true)]).toEqual([
      1, 3, 0xfeffc,
    ]);
  });

  it('has a page table that maps 4 GiB onto themselves', () => {
    const entries = new Uint32Array(build().read(0xfeffe000, 4096).slice().buffer);
    expect([entries[0], entries[1], entries[1023]]).toEqual([0xe7, 0x4000e7, 0xffc000e7]);
  });

  it('of a Linux that looks for it in the BIOS alone has the ACPI root pointer there', () => {
    const old = build({ elf: { notes: linuxNotes({ SUPPORTED_FEATURES: num(0x801n) }) } });
    expect(old.startInfo.get('rsdp_paddr')).toBe(0xfffc0);
    expect(new TextDecoder().decode(old.read(0xfffc0, 8))).toBe('RSD PTR ');
    const other = build({
      elf: { notes: linuxNotes({ SUPPORTED_FEATURES: num(0x801n), GUEST_OS: str('FreeBSD') }) },
    });
    expect(other.startInfo.get('rsdp_paddr')).toBeGreaterThan(0xfc00_0000);
  });

  it('is made with its flags', () => {
    expect([pvhBuilder.flags, pvhBuilder.emulationFlags]).toEqual([CDF.hvm | CDF.hap, 1]);
  });
});

const entryAt = (at: number) => linuxNotes({ PHYS32_ENTRY: new Uint8Array(Uint32Array.of(at).buffer) });

describe('what cannot be a PVH guest', () => {
  const refused = (o: Wanted, message: RegExp, kind: new (m: string) => Error = KernelError) => {
    const check = () => pvhBuilder.check(plan(o));
    expect(check).toThrow(kind);
    expect(check).toThrow(message);
  };

  it('says why: the kernel', () => {
    refused(
      { elf: { notes: linuxNotes({ PHYS32_ENTRY: undefined }) } },
      /^tiny cannot be started as a PVH guest: it has no/,
    );
    refused({ elf: { notes: entryAt(0xff_0000) } }, /^tiny its PVH entry point 0xff0000 is outside of what is loaded/);
    refused({ elf: { notes: entryAt(0x10_0000 + 6000) } }, /is outside of what is loaded/);
    const segment = (paddr: bigint, size: bigint) => ({
      notes: linuxNotes(),
      segments: [
        { paddr: 0x10_0000n, data: sampleText() },
        { paddr, data: sampleText(10), size },
      ],
    });
    refused({ elf: segment(0xefff_f000n, 0x1001n) }, /does not fit below 0xf0000000/);
    refused({ elf: segment((1n << 64n) - 4096n, 10n) }, /does not fit below 0xf0000000/);
    refused({ elf: segment(0x20_0000n, 1n << 63n) }, /does not fit below 0xf0000000/);
  });

  it('says why: memory and command line', () => {
    refused({ memoryMiB: 1 }, /memory = 1 is too little for this kernel: loading them takes 2 MiB/, ToolstackError);
    pvhBuilder.check(plan({ memoryMiB: 2 }));
    refused(
      { memoryMiB: 4, ramdisk: new Uint8Array(3 * MiB) },
      /and its ramdisk of 3\.0 MiB: loading them takes 5 MiB; give the domain more/,
      ToolstackError,
    );
    refused({ cmdline: 'x'.repeat(1024) }, /1024 bytes; at most 1023/, ToolstackError);
    const large = { paddr: 0x20_0000n, data: sampleText(10), size: 0xefe0_0000n };
    refused(
      { memoryMiB: 5000, elf: { notes: linuxNotes(), segments: [{ paddr: 0x10_0000n, data: sampleText() }, large] } },
      /they take 3841 MiB, and below 4 GiB a guest has 3840 MiB/,
      ToolstackError,
    );
  });
});
