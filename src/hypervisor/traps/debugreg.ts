// Debug registers of a PV vCPU (set_debugreg, get_debugreg, mov dr) and the task-switched flag.
import { CpuState, ERRNO } from "../abi";
import { Vcpu } from "../domain";
import { current } from "../percpu";
import { watch_breakpoints, watch_update } from "../engine";
import { guest_range_okay } from "../guest";

const CR0_TS: u64 = 8;
const CR4_DE: u64 = 8;
const DR7_GENERAL_DETECT: u64 = 1 << 13;
/** Bits of dr6 that read as 1, and that can be written; the same of dr7. */
const DR6_DEFAULT: u64 = 0xffff0ff0;
const DR6_WRITABLE: u64 = 0xe00f;
const DR7_FIXED: u64 = 0x400;
const DR7_WRITABLE: u64 = 0xffff2bff;

// @ts-ignore: decorator
@inline
function dr(v: Vcpu, n: u32): usize {
  return v.cpu + CpuState.dr + (<usize>n << 3);
}

/** dr4 and dr5 are dr6 and dr7 unless CR4.DE says that they do not exist (-1 then). */
function alias(v: Vcpu, n: u32): i32 {
  if (n != 4 && n != 5) return <i32>n;
  return v.guest_cr4 & CR4_DE ? -1 : <i32>n + 2;
}

export function set_debugreg(v: Vcpu, n: u32, value: u64): i64 {
  if (n > 7) return -ERRNO.ENODEV;
  const r = alias(v, n);
  if (r < 0) return -ERRNO.ENODEV;
  switch (r) {
    case 6:
      if (value >> 32) return -ERRNO.EINVAL;
      store<u64>(dr(v, 6), (value & DR6_WRITABLE) | DR6_DEFAULT);
      return 0;
    case 7: {
      if (value >> 32) return -ERRNO.EINVAL;
      if (value & DR7_GENERAL_DETECT) return -ERRNO.EPERM;
      const bits = (value & DR7_WRITABLE) | DR7_FIXED;
      for (let i: u32 = 0; i < 4; i++) {
        if (!((bits >> (i << 1)) & 3)) continue;
        const type = <u32>(bits >> (16 + (i << 2))) & 3;
        // I/O breakpoints exist only with CR4.DE, and not for a PV guest whose I/O is emulated.
        if (type == 2) return -ERRNO.EPERM;
      }
      store<u64>(dr(v, 7), bits);
      watch_update(v.cpu);
      return 0;
    }
    default:
      // The engine's own address range is not to be watched.
      if (!guest_range_okay(value, 8)) return -ERRNO.EPERM;
      store<u64>(dr(v, r), value);
      watch_update(v.cpu);
      return 0;
  }
}

/** The value, or -ENODEV as the hypercall gives it. */
export function get_debugreg(v: Vcpu, n: u32): i64 {
  if (n > 7) return -ERRNO.ENODEV;
  const r = alias(v, n);
  if (r < 0) return -ERRNO.ENODEV;
  return <i64>load<u64>(dr(v, <u32>r));
}

export function debugreg_valid(v: Vcpu, n: u32): bool {
  return n <= 7 && alias(v, n) >= 0;
}

export function do_set_debugreg(n: u64, value: u64): i64 {
  return n > 7 ? -ERRNO.ENODEV : set_own_debugreg(current, <u32>n, value);
}

/** The guest sets one itself: what a debugger had put into DR7 is gone then. */
export function set_own_debugreg(v: Vcpu, n: u32, value: u64): i64 {
  const rc = set_debugreg(v, n, value);
  if (rc == 0 && alias(v, n) == 7) v.debugger_watches = 0;
  return rc;
}

/**
 * The instruction at rip is to be executed by itself, as there are breakpoints about (engine: runtime/watch.ts): if one
 * stands on it, #DB comes before it. Returns whether it is due.
 */
export function breakpoint_due(v: Vcpu): bool {
  const hits = watch_breakpoints(v.cpu);
  if (hits == 0) {
    store<u32>(v.cpu, 1, CpuState.watch_step);
    return false;
  }
  store<u64>(dr(v, 6), load<u64>(dr(v, 6)) | <u64>hits);
  return true;
}
export function do_get_debugreg(n: u64): i64 {
  return n > 7 ? -ERRNO.ENODEV : get_debugreg(current, <u32>n);
}

export function init_debugregs(v: Vcpu): void {
  store<u64>(dr(v, 6), DR6_DEFAULT);
  store<u64>(dr(v, 7), DR7_FIXED);
  watch_update(v.cpu);
}

/** fpu_taskswitch: sets or clears CR0.TS. */
export function do_fpu_taskswitch(set: u64): i64 {
  set_guest_ts(current, set != 0);
  return 0;
}

export function set_guest_ts(v: Vcpu, ts: bool): void {
  const cr0 = load<u64>(v.cpu, CpuState.cr0);
  store<u64>(v.cpu, ts ? cr0 | CR0_TS : cr0 & ~CR0_TS, CpuState.cr0);
}
export function guest_ts(v: Vcpu): bool {
  return (load<u64>(v.cpu, CpuState.cr0) & CR0_TS) != 0;
}
