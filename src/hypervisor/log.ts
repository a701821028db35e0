// The hypervisor's log and panic. Text is built piece by piece in the slot's scratch page (no strings at run time),
// then sent to the host and to the log ring that `xl dmesg` reads (console.ts).
//
//   log_start(); log_str("d"); log_dec(domid); log_str(" crashed"); log_end();
import { host_log, host_panic } from "./host";
import { current, locks_held, log_len, scratch, set_log_len, shared } from "./percpu";
import { conring_write } from "./conring";
import { MachineInfo, MACHINE_INFO_ADDRESS } from "./abi";

/** Longest line; what is longer is cut. */
const LINE_MAX: u32 = 1000;
/** The line under construction lies in the last KiB of the scratch page. */
const LINE_AT: u32 = 3072;

export function log_start(): void {
  set_log_len(0);
  log_str("(XEN) ");
}

/** Starts a line without the prefix. */
export function log_plain(): void {
  set_log_len(0);
}

export function log_char(c: u32): void {
  if (log_len >= LINE_MAX) return;
  store<u8>(scratch + LINE_AT + log_len, c);
  set_log_len(log_len + 1);
}

/** Appends a string literal (ASCII). */
export function log_str(s: string): void {
  const n = s.length;
  for (let i = 0; i < n; i++) log_char(load<u16>(changetype<usize>(s) + (<usize>i << 1)));
}

export function log_dec(v: u64): void {
  if (v >= 10) log_dec(v / 10);
  log_char(48 + <u32>(v % 10));
}

export function log_signed(v: i64): void {
  if (v < 0) {
    log_char(45);
    v = -v;
  }
  log_dec(v);
}

/** Appends at least `digits` hexadecimal digits. */
export function log_hex(v: u64, digits: u32 = 1): void {
  if (v >= 16 || digits > 1) log_hex(v >> 4, digits > 1 ? digits - 1 : 1);
  const d = <u32>(v & 15);
  log_char(d < 10 ? 48 + d : 87 + d);
}

/** Appends " name=0x…". */
export function log_field(name: string, v: u64): void {
  log_char(32);
  log_str(name);
  log_str("=0x");
  log_hex(v);
}

/** Ends the line and sends it. */
export function log_end(): void {
  store<u8>(scratch + LINE_AT + log_len, 10);
  const len = log_len + 1;
  conring_write(scratch + LINE_AT, len);
  if (locks_held == 0) host_log(scratch + LINE_AT, len);
}

/** "d1v0: " for the current vCPU. */
export function log_vcpu(): void {
  if (changetype<usize>(current) == 0) return;
  log_str("d");
  log_dec(current.domain.domid);
  log_str("v");
  log_dec(current.vcpu_id);
  log_str(": ");
}

/** A whole line that is one string literal. */
export function log_text(s: string): void {
  log_start();
  log_str(s);
  log_end();
}

/** Ends the line under construction and stops the machine with it. An invariant of the hypervisor is broken. */
export function panic_line(): void {
  atomic.store<u32>(MACHINE_INFO_ADDRESS, 1, MachineInfo.panic);
  store<u8>(scratch + LINE_AT + log_len, 10);
  if (shared != 0) conring_write(scratch + LINE_AT, log_len + 1);
  host_panic(scratch + LINE_AT, log_len);
  unreachable();
}

export function panic(s: string): void {
  log_start();
  log_str("panic: ");
  log_str(s);
  panic_line();
}

/** Panics unless `ok`: for invariants of the hypervisor only, never for what a guest can cause. */
export function BUG_ON(bad: bool, what: string): void {
  if (bad) panic(what);
}
