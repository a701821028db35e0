// Memory types of an HVM vCPU: MTRRs and PAT, as storage (Xen's hvm/mtrr.c; Intel SDM vol. 3, 11.11 and 11.12).
import { HvmVcpu, MTRR_VCNT, NUM_FIXED_MSR } from "./vcpu";

const MSR_MTRRcap: u32 = 0xfe;
const MSR_MTRRphysBase0: u32 = 0x200;
const MSR_MTRRfix64K: u32 = 0x250;
const MSR_MTRRfix16K_0: u32 = 0x258;
const MSR_MTRRfix4K_0: u32 = 0x268;
const MSR_PAT: u32 = 0x277;
const MSR_MTRRdefType: u32 = 0x2ff;

/** Fixed ranges and write-combining exist, and so many variable ranges. */
export const MTRR_CAP: u64 = 0x500 | <u64>MTRR_VCNT;
const PAT_RESET: u64 = 0x0007_0406_0007_0406;
/** Default type, fixed ranges on, MTRRs on. */
const DEF_TYPE_VALID: u64 = 0xcff;
/** Of a variable range: type and address; validity and address. Physical addresses have 40 bits. */
const VAR_BASE_VALID: u64 = 0xff_ffff_f0ff;
const VAR_MASK_VALID: u64 = 0xff_ffff_f800;

export function mtrr_reset(h: HvmVcpu): void {
  h.pat = PAT_RESET;
  h.mtrr_def_type = 0;
  memory.fill(h.mtrr_var, 0, MTRR_VCNT * 16);
  memory.fill(h.mtrr_fixed, 0, NUM_FIXED_MSR * 8);
}

/** Uncached, write-combining, -through, -protected, -back; in PAT besides "uncached unless the MTRR says otherwise" (7). */
function valid_type(t: u64, pat: bool): bool {
  return t == 0 || t == 1 || t == 4 || t == 5 || t == 6 || (pat && t == 7);
}

function valid_types(x: u64, pat: bool): bool {
  for (let i: u64 = 0; i < 64; i += 8) if (!valid_type((x >> i) & 0xff, pat)) return false;
  return true;
}

/** Number of the fixed-range register, -1: it is none. */
function fixed_index(msr: u32): i32 {
  if (msr == MSR_MTRRfix64K) return 0;
  if (msr == MSR_MTRRfix16K_0 || msr == MSR_MTRRfix16K_0 + 1) return <i32>(1 + msr - MSR_MTRRfix16K_0);
  return msr >= MSR_MTRRfix4K_0 && msr < MSR_MTRRfix4K_0 + 8 ? <i32>(3 + msr - MSR_MTRRfix4K_0) : -1;
}

/** Is it one of these registers? */
export function is_mtrr_msr(msr: u32): bool {
  return msr == MSR_MTRRcap || (msr >= MSR_MTRRphysBase0 && msr <= MSR_MTRRdefType);
}

/** False: there is no such register. */
export function mtrr_rdmsr(h: HvmVcpu, msr: u32, out: usize): bool {
  const fixed = fixed_index(msr);
  if (msr == MSR_MTRRcap) store<u64>(out, MTRR_CAP);
  else if (msr == MSR_MTRRdefType) store<u64>(out, h.mtrr_def_type);
  else if (msr == MSR_PAT) store<u64>(out, h.pat);
  else if (fixed >= 0) store<u64>(out, load<u64>(h.mtrr_fixed + (<u32>fixed << 3)));
  else if (msr < MSR_MTRRphysBase0 + MTRR_VCNT * 2) store<u64>(out, load<u64>(h.mtrr_var + ((msr - MSR_MTRRphysBase0) << 3)));
  else return false;
  return true;
}

/** False: #GP. */
export function mtrr_wrmsr(h: HvmVcpu, msr: u32, x: u64): bool {
  const fixed = fixed_index(msr);
  if (msr == MSR_PAT) return set_pat(h, x);
  if (msr == MSR_MTRRdefType) return set_def_type(h, x);
  if (fixed >= 0) {
    if (!valid_types(x, false)) return false;
    store<u64>(h.mtrr_fixed + (<u32>fixed << 3), x);
    return true;
  }
  if (msr < MSR_MTRRphysBase0 || msr >= MSR_MTRRphysBase0 + MTRR_VCNT * 2) return false;
  const n = msr - MSR_MTRRphysBase0;
  if (n & 1 ? (x & ~VAR_MASK_VALID) != 0 : (x & ~VAR_BASE_VALID) != 0 || !valid_type(x & 0xff, false)) return false;
  store<u64>(h.mtrr_var + (n << 3), x);
  return true;
}

export function set_pat(h: HvmVcpu, x: u64): bool {
  if (!valid_types(x, true)) return false;
  h.pat = x;
  return true;
}

export function set_def_type(h: HvmVcpu, x: u64): bool {
  if (x & ~DEF_TYPE_VALID || !valid_type(x & 0xff, false)) return false;
  h.mtrr_def_type = x;
  return true;
}
