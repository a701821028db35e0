// Forced emulation: `ud2; .ascii "xen"; cpuid` in a PV guest is cpuid, whether or not the bare instruction would trap
// (public/arch-x86/xen.h, XEN_EMULATE_PREFIX).
import { CpuState, XEN_EMULATE_PREFIX } from "../abi";
import { Vcpu } from "../domain";
import { guest_read } from "../engine";
import { scratch } from "../percpu";
import { CpuidResult, do_guest_cpuid } from "./cpuid";
import { finish } from "./emul-priv-op";

const AT: u32 = 1280;
const CPUID_OPCODE: u32 = 0xa20f;
/** Prefix and cpuid. */
const LENGTH: u32 = 7;

/** #UD at rip: emulated? */
export function emulate_forced_invalid_op(v: Vcpu): bool {
  const rip = load<u64>(v.cpu, CpuState.rip);
  if (guest_read(v.cpu, rip, scratch + AT, LENGTH) != 0) return false;
  if ((load<u64>(scratch + AT) & 0xff_ffff_ffff) != XEN_EMULATE_PREFIX) return false;
  if (load<u16>(scratch + AT + 5) != CPUID_OPCODE) return false;
  do_guest_cpuid(v, changetype<CpuidResult>(scratch + AT));
  finish(v, rip + LENGTH);
  return true;
}

/** A plain cpuid gives the same answer. */
export function emulate_cpuid(v: Vcpu, length: u32): void {
  do_guest_cpuid(v, changetype<CpuidResult>(scratch + AT));
  finish(v, load<u64>(v.cpu, CpuState.rip) + length);
}
