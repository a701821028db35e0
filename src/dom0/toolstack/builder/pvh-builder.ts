/**
 * Builds a PVH domain: gives it memory at its own gfns, puts kernel, RAM disk, hvm_start_info and ACPI tables into it, sets
 * its parameters and its first vCPU (Xen: tools/libs/guest, "xg_dom", and libxl's ACPI tables).
 */
import { X86_EMU } from '../../../abi/arch-x86.ts';
import { CDF } from '../../../abi/domctl.ts';
import { HVMPTM } from '../../../abi/hvm/params.ts';
import { MAX_GUEST_CMDLINE } from '../../../abi/xen.ts';
import type { HvmParamName } from '../../kernel/hypercalls/hvm.ts';
import type { Hypercalls } from '../../kernel/hypercalls.ts';
import { PAGE_SIZE } from '../../kernel/memory.ts';
import { ToolstackError } from '../error.ts';
import { inMemory } from '../kernel/bytes.ts';
import { KernelError } from '../kernel/kernel.ts';
import { acpiTables, rsdpTable } from './acpi/tables.ts';
import type { Builder, BuiltDomain, DomainBuild, DomainPlan } from './builder.ts';
import { seedGrants } from './grants.ts';
import { GuestPhysmap } from './guest-physmap.ts';
import { pvhContext } from './hvm-context.ts';
import { pvhImage } from './pvh-image.ts';
import { hvmStartInfo, pvhLayout } from './pvh-layout.ts';
import { ACPI_ADDRESS, gfnRange, pvhMemoryMap, ramRanges, SPECIAL, SPECIAL_RANGE } from './pvh-map.ts';

/** Where kernels look for the ACPI root pointer that do not take it from hvm_start_info: at the end of the BIOS. */
const RSDP_IN_BIOS = 0x10_0000 - 64;

/**
 * MiB that it starts with: all that it may have. Its balloon driver gives back what is above the target, as it does under
 * Xen, where such memory is populated on demand.
 */
const startMiB = (b: Pick<DomainPlan, 'memoryMiB' | 'maxMemoryMiB'>) => b.maxMemoryMiB ?? b.memoryMiB;

/** Checks all that can be checked before there is a domain, and says where things will lie. */
export function planPvh(b: DomainPlan) {
  const cmdline = new TextEncoder().encode(b.cmdline);
  if (cmdline.length >= MAX_GUEST_CMDLINE) {
    throw new ToolstackError(
      `the kernel’s command line has ${cmdline.length} bytes; at most ${MAX_GUEST_CMDLINE - 1} are possible`,
    );
  }
  const memoryMiB = startMiB(b);
  const acpi = acpiTables(ACPI_ADDRESS, b.maxVcpus ?? b.vcpus);
  const map = pvhMemoryMap(memoryMiB, acpi.bytes.length);
  try {
    const image = pvhImage(b.kernel);
    const layout = pvhLayout(image, memoryMiB, b.ramdisk?.length ?? 0, cmdline.length, map.length);
    return { image, layout, acpi, map, startInfo: hvmStartInfo(layout, cmdline, rsdpAddress(image, acpi), map) };
  } catch (e) {
    if (e instanceof KernelError) throw new KernelError(`${b.kernelName} ${e.message}`);
    throw e;
  }
}

const rsdpAddress = (image: { rsdpAnywhere: boolean }, acpi: { rsdp: number }) =>
  image.rsdpAnywhere ? acpi.rsdp : RSDP_IN_BIOS;

export const pvhBuilder: Builder = {
  flags: CDF.hvm | CDF.hap,
  emulationFlags: X86_EMU.LAPIC,
  startMiB,
  check: planPvh,
  memoryMap: (b) => planPvh(b).map,
  build: buildPvh,
};

export function* buildPvh(xen: Hypercalls, domid: number, b: DomainBuild): Generator<void, BuiltDomain> {
  const { image, layout, acpi, startInfo } = planPvh(b);
  const memory = new GuestPhysmap(xen, domid);
  const acpiRange = gfnRange({ addr: ACPI_ADDRESS, size: acpi.bytes.length });
  yield* memory.populate([...ramRanges(startMiB(b)).map(gfnRange), SPECIAL_RANGE, acpiRange]);

  for (const { at, segment } of image.loads) yield* memory.load(at, segment.data, Number(segment.size));
  if (b.ramdisk && layout.ramdisk) yield* memory.load(layout.ramdisk.at, inMemory(b.ramdisk));
  memory.write(layout.startInfo, startInfo, Math.ceil(startInfo.length / PAGE_SIZE) * PAGE_SIZE);
  memory.write(ACPI_ADDRESS, acpi.bytes, acpiRange.count * PAGE_SIZE);
  if (!image.rsdpAnywhere) memory.write(RSDP_IN_BIOS, rsdpTable(acpi.xsdt));
  yield;

  const zeros = new Uint8Array(0);
  memory.write(SPECIAL_RANGE.first * PAGE_SIZE, zeros, SPECIAL_RANGE.count * PAGE_SIZE);
  memory.write(SPECIAL.identPt * PAGE_SIZE, identityPageTable());
  for (const [name, value] of parameters(b)) xen.hvm.setParam(domid, name, value);
  const built = { storeGfn: SPECIAL.xenstore, consoleGfn: SPECIAL.console };
  seedGrants(xen, domid, b, built);
  const context = pvhContext(xen.domctl.getHvmContext(domid), image.entry, layout.startInfo);
  xen.domctl.setHvmContext(domid, context);
  return built;
}

/** What libxl and libxc set for a PVH domain, in their order. */
function parameters(b: DomainBuild): readonly (readonly [HvmParamName, number])[] {
  return [
    ['TIMER_MODE', HVMPTM.no_delay_for_missed_ticks],
    ['STORE_PFN', SPECIAL.xenstore],
    ['BUFIOREQ_PFN', SPECIAL.bufioreq],
    ['IOREQ_PFN', SPECIAL.ioreq],
    ['CONSOLE_PFN', SPECIAL.console],
    ['PAGING_RING_PFN', SPECIAL.paging],
    ['MONITOR_RING_PFN', SPECIAL.access],
    ['SHARING_RING_PFN', SPECIAL.sharing],
    ['IDENT_PT', SPECIAL.identPt * PAGE_SIZE],
    ['STORE_EVTCHN', b.storePort],
    ['CONSOLE_EVTCHN', b.consolePort],
  ];
}

/** Maps 4 GiB onto themselves, 32-bit, in pages of 4 MiB: processors that cannot run a guest without paging are given it. */
function identityPageTable(): Uint8Array {
  const PRESENT_RW_USER_ACCESSED_DIRTY_PSE = 0xe7;
  const entries = Uint32Array.from({ length: PAGE_SIZE / 4 }, (_, i) => (i << 22) | PRESENT_RW_USER_ACCESSED_DIRTY_PSE);
  return new Uint8Array(entries.buffer);
}
