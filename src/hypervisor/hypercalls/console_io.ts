// HYPERVISOR_console_io: a guest's early console (earlyprintk=xen). Lines go to the hypervisor's log as "(d1) text"; a
// budget a domain keeps a guest that floods it from drowning the others (public/xen.h CONSOLEIO_*).
import { CONSOLEIO, ERRNO, HYPERCALL } from "../abi";
import { Domain } from "../domain";
import { copy_from_guest } from "../guest";
import { current, scratch } from "../percpu";
import { log_char, log_dec, log_end, log_plain, log_str } from "../log";
import { hypercall_create_continuation, hypercall_preempt_check } from "./continuation";
import { NOW, SECONDS } from "../time/clock";
import { spin_lock, spin_unlock } from "../spinlock";

/** Longest line kept together: Domain.pbuf is a block of this many bytes. */
export const PBUF_SIZE: u32 = 256;
/** Bytes at once, and bytes a second after that. */
const BURST: u64 = 262_144;
const RATE: u64 = 65_536;
const CHUNK: u32 = 128;

/** The line that is complete, or full. console_lock is held, so only the ring gets it now; the caller sends it after. */
function flush(d: Domain): void {
  log_plain();
  log_str("(d");
  log_dec(d.domid);
  log_str(") ");
  for (let i: u32 = 0; i < d.pbuf_idx; i++) log_char(load<u8>(d.pbuf + i));
  d.pbuf_idx = 0;
}

/** Takes `n` bytes from the domain's budget; false: it has used it up. */
function budget(d: Domain, n: u32, now: u64): bool {
  const full = d.console_time + (BURST * SECONDS) / RATE <= now;
  if (full) d.console_time = now - (BURST * SECONDS) / RATE < now ? now - (BURST * SECONDS) / RATE : 0;
  const cost = (<u64>n * SECONDS) / RATE;
  if (d.console_time + cost > now) return false;
  d.console_time += cost;
  return true;
}

/** Adds a character to the domain's line; `now` is system time, a full budget ahead. */
function putc(d: Domain, c: u32, now: u64): void {
  const lock = changetype<usize>(d) + offsetof<Domain>("console_lock");
  spin_lock(lock);
  let line = false;
  if (c != 10 && ((c >= 32 && c < 127) || c == 9 || c >= 128)) {
    store<u8>(d.pbuf + d.pbuf_idx, c);
    d.pbuf_idx += 1;
  }
  if (c == 10 || d.pbuf_idx >= PBUF_SIZE - 1) {
    line = budget(d, d.pbuf_idx + 8, now);
    if (line) flush(d);
    else d.pbuf_idx = 0;
  }
  spin_unlock(lock);
  if (line) log_end();
}

/** A character that an HVM guest writes to the debug port. */
export function console_putc(d: Domain, c: u32): void {
  putc(d, c, NOW() + (BURST * SECONDS) / RATE);
}

/** A long write makes way now and then. */
function write(handle: u64, count: u32): i64 {
  const d = current.domain;
  const now = NOW() + (BURST * SECONDS) / RATE;
  while (count > 0) {
    const n = min(count, CHUNK);
    if (copy_from_guest(scratch, handle, n) != 0) return -ERRNO.EFAULT;
    for (let i: u32 = 0; i < n; i++) putc(d, load<u8>(scratch + i), now);
    handle += n;
    count -= n;
    if (count > 0 && hypercall_preempt_check()) return hypercall_create_continuation(HYPERCALL.console_io, CONSOLEIO.write, count, handle, 0, 0);
  }
  return 0;
}

export function do_console_io(cmd: u32, count: u32, buffer: u64): i64 {
  switch (cmd) {
    case CONSOLEIO.write:
      return write(buffer, count);
    case CONSOLEIO.read:
      // There is no input to the hypervisor's own console.
      return current.domain.privileged ? 0 : -ERRNO.EPERM;
    default:
      return -ERRNO.ENOSYS;
  }
}
