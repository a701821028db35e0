// I/O ports of a PV guest: channel 2 of the PIT with its gate (Linux calibrates its TSC by it), the RTC's index, the PCI
// address port; all others read as ones and swallow writes. Intel 8254 data sheet; port 0x61 as in the PC/AT.
import { Domain, Vcpu, in_kernel_mode } from "../domain";
import { current, scratch } from "../percpu";
import { copy_from_guest } from "../guest";
import { NOW } from "../time/clock";
import { VMASST_TYPE } from "../abi";
import { toggle_guest_mode } from "./mode";

const PIT_CH2: u32 = 0x42;
const PIT_MODE: u32 = 0x43;
const SPEAKER: u32 = 0x61;
const RTC_INDEX: u32 = 0x70;
const PCI_ADDRESS: u32 = 0xcf8;
/** The PIT's clock in Hz. */
const PIT_HZ: u64 = 1_193_182;

/** State of the ports, one per domain (address in Domain.ioports). */
@unmanaged
export class IoPorts {
  /** System time at which channel 2 was loaded or its gate opened. */
  start: u64;
  /** Count that was loaded, 1 to 65536. */
  count: u32;
  /** Value at `start` (a closed gate holds the count). */
  from: u32;
  mode: u32;
  /** Access mode 1 low, 2 high, 3 both; half of a 16-bit access done: write, read. */
  access: u32;
  half_write: u32;
  half_read: u32;
  low: u32;
  /** Latched value + 1 (counter latch command), 0: none. */
  latched: u32;
  gate: u32;
  speaker: u32;
  rtc_index: u32;
  pci_address: u32;
}

function ports(d: Domain): IoPorts {
  return changetype<IoPorts>(d.ioports);
}

/** PIT ticks since `start`. */
function elapsed(p: IoPorts): u64 {
  const ns = NOW() - p.start;
  return (ns / 1_000_000_000) * PIT_HZ + ((ns % 1_000_000_000) * PIT_HZ) / 1_000_000_000;
}

function pit_value(p: IoPorts): u32 {
  if (!p.gate) return p.from & 0xffff;
  const t = elapsed(p);
  switch (p.mode) {
    case 2:
    case 3: {
      const step: u64 = p.mode == 3 ? 2 : 1;
      return <u32>(<u64>p.count - ((t * step) % <u64>p.count)) & 0xffff;
    }
    default:
      return <u32>(<u64>p.from - t) & 0xffff;
  }
}

/** OUT pin of channel 2. */
function pit_out(p: IoPorts): u32 {
  const t = p.gate ? elapsed(p) : 0;
  switch (p.mode) {
    case 0:
    case 1:
      return p.gate && t >= <u64>p.from ? 1 : 0;
    case 3:
      return t % <u64>p.count < <u64>((p.count + 1) >> 1) ? 1 : 0;
    default:
      return 1;
  }
}

function pit_load(p: IoPorts, count: u32): void {
  p.count = count == 0 ? 0x10000 : count;
  p.from = p.count;
  p.start = NOW();
}

function pit_write(p: IoPorts, x: u32): void {
  switch (p.access) {
    case 1:
      pit_load(p, x);
      break;
    case 2:
      pit_load(p, x << 8);
      break;
    default:
      if (p.half_write) pit_load(p, p.low | (x << 8));
      else p.low = x;
      p.half_write ^= 1;
      break;
  }
}

function pit_read(p: IoPorts): u32 {
  const value = p.latched ? p.latched - 1 : pit_value(p);
  switch (p.access) {
    case 1:
      p.latched = 0;
      return value & 0xff;
    case 2:
      p.latched = 0;
      return value >> 8;
    default:
      p.half_read ^= 1;
      if (p.half_read) return value & 0xff;
      p.latched = 0;
      return value >> 8;
  }
}

function pit_command(p: IoPorts, x: u32): void {
  if (x >> 6 != 2) return;
  const access = (x >> 4) & 3;
  if (access == 0) {
    if (p.latched == 0) p.latched = pit_value(p) + 1;
    return;
  }
  p.access = access;
  p.mode = (x >> 1) & 7;
  if (p.mode > 5) p.mode -= 4;
  p.half_write = 0;
  p.half_read = 0;
  p.latched = 0;
}

function speaker_write(p: IoPorts, x: u32): void {
  const gate = x & 1;
  if (gate != p.gate) {
    if (gate) {
      // A rising gate starts modes 1, 2, 3 and 5 anew, and lets the others go on.
      if (p.mode != 0 && p.mode != 4) p.from = p.count;
    } else p.from = pit_value(p);
    p.start = NOW();
    p.gate = gate;
  }
  p.speaker = x & 2;
}

function read_byte(p: IoPorts, port: u32): u32 {
  switch (port) {
    case PIT_CH2:
      return pit_read(p);
    case SPEAKER:
      return p.gate | p.speaker | (pit_out(p) << 5) | ((<u32>(NOW() / 15_000) & 1) << 4);
    case RTC_INDEX:
      return p.rtc_index;
    default:
      return 0xff;
  }
}

/** Reads 1, 2 or 4 bytes. */
export function guest_io_read(v: Vcpu, port: u32, bytes: u32): u32 {
  const p = ports(v.domain);
  if (bytes == 4 && port == PCI_ADDRESS) return p.pci_address;
  let x: u32 = 0;
  for (let i: u32 = 0; i < bytes; i++) x |= read_byte(p, (port + i) & 0xffff) << (i << 3);
  return x;
}

export function guest_io_write(v: Vcpu, port: u32, bytes: u32, value: u32): void {
  const p = ports(v.domain);
  if (bytes == 4 && port == PCI_ADDRESS) {
    p.pci_address = value;
    return;
  }
  for (let i: u32 = 0; i < bytes; i++) {
    const x = (value >> (i << 3)) & 0xff;
    switch ((port + i) & 0xffff) {
      case PIT_CH2:
        pit_write(p, x);
        break;
      case PIT_MODE:
        pit_command(p, x);
        break;
      case SPEAKER:
        speaker_write(p, x);
        break;
      case RTC_INDEX:
        p.rtc_index = x & 0x7f;
        break;
    }
  }
}

/** May v's present mode do I/O and cli/sti at its virtual IOPL? The kernel counts as ring 1, or 0 with architectural_iopl. */
export function iopl_ok(v: Vcpu): bool {
  const arch = (v.domain.vm_assist >> VMASST_TYPE.architectural_iopl) & 1;
  const cpl: u32 = in_kernel_mode(v) ? (arch ? 0 : 1) : 3;
  return v.iopl >= cpl;
}

/** ... or by the I/O bitmap that the kernel has set. */
export function guest_io_okay(v: Vcpu, port: u32, bytes: u32): bool {
  if (iopl_ok(v)) return true;
  if (port + bytes > v.iobmp_limit || v.iobmp == 0) return false;
  const user = !in_kernel_mode(v);
  if (user) toggle_guest_mode(v);
  const ok = v == current && copy_from_guest(scratch, v.iobmp + <u64>(port >> 3), 2) == 0;
  if (user) toggle_guest_mode(v);
  return ok && (load<u16>(scratch) & (((1 << bytes) - 1) << (port & 7))) == 0;
}
