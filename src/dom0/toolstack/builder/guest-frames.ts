/** The memory of a PV domain that is being built: its frames by pfn. */
import type { Hypercalls } from '../../kernel/hypercalls.ts';
import { GuestMemory, outOfMemory } from './guest-memory.ts';

export class GuestFrames extends GuestMemory {
  /** Frame of each pfn. */
  readonly mfns: Uint32Array;

  private constructor(xen: Hypercalls, domid: number, mfns: Uint32Array) {
    super(xen, domid);
    this.mfns = mfns;
  }

  /** Gives the domain `pages` pages of memory, pfn 0 and up. */
  static populate(xen: Hypercalls, domid: number, pages: number): GuestFrames {
    const pfns = Uint32Array.from({ length: pages }, (_, i) => i);
    const mfns = xen.memoryOp.populatePhysmap(domid, pfns);
    if (mfns.length < pages) throw outOfMemory(xen, pages, mfns.length);
    return new GuestFrames(xen, domid, mfns);
  }

  mfn(pfn: number): number {
    if (pfn >= this.mfns.length) throw new RangeError(`pfn ${pfn} of ${this.mfns.length}`);
    return this.mfns[pfn];
  }

  protected override frame(pfn: number): number {
    return this.mfn(pfn);
  }
}
