/** The memory of a domain that is being built: writing to its pages by their number. */
import type { Hypercalls } from '../../kernel/hypercalls.ts';
import { PAGE_SIZE } from '../../kernel/memory.ts';
import { ToolstackError } from '../error.ts';

/** Bytes written in one go. */
const STEP_BYTES = 4 << 20;

const MiB = (pages: number) => (pages / 256).toFixed(pages % 256 === 0 ? 0 : 1);

export abstract class GuestMemory {
  readonly domid: number;
  protected readonly xen: Hypercalls;

  constructor(xen: Hypercalls, domid: number) {
    this.xen = xen;
    this.domid = domid;
  }

  /** The page's frame as `foreignPage` names it. */
  protected abstract frame(pfn: number): number;

  /** Machine address of a page. */
  address(pfn: number): number {
    return this.xen.memory.foreignPage(this.domid, this.frame(pfn));
  }

  /** As `write`, in steps of some milliseconds: it goes on when its caller does. */
  *writeInSteps(at: number, data: Uint8Array, length = data.length): Generator<void, void> {
    for (let done = 0; done < length; done += STEP_BYTES) {
      this.write(at + done, data.subarray(done, done + STEP_BYTES), Math.min(STEP_BYTES, length - done));
      yield;
    }
  }

  /** Puts `data` at byte `at` from page 0, then zeros up to `length` bytes. */
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

/** Of `wanted` pages the domain got `got`. */
export function outOfMemory(xen: Hypercalls, wanted: number, got: number): ToolstackError {
  const free = xen.sysctl.physInfo().freePages;
  return new ToolstackError(
    `the machine has too little free memory: ${MiB(wanted)} MiB are wanted, ${MiB(got)} MiB could be had` +
      ` (${MiB(free)} MiB are free now); give the domain less, the machine more, or stop another domain`,
  );
}
