// An HVM vCPU beside its CpuState and local APIC, and the state it has before a context is loaded (hvm/save.ts).
import { CpuState } from "../abi";
import { Vcpu } from "../domain";
import { generation_of } from "../mm/tlbflush";
import { xfree, xzalloc } from "../mm/xmalloc";
import { mtrr_reset } from "./mtrr";
import { vlapic_destroy, vlapic_init } from "./vlapic";

export const MTRR_VCNT: u32 = 8;
export const NUM_FIXED_MSR: u32 = 11;

@unmanaged
export class HvmVcpu {
  /** Memory types: kept for the guest to read, without effect, as all memory is the host's own. */
  pat: u64;
  mtrr_def_type: u64;
  /** u64[MTRR_VCNT * 2] (base, mask) and u64[NUM_FIXED_MSR], behind the struct. */
  mtrr_var: usize;
  mtrr_fixed: usize;
  /** The vector of set_evtchn_upcall_vector, 0: none. */
  evtchn_upcall_vector: u32;
}

// @ts-ignore: decorator
@inline
export function hvm_vcpu(v: Vcpu): HvmVcpu {
  return changetype<HvmVcpu>(v.hvm);
}

/** CR0.ET. */
const CR0_RESET: u64 = 0x10;

/** Engine state of a vCPU that has just been made; a context says the rest. False: no memory. */
export function hvm_vcpu_initialise(v: Vcpu): bool {
  const size = <u32>offsetof<HvmVcpu>();
  const p = xzalloc(size + (MTRR_VCNT * 2 + NUM_FIXED_MSR) * 8, 8);
  if (p == 0) return false;
  v.hvm = p;
  const h = hvm_vcpu(v);
  h.mtrr_var = p + size;
  h.mtrr_fixed = h.mtrr_var + MTRR_VCNT * 16;
  mtrr_reset(h);
  if (!vlapic_init(v)) return false;
  const cpu = v.cpu;
  store<u32>(cpu, 1, CpuState.hvm);
  store<u32>(cpu, 1, CpuState.no_ports);
  store<u32>(cpu, v.vcpu_id, CpuState.asid);
  // No generation of an earlier domain's with the same id: its translations may still be in TLBs.
  store<u32>(cpu, atomic.load<u32>(generation_of(v.domain)), CpuState.asid_generation);
  store<u32>(cpu, 0, CpuState.cpl);
  store<u32>(cpu, 1, CpuState.mode);
  store<u64>(cpu, CR0_RESET, CpuState.cr0);
  store<u64>(cpu, 0, CpuState.cr4);
  store<u64>(cpu, 0, CpuState.efer);
  store<u64>(cpu, 2, CpuState.rflags);
  store<u32>(cpu, 0xffff, CpuState.gdt_limit);
  store<u32>(cpu, 0xffff, CpuState.idt_limit);
  return true;
}

export function hvm_vcpu_destroy(v: Vcpu): void {
  vlapic_destroy(v);
  if (v.hvm != 0) xfree(v.hvm);
  v.hvm = 0;
}
