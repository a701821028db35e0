/**
 * How a kernel's ELF file and its Xen notes map to the start of a 64-bit PV domain's address space: which virtual
 * address belongs to pfn 0, where the kernel lies, where it starts.
 */

import { HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START } from '../../../abi/arch-x86.ts';
import { XENFEAT } from '../../../abi/features.ts';
import { type Kernel, KernelError, type Segment } from '../kernel/kernel.ts';

const PAGE = 4096n;
const CANONICAL_TOP = 1n << 47n;
/** Farther than any memory that a domain could have. */
const REACH = 1n << 36n;

export interface PvImage {
  /** Virtual address of pfn 0. */
  readonly virtBase: bigint;
  /** First and last (exclusive) virtual address of the loaded kernel, whole pages. */
  readonly kernelStart: bigint;
  readonly kernelEnd: bigint;
  readonly entry: bigint;
  /** Where each segment goes, as an offset in bytes from pfn 0. */
  readonly loads: readonly { readonly at: number; readonly segment: Segment }[];
  /** Where the kernel wants its p2m list; undefined: behind the kernel. */
  readonly initP2m?: bigint;
  /** The kernel takes the initial RAM disk by pfn, unmapped. */
  readonly modStartPfn: boolean;
  readonly hypercallPage?: bigint;
}

const hex = (v: bigint) => `0x${v.toString(16)}`;
const canonical = (v: bigint) => v < CANONICAL_TOP || v >= (1n << 64n) - CANONICAL_TOP;

export function overlapsHypervisor(from: bigint, to: bigint): boolean {
  return from < HYPERVISOR_VIRT_END && to > HYPERVISOR_VIRT_START;
}

export function pvImage(kernel: Kernel): PvImage {
  const { notes, segments } = kernel;
  if (notes.entry === undefined && notes.phys32Entry !== undefined) {
    throw new KernelError('can be started as a PVH guest only (it has no PV entry point): set type = "pvh"');
  }
  if (notes.xenVersion !== undefined && notes.xenVersion !== 'xen-3.0') {
    throw new KernelError(`is made for the interface ${notes.xenVersion}; this is xen-3.0`);
  }
  if (notes.loader !== undefined && notes.loader !== 'generic') {
    throw new KernelError(`asks for the loader ${notes.loader}; there is only "generic"`);
  }
  if (notes.hvStartLow !== undefined && notes.hvStartLow > HYPERVISOR_VIRT_START) {
    throw new KernelError(
      `wants the hypervisor’s addresses to begin at ${hex(notes.hvStartLow)} or higher; they begin at ${hex(HYPERVISOR_VIRT_START)}`,
    );
  }
  if (notes.featuresRequired & (1 << XENFEAT.auto_translated_physmap)) {
    throw new KernelError('requires auto_translated_physmap, which PV guests do not have: set type = "pvh"');
  }
  if (notes.paddrOffset !== undefined && notes.virtBase === undefined) {
    throw new KernelError('has a PADDR_OFFSET note but no VIRT_BASE note');
  }
  const virtBase = notes.virtBase ?? 0n;
  const offset = virtBase - (notes.paddrOffset ?? 0n);
  if (virtBase % PAGE !== 0n || !canonical(virtBase)) {
    throw new KernelError(`its VIRT_BASE ${hex(virtBase)} is no page’s address`);
  }

  const virt = (s: Segment) => s.paddr + offset;
  let first = virt(segments[0]);
  let end = first;
  for (const s of segments) {
    const from = virt(s);
    if (from < virtBase || from + s.size > virtBase + REACH || from + s.size > 1n << 64n) {
      throw new KernelError(
        `a segment of ${s.size} bytes at physical address ${hex(s.paddr)} does not fit behind VIRT_BASE ${hex(virtBase)}`,
      );
    }
    if (from < first) first = from;
    if (from + s.size > end) end = from + s.size;
  }
  const kernelStart = first - (first % PAGE);
  const kernelEnd = ((end + PAGE - 1n) / PAGE) * PAGE;
  const entry = notes.entry ?? kernel.entry;
  if (entry < kernelStart || entry >= kernelEnd) {
    throw new KernelError(
      `its entry point ${hex(entry)} is outside of what is loaded (${hex(kernelStart)} to ${hex(kernelEnd)})`,
    );
  }
  const { hypercallPage } = notes;
  if (
    hypercallPage !== undefined &&
    (hypercallPage % PAGE !== 0n || hypercallPage < kernelStart || hypercallPage >= kernelEnd)
  ) {
    throw new KernelError(`its hypercall page ${hex(hypercallPage)} is no page of what is loaded`);
  }
  if (overlapsHypervisor(virtBase, kernelEnd)) {
    throw new KernelError(`is linked at ${hex(kernelStart)}, where the hypervisor’s addresses are`);
  }
  return {
    virtBase,
    kernelStart,
    kernelEnd,
    entry,
    loads: segments.map((segment) => ({ at: Number(virt(segment) - virtBase), segment })),
    initP2m: wantedP2m(notes.initP2m, virtBase),
    modStartPfn: notes.modStartPfn,
    hypercallPage,
  };
}

/** The INIT_P2M note counts if it is a page below the kernel; otherwise the list goes behind the kernel. */
function wantedP2m(at: bigint | undefined, virtBase: bigint): bigint | undefined {
  if (at === undefined || at % PAGE !== 0n || at >= virtBase) return undefined;
  if (!canonical(at)) throw new KernelError(`its INIT_P2M ${hex(at)} is no canonical address`);
  return at;
}
