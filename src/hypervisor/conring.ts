// The hypervisor's log ring: what `xl dmesg` reads (sysctl readconsole). Byte positions run freely; the newest
// conring_size bytes are kept.
import { Hypervisor, xen } from "./state";
import { shared } from "./percpu";
import { copy_to_guest } from "./guest";
import { ERRNO } from "./abi";

/** Bytes kept (Xen's default conring_size). */
export const CONRING_SIZE: u32 = 16384;

// @ts-ignore: decorator
@inline
function lock(): usize {
  return changetype<usize>(xen()) + offsetof<Hypervisor>("conring_busy");
}

/** Appends; may be called with any lock held, so it takes none of the named ones. */
export function conring_write(p: usize, len: u32): void {
  if (shared == 0 || xen().conring == 0) return;
  const x = xen();
  // Bounded: a CPU that panicked may hold it.
  for (let n: u32 = 0; atomic.cmpxchg<u32>(lock(), 0, 1) != 0 && n < 1_000_000; n++) {}
  for (let i: u32 = 0; i < len; i++) store<u8>(x.conring + ((x.conring_prod + i) & (CONRING_SIZE - 1)), load<u8>(p + i));
  x.conring_prod += len;
  if (x.conring_prod - x.conring_start > CONRING_SIZE) x.conring_start = x.conring_prod - CONRING_SIZE;
  atomic.store<u32>(lock(), 0);
}

/**
 * Copies from position `index` (or the oldest byte there is) at most `count` bytes to guest handle `buffer`; without
 * `incremental` from the oldest byte. Returns the number, or -EFAULT; the position behind them goes to *next.
 */
export function conring_read(buffer: u64, count: u32, index: u32, incremental: bool, next: usize): i64 {
  const x = xen();
  const end = x.conring_prod;
  let at = x.conring_start;
  // Positions wrap: compare distances from the start.
  if (incremental && index - at <= end - at) at = index;
  const n = min<u32>(count, end - at);
  let done: u32 = 0;
  while (done < n) {
    const from = (at + done) & (CONRING_SIZE - 1);
    const part = min<u32>(n - done, CONRING_SIZE - from);
    if (copy_to_guest(buffer + done, x.conring + from, part) != 0) return -ERRNO.EFAULT;
    done += part;
  }
  store<u32>(next, at + n);
  return n;
}

export function conring_clear(): void {
  xen().conring_start = xen().conring_prod;
}
