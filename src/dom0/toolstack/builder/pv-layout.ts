/**
 * What lies where in a new 64-bit PV domain, as Xen's domain builder puts it (xen.h, "Start-of-day memory layout"):
 * from VIRT_BASE on, pfn 0 upwards: kernel, initial RAM disk, p2m list, start_info, XenStore and console pages, page
 * tables, boot stack, then slack up to a multiple of 4 MiB, all mapped. RAM disk and p2m list may lie behind that
 * instead: unmapped, and at an address of the kernel's choice.
 */
import { ToolstackError } from '../error.ts';
import { PageTables, vpnOf } from './page-tables.ts';
import { overlapsHypervisor, type PvImage } from './pv-image.ts';

const PAGE = 4096;
/** The first mapping ends at a multiple of this, at least SLACK pages and a stack behind the tables. */
const MAP_ALIGN = 0x40_0000n;
const SLACK = (512 << 10) / PAGE;

export interface PvLayout {
  /** Pages of memory, from pfn 0. */
  readonly pages: number;
  readonly ramdisk?: { readonly pfn: number; readonly length: number; readonly vaddr?: bigint };
  /** `pages` includes the page tables that map the list, if it is at an address of its own. */
  readonly p2m: { readonly vaddr: bigint; readonly pfn: number; readonly pages: number; readonly separate: boolean };
  readonly startInfo: number;
  readonly xenstore: number;
  readonly console: number;
  readonly tables: PageTables;
  /** Tables of the first mapping (start_info.nr_pt_frames), the first of them the L4 table. */
  readonly tableFrames: number;
  readonly bootStack: number;
  /** Virtual address of a pfn of the first mapping. */
  readonly vaddr: (pfn: number) => bigint;
  /** Pages of the first mapping. */
  readonly mapped: number;
  /** Pages that all this takes. */
  readonly used: number;
}

const pagesOf = (bytes: number) => Math.ceil(bytes / PAGE);

/** The layout for a domain of `pages` pages, whether they suffice (`used`) or not. */
function place(image: PvImage, pages: number, ramdiskBytes: number): PvLayout {
  const vaddr = (pfn: number) => image.virtBase + BigInt(pfn) * BigInt(PAGE);
  let next = Number((image.kernelEnd - image.virtBase) / BigInt(PAGE));
  const take = (n: number) => {
    const pfn = next;
    next += n;
    return pfn;
  };
  const mappedDisk = ramdiskBytes > 0 && !image.modStartPfn;
  let ramdisk: PvLayout['ramdisk'];
  if (mappedDisk) {
    const pfn = take(pagesOf(ramdiskBytes));
    ramdisk = { pfn, length: ramdiskBytes, vaddr: vaddr(pfn) };
  }
  const p2mPages = Math.max(1, pagesOf(pages * 8));
  let p2m: PvLayout['p2m'] | undefined;
  if (image.initP2m === undefined) {
    const pfn = take(p2mPages);
    p2m = { vaddr: vaddr(pfn), pfn, pages: p2mPages, separate: false };
  }
  const startInfo = take(1);
  const xenstore = take(1);
  const console = take(1);

  // The tables map themselves: add room until they fit what they need.
  const tables = new PageTables();
  const vpn = vpnOf(image.virtBase);
  const firstTable = next;
  let mapped: number;
  let tableFrames = 0;
  for (;;) {
    const need = image.virtBase + BigInt(next + tableFrames + 1 + SLACK) * BigInt(PAGE);
    const end = ((need + MAP_ALIGN - 1n) / MAP_ALIGN) * MAP_ALIGN;
    mapped = Number((end - image.virtBase) / BigInt(PAGE));
    const count = tables.count(vpn, mapped);
    if (count <= tableFrames) break;
    tableFrames = count;
  }
  tables.map({ vpn, pfn: 0, pages: mapped }, firstTable);
  take(tableFrames);
  const bootStack = take(1);
  next = mapped;

  if (ramdiskBytes > 0 && !mappedDisk) ramdisk = { pfn: take(pagesOf(ramdiskBytes)), length: ramdiskBytes };
  if (!p2m && image.initP2m !== undefined) {
    const pfn = take(p2mPages);
    const own = tables.map({ vpn: vpnOf(image.initP2m), pfn, pages: p2mPages }, next);
    take(own);
    p2m = { vaddr: image.initP2m, pfn, pages: p2mPages + own, separate: true };
  }
  return {
    pages,
    ramdisk,
    p2m: p2m!,
    startInfo,
    xenstore,
    console,
    tables,
    tableFrames,
    bootStack,
    vaddr,
    mapped,
    used: next,
  };
}

/** Fewest pages of memory that suffice. */
export function pagesNeeded(image: PvImage, ramdiskBytes: number): number {
  let pages = 0;
  for (;;) {
    const { used } = place(image, pages, ramdiskBytes);
    if (used <= pages) return pages;
    pages = used;
  }
}

export function pvLayout(image: PvImage, memoryMiB: number, ramdiskBytes: number): PvLayout {
  const layout = place(image, memoryMiB * 256, ramdiskBytes);
  if (layout.used > layout.pages) {
    const need = Math.ceil(pagesNeeded(image, ramdiskBytes) / 256);
    const disk = ramdiskBytes > 0 ? ` and its ramdisk of ${(ramdiskBytes / 2 ** 20).toFixed(1)} MiB` : '';
    throw new ToolstackError(
      `memory = ${memoryMiB} is too little for this kernel${disk}: loading them takes ${need} MiB; give the domain more`,
    );
  }
  const mapEnd = image.virtBase + BigInt(layout.mapped) * BigInt(PAGE);
  const { p2m } = layout;
  const p2mEnd = p2m.vaddr + BigInt(p2m.pages * PAGE);
  if (mapEnd > 1n << 64n || overlapsHypervisor(image.virtBase, mapEnd) || overlapsHypervisor(p2m.vaddr, p2mEnd)) {
    throw new ToolstackError('what must be mapped for this kernel reaches into the hypervisor’s addresses');
  }
  if (p2m.separate && p2mEnd > image.virtBase) {
    throw new ToolstackError(
      `the p2m list of ${p2m.pages} pages at 0x${p2m.vaddr.toString(16)} reaches into the kernel`,
    );
  }
  return layout;
}
