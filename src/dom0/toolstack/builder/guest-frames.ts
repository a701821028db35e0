/** The memory of a domain that is being built: its frames by pfn, and writing to them. */
import type { Hypercalls } from '../../kernel/hypercalls.ts';
import { PAGE_SIZE } from '../../kernel/memory.ts';
import { ToolstackError } from '../error.ts';

/** Bytes written in one go. */
const STEP_BYTES = 4 << 20;

const MiB = (pages: number) => (pages / 256).toFixed(pages % 256 === 0 ? 0 : 1);

export class GuestFrames {
  readonly domid: number;
  /** Frame of each pfn. */
  readonly mfns: Uint32Array;
  private readonly xen: Hypercalls;

  private constructor(xen: Hypercalls, domid: number, mfns: Uint32Array) {
    this.xen = xen;
    this.domid = domid;
    this.mfns = mfns;
  }

  /** Gives the domain `pages` pages of memory, pfn 0 and up. */
  static populate(xen: Hypercalls, domid: number, pages: number): GuestFrames {
    const pfns = Uint32Array.from({ length: pages }, (_, i) => i);
    const mfns = xen.memoryOp.populatePhysmap(domid, pfns);
    if (mfns.length < pages) {
      const free = xen.sysctl.physInfo().freePages;
      throw new ToolstackError(
        `the machine has too little free memory: ${MiB(pages)} MiB are wanted, ${MiB(mfns.length)} MiB could be had` +
          ` (${MiB(free)} MiB are free now); give the domain less, the machine more, or stop another domain`,
      );
    }
    return new GuestFrames(xen, domid, mfns);
  }

  mfn(pfn: number): number {
    if (pfn >= this.mfns.length) throw new RangeError(`pfn ${pfn} of ${this.mfns.length}`);
    return this.mfns[pfn];
  }

  /** Machine address of a pfn's page. */
  address(pfn: number): number {
    return this.xen.memory.foreignPage(this.domid, this.mfn(pfn));
  }

  /** As `write`, in steps of some milliseconds: it goes on when its caller does. */
  *writeInSteps(at: number, data: Uint8Array, length = data.length): Generator<void, void> {
    for (let done = 0; done < length; done += STEP_BYTES) {
      this.write(at + done, data.subarray(done, done + STEP_BYTES), Math.min(STEP_BYTES, length - done));
      yield;
    }
  }

  /** Puts `data` at byte `at` from pfn 0, then zeros up to `length` bytes. */
  write(at: number, data: Uint8Array, length = data.length): void {
    const { memory } = this.xen;
    for (let done = 0; done < length; ) {
      const offset = (at + done) % PAGE_SIZE;
      const n = Math.min(PAGE_SIZE - offset, length - done);
      const address = this.address(Math.floor((at + done) / PAGE_SIZE)) + offset;
      const bytes = data.subarray(done, done + n);
      memory.write(address, bytes);
      if (bytes.length < n) memory.fill(address + bytes.length, n - bytes.length);
      done += n;
    }
  }
}
