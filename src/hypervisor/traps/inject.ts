// Injecting exceptions into a PV guest: the trap table decides where they go (public/arch-x86/xen.h, trap_info).
import { CpuState, TrapInfo, VEC, VcpuInfo } from "../abi";
import { Vcpu, in_kernel_mode } from "../domain";
import { current } from "../percpu";
import { log_dec, log_end, log_field, log_hex, log_start, log_str, log_vcpu } from "../log";
import { create_bounce_frame, TBF_EXCEPTION_ERRCODE, TBF_INTERRUPT } from "./bounce";

/** trap_info.flags: DPL, and "mask events on delivery". */
const TI_DPL: u32 = 3;
export const TI_IF: u32 = 4;
/** Error-code bit "user mode" of #PF. */
const PFEC_user_mode: u32 = 4;

// @ts-ignore: decorator
@inline
function trap_of(v: Vcpu, vector: u32): usize {
  return v.trap_ctxt + <usize>vector * TrapInfo.SIZE;
}

export function trap_dpl(v: Vcpu, vector: u32): u32 {
  return load<u8>(trap_of(v, vector), TrapInfo.flags) & TI_DPL;
}
export function trap_address(v: Vcpu, vector: u32): u64 {
  return load<u64>(trap_of(v, vector), TrapInfo.address);
}
/** TBF_INTERRUPT if the entry masks events. */
export function trap_flags(v: Vcpu, vector: u32): u32 {
  return load<u8>(trap_of(v, vector), TrapInfo.flags) & TI_IF ? TBF_INTERRUPT : 0;
}

function bounce(v: Vcpu, vector: u32, flags: u32, error: u32): void {
  const address = trap_address(v, vector);
  if (address == 0) {
    log_start();
    log_vcpu();
    log_str("Unhandled: vec ");
    log_dec(vector);
    log_str("[");
    log_hex(error, 4);
    log_str("]");
    if (vector == VEC.PF) log_field("cr2", load<u64>(v.cpu, CpuState.cr2));
    log_end();
  }
  create_bounce_frame(v, address, flags | trap_flags(v, vector), error);
}

/** Vectors that push an error code. */
function has_error_code(vector: u32): bool {
  return ((<u32>0x22_7d00 >> vector) & 1) != 0 && vector < 32;
}

/** Delivers a fault or trap (not #PF) to the current vCPU's kernel; rip is what the frame shall hold. */
export function pv_inject_hw_exception(vector: u32, error: u32): void {
  bounce(current, vector, has_error_code(vector) ? TBF_EXCEPTION_ERRCODE : 0, error);
}

/** Delivers vector n without an error code, whatever n is (int n). */
export function pv_inject_sw_interrupt(vector: u32): void {
  bounce(current, vector, 0, 0);
}

/** Delivers #PF: cr2 goes to vcpu_info; the U bit of the error code says which mode of the guest faulted. */
export function pv_inject_page_fault(error: u32, cr2: u64): void {
  const v = current;
  error = in_kernel_mode(v) ? error & ~PFEC_user_mode : error | PFEC_user_mode;
  store<u64>(v.vcpu_info, cr2, VcpuInfo.arch);
  store<u64>(v.cpu, cr2, CpuState.cr2);
  bounce(v, VEC.PF, TBF_EXCEPTION_ERRCODE, error);
}
