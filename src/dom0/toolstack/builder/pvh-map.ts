/**
 * A PVH domain's physical memory, as libxl lays it out: RAM from 0 to the hole below 4 GiB and on above it, the ACPI tables
 * and eight special pages in the hole. (The hole of PC devices below 1 MiB is RAM here; Linux keeps away from it by itself.)
 */
import { E820 } from '../../../abi/memory.ts';
import type { MemoryRange } from '../../kernel/hypercalls/memory.ts';
import { ToolstackError } from '../error.ts';
import type { GfnRange } from './guest-physmap.ts';

const PAGE = 4096;
const MiB = 2 ** 20;
const HIGH_RAM = 2 ** 32;

/** HVM_BELOW_4G_RAM_END (public/hvm/e820.h). */
export const LOW_RAM_END = 0xf000_0000;
export const ACPI_ADDRESS = 0xfc00_0000;
/** What the hypervisor's p2m can translate (engine/state.ts, P2M_*). */
const PHYSICAL_END = 2 ** 33;

/** The special pages, in the order in which libxc has them, below 0xff000. */
const SPECIAL_PAGES = ['paging', 'access', 'sharing', 'bufioreq', 'xenstore', 'ioreq', 'identPt', 'console'] as const;
const SPECIAL_END = 0xff000;
const firstSpecial = SPECIAL_END - SPECIAL_PAGES.length;

/** Gfn of each. */
export const SPECIAL = Object.fromEntries(SPECIAL_PAGES.map((name, i) => [name, firstSpecial + i])) as Record<
  (typeof SPECIAL_PAGES)[number],
  number
>;
export const SPECIAL_RANGE: GfnRange = { first: firstSpecial, count: SPECIAL_PAGES.length };

/** Ranges of RAM, in bytes. */
export function ramRanges(memoryMiB: number): { readonly addr: number; readonly size: number }[] {
  const bytes = memoryMiB * MiB;
  const low = Math.min(bytes, LOW_RAM_END);
  if (bytes <= low) return [{ addr: 0, size: low }];
  const high = bytes - low;
  if (HIGH_RAM + high > PHYSICAL_END) {
    const most = (LOW_RAM_END + PHYSICAL_END - HIGH_RAM) / MiB;
    throw new ToolstackError(`memory = ${memoryMiB}: a PVH guest can have at most ${most} MiB`);
  }
  return [
    { addr: 0, size: low },
    { addr: HIGH_RAM, size: high },
  ];
}

export const gfnRange = ({ addr, size }: { addr: number; size: number }): GfnRange => ({
  first: addr / PAGE,
  count: Math.ceil(size / PAGE),
});

/** The memory map, ascending. `acpiBytes`: those of the tables. */
export function pvhMemoryMap(memoryMiB: number, acpiBytes: number): MemoryRange[] {
  const special = { addr: firstSpecial * PAGE, size: SPECIAL_PAGES.length * PAGE, type: E820.RESERVED };
  const acpi = { addr: ACPI_ADDRESS, size: acpiBytes, type: E820.ACPI };
  const [low, ...high] = ramRanges(memoryMiB).map((r) => ({ ...r, type: E820.RAM }));
  return [low, acpi, special, ...high];
}
