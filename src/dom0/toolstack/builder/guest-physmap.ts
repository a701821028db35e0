/** The memory of a domain that is being built and has gfns of its own (PVH). */
import { GuestMemory, outOfMemory } from './guest-memory.ts';

/** Frames of a large extent: 2 MiB. */
const LARGE_ORDER = 9;
const LARGE = 1 << LARGE_ORDER;
/** Frames asked for in one step of a build: 64 MiB. */
const STEP = 32 * LARGE;

/** Frames `first` to `first + count - 1`. */
export interface GfnRange {
  readonly first: number;
  readonly count: number;
}

export class GuestPhysmap extends GuestMemory {
  /**
   * Gives the domain memory at these gfns, in steps. In large extents where a range has them and the machine too: they take
   * one call instead of 512, and one entry of a table.
   */
  *populate(ranges: readonly GfnRange[]): Generator<void, void> {
    const wanted = ranges.reduce((sum, r) => sum + r.count, 0);
    let got = 0;
    for (const { first, count } of ranges) {
      for (let gfn = first; gfn < first + count; ) {
        const n = Math.min(STEP - (gfn % LARGE), first + count - gfn);
        const done = this.#step(gfn, n);
        got += done;
        if (done < n) throw outOfMemory(this.xen, wanted, got);
        gfn += n;
        yield;
      }
    }
  }

  /** Returns how many of the frames from `gfn` on could be had. */
  #step(gfn: number, count: number): number {
    const end = gfn + count;
    const largeFrom = Math.min(end, Math.ceil(gfn / LARGE) * LARGE);
    const extents = Math.floor((end - largeFrom) / LARGE);
    let done = this.#extents(gfn, largeFrom - gfn, 0);
    if (done < largeFrom - gfn) return done;
    done += this.#extents(largeFrom, extents, LARGE_ORDER) * LARGE;
    return done + this.#extents(gfn + done, count - done, 0);
  }

  #extents(gfn: number, count: number, order: number): number {
    if (count === 0) return 0;
    const gfns = Uint32Array.from({ length: count }, (_, i) => gfn + (i << order));
    return this.xen.memoryOp.populatePhysmap(this.domid, gfns, order).length;
  }

  protected override frame(gfn: number): number {
    return gfn;
  }
}
