/** The memory of a domain that is being built: writing to its pages by their number. */
import type { Hypercalls } from '../../kernel/hypercalls.ts';
import { PAGE_SIZE } from '../../kernel/memory.ts';
import { ToolstackError } from '../error.ts';
import type { KernelBytes } from '../kernel/kernel.ts';

/** Bytes written in one go. */
const STEP_BYTES = 4 << 20;
/** Bytes of a file that are read at a time: they stay in the processor's caches until they are written. */
const READ_BYTES = 1 << 18;
const ZEROS = new Uint8Array(PAGE_SIZE);

const NOTHING = new Uint8Array();

const isZero = (bytes: Uint8Array) =>
  bytes.length === 0 || Buffer.compare(bytes, ZEROS.subarray(0, bytes.length)) === 0;

const MiB = (pages: number) => (pages / 256).toFixed(pages % 256 === 0 ? 0 : 1);

export abstract class GuestMemory {
  readonly domid: number;
  protected readonly xen: Hypercalls;
  /** What is no longer as the hypervisor gave it, in bytes from page 0. */
  readonly #written: { from: number; to: number }[] = [];

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

  /**
   * Puts `data` at byte `at` from page 0, then zeros up to `length` bytes, in steps of some milliseconds: it goes on when
   * its caller does.
   */
  *load(at: number, data: KernelBytes, length = data.size): Generator<void, void> {
    const buffer = new Uint8Array(Math.min(READ_BYTES, data.size));
    for (let done = 0; done < data.size; ) {
      const bytes = buffer.subarray(0, data.size - done);
      data.read(done, bytes);
      this.write(at + done, bytes);
      done += bytes.length;
      if (done % STEP_BYTES === 0) yield;
    }
    if (length > data.size) this.write(at + data.size, NOTHING, length - data.size);
    yield;
  }

  /** Puts `data` at byte `at` from page 0, then zeros up to `length` bytes. */
  write(at: number, data: Uint8Array, length = data.length): void {
    const fresh = !this.#written.some((w) => at < w.to && w.from < at + length);
    this.#note(at, at + length);
    const { memory } = this.xen;
    for (let done = 0; done < length; ) {
      const offset = (at + done) % PAGE_SIZE;
      const n = Math.min(PAGE_SIZE - offset, length - done);
      const bytes = data.subarray(done, done + n);
      // New pages are zero, and take none of the host's memory until they are touched.
      if (!fresh || !isZero(bytes)) {
        const address = this.address(Math.floor((at + done) / PAGE_SIZE)) + offset;
        memory.write(address, bytes);
        if (bytes.length < n) memory.fill(address + bytes.length, n - bytes.length);
      }
      done += n;
    }
  }

  #note(from: number, to: number): void {
    const last = this.#written.at(-1);
    if (last?.to === from) last.to = to;
    else this.#written.push({ from, to });
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
