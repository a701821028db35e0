/** What lies where in a new PVH domain, and the hvm_start_info that tells its kernel (public/arch-x86/hvm/start_info.h). */
import {
  HvmMemmapTableEntry,
  HvmModlistEntry,
  HvmStartInfo,
  XEN_HVM_START_MAGIC_VALUE,
} from '../../../abi/hvm/start_info.ts';
import type { MemoryRange } from '../../kernel/hypercalls/memory.ts';
import { PAGE_SIZE, StructView } from '../../kernel/memory.ts';
import { ToolstackError } from '../error.ts';
import type { PvhImage } from './pvh-image.ts';
import { ramRanges } from './pvh-map.ts';

/** Version that has a memory map. */
const VERSION = 1;
const MiB = 2 ** 20;
/** Nothing of the builder's goes below, where PCs have their video memory and BIOS. */
const LOWEST = MiB;

export interface PvhLayout {
  readonly startInfo: number;
  readonly ramdisk?: { readonly at: number; readonly length: number };
}

const pageUp = (n: number) => Math.ceil(n / PAGE_SIZE) * PAGE_SIZE;

function startInfoBytes(cmdlineBytes: number, modules: number, entries: number): number {
  const tables = modules * HvmModlistEntry.size + entries * HvmMemmapTableEntry.size;
  return HvmStartInfo.size + tables + cmdlineBytes + 1;
}

/** Behind the kernel: the start_info, then the RAM disk. Both must be in the RAM below 4 GiB. */
export function pvhLayout(
  image: PvhImage,
  memoryMiB: number,
  ramdiskBytes: number,
  cmdlineBytes: number,
  mapEntries: number,
): PvhLayout {
  const startInfo = pageUp(Math.max(image.end, LOWEST));
  const modules = ramdiskBytes > 0 ? 1 : 0;
  const infoEnd = startInfo + pageUp(startInfoBytes(cmdlineBytes, modules, mapEntries));
  const end = infoEnd + pageUp(ramdiskBytes);
  const [low] = ramRanges(memoryMiB);
  if (end > low.size) {
    const what = ramdiskBytes > 0 ? ` and its ramdisk of ${(ramdiskBytes / MiB).toFixed(1)} MiB` : '';
    const room =
      low.size < memoryMiB * MiB
        ? `they take ${Math.ceil(end / MiB)} MiB, and below 4 GiB a guest has ${low.size / MiB} MiB`
        : `loading them takes ${Math.ceil(end / MiB)} MiB; give the domain more`;
    throw new ToolstackError(`memory = ${memoryMiB} is too little for this kernel${what}: ${room}`);
  }
  return { startInfo, ramdisk: modules ? { at: infoEnd, length: ramdiskBytes } : undefined };
}

/** The start_info, followed by the module list, the memory map and the command line. */
export function hvmStartInfo(
  layout: PvhLayout,
  cmdline: Uint8Array,
  rsdp: number,
  map: readonly MemoryRange[],
): Uint8Array {
  const { startInfo: at, ramdisk } = layout;
  const out = new Uint8Array(startInfoBytes(cmdline.length, ramdisk ? 1 : 0, map.length));
  const view = new DataView(out.buffer);
  let next = HvmStartInfo.size;
  const info = new StructView(view, 0, HvmStartInfo);
  info.set('magic', XEN_HVM_START_MAGIC_VALUE).set('version', VERSION).set('rsdp_paddr', rsdp);
  if (ramdisk) {
    info.set('nr_modules', 1).set('modlist_paddr', at + next);
    new StructView(view, next, HvmModlistEntry).set('paddr', ramdisk.at).set('size', ramdisk.length);
    next += HvmModlistEntry.size;
  }
  info.set('memmap_paddr', at + next).set('memmap_entries', map.length);
  for (const { addr, size, type } of map) {
    new StructView(view, next, HvmMemmapTableEntry).set('addr', addr).set('size', size).set('type', type);
    next += HvmMemmapTableEntry.size;
  }
  info.set('cmdline_paddr', at + next);
  out.set(cmdline, next);
  return out;
}
