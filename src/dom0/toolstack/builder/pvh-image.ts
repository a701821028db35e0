/**
 * How a kernel's ELF file and its Xen notes map to the start of a PVH domain's physical memory: the segments lie at their
 * physical addresses, and the kernel is entered at its PHYS32_ENTRY note (docs/misc/pvh.pandoc).
 */
import { XENFEAT } from '../../../abi/features.ts';
import { type Kernel, KernelError, type Segment } from '../kernel/kernel.ts';
import { LOW_RAM_END } from './pvh-map.ts';

export interface PvhImage {
  /** First and last (exclusive) physical address of the loaded kernel. */
  readonly start: number;
  readonly end: number;
  readonly entry: number;
  readonly loads: readonly { readonly at: number; readonly segment: Segment }[];
  /** It looks for the ACPI root pointer where hvm_start_info says; others look for it in the BIOS's memory. */
  readonly rsdpAnywhere: boolean;
}

const hex = (v: bigint | number) => `0x${v.toString(16)}`;

export function pvhImage(kernel: Kernel): PvhImage {
  const { notes, segments } = kernel;
  if (notes.phys32Entry === undefined) {
    throw new KernelError(
      'cannot be started as a PVH guest: it has no PHYS32_ENTRY note (Linux: CONFIG_PVH); set type = "pv"',
    );
  }
  let start = Number.POSITIVE_INFINITY;
  let end = 0;
  for (const { paddr, size } of segments) {
    if (paddr + size > BigInt(LOW_RAM_END)) {
      throw new KernelError(
        `a segment of ${size} bytes at physical address ${hex(paddr)} does not fit below ${hex(LOW_RAM_END)}`,
      );
    }
    start = Math.min(start, Number(paddr));
    end = Math.max(end, Number(paddr + size));
  }
  const entry = Number(notes.phys32Entry);
  if (!segments.some(({ paddr, size }) => entry >= paddr && entry < paddr + size)) {
    throw new KernelError(`its PVH entry point ${hex(notes.phys32Entry)} is outside of what is loaded`);
  }
  const unrestricted = (notes.featuresSupported & (1 << XENFEAT.linux_rsdp_unrestricted)) !== 0;
  return {
    start,
    end,
    entry,
    loads: segments.map((segment) => ({ at: Number(segment.paddr), segment })),
    rsdpAnywhere: notes.guestOs !== 'linux' || unrestricted,
  };
}
