// Model-specific registers of a PV vCPU: what rdmsr and wrmsr in the guest kernel reach (XEN-ABI 2.3). Everything else is
// #GP. Numbers: Intel SDM vol. 4, AMD APM vol. 2 appendix A.
import { CpuState, SEG, VEC } from "../abi";
import { Vcpu, in_kernel_mode } from "../domain";
import { NOW } from "../time/clock";
import { tsc_at } from "../time/time_info";
import { trap_address } from "./inject";
import { get_base, is_canonical, set_base } from "./segments";

const MSR_TSC: u32 = 0x10;
const MSR_APIC_BASE: u32 = 0x1b;
const MSR_BIOS_SIGN_ID: u32 = 0x8b;
const MSR_MCG_CAP: u32 = 0x179;
const MSR_MCG_STATUS: u32 = 0x17a;
const MSR_MCG_CTL: u32 = 0x17b;
/** MCi_CTL, STATUS, ADDR, MISC of each bank. */
const MSR_MC0_CTL: u32 = 0x400;
const MSR_MISC_ENABLE: u32 = 0x1a0;
const MSR_PAT: u32 = 0x277;
const MSR_PLATFORM_INFO: u32 = 0xce;
const MSR_MISC_FEATURES_ENABLES: u32 = 0x140;
const MSR_EFER: u32 = 0xc000_0080;
const MSR_FS_BASE: u32 = 0xc000_0100;
const MSR_GS_BASE: u32 = 0xc000_0101;
const MSR_SHADOW_GS_BASE: u32 = 0xc000_0102;
const MSR_TSC_AUX: u32 = 0xc000_0103;
const MSR_K8_HWCR: u32 = 0xc001_0015;
const MSR_K8_PSTATE_LIMIT: u32 = 0xc001_0061;
const MSR_K8_PSTATE7: u32 = 0xc001_006b;
const MSR_AMD64_DE_CFG: u32 = 0xc001_1029;

/** Machine-check banks a guest sees; nothing is ever reported in them. */
const MC_BANKS: u32 = 2;
/** The attributes Xen gives the eight PAT entries. */
const XEN_PAT: u64 = 0x0501_0007_0406;
/** Enabled, at its usual place, boot processor. */
const APIC_BASE: u64 = 0xfee0_0800;
const APIC_BASE_BSP: u64 = 0x100;
/** SCE LME LMA NX. */
export const PV_EFER: u64 = 0xd01;
const MISC_ENABLE: u64 = 1 << 11 | 1 << 12;
const CPUID_FAULTING_SUPPORTED: u64 = 0;

function is_bank(msr: u32): bool {
  return msr >= MSR_MC0_CTL && msr < MSR_MC0_CTL + MC_BANKS * 4;
}

/** False: #GP. The value goes to *out (u64). */
export function guest_rdmsr(v: Vcpu, msr: u32, out: usize): bool {
  let x: u64 = 0;
  switch (msr) {
    case MSR_TSC:
      x = tsc_at(v, NOW());
      break;
    case MSR_APIC_BASE:
      x = APIC_BASE | (v.vcpu_id == 0 ? APIC_BASE_BSP : 0);
      break;
    case MSR_BIOS_SIGN_ID:
    case MSR_MCG_STATUS:
    case MSR_MCG_CTL:
    case MSR_K8_HWCR:
    case MSR_MISC_FEATURES_ENABLES:
      break;
    case MSR_MCG_CAP:
      x = MC_BANKS;
      break;
    case MSR_PLATFORM_INFO:
      x = CPUID_FAULTING_SUPPORTED;
      break;
    case MSR_MISC_ENABLE:
      // No branch trace store, no precise events.
      x = MISC_ENABLE;
      break;
    case MSR_PAT:
      x = XEN_PAT;
      break;
    case MSR_EFER:
      x = PV_EFER;
      break;
    case MSR_FS_BASE:
      x = get_base(v, SEG.FS);
      break;
    case MSR_GS_BASE:
      x = get_base(v, SEG.GS);
      break;
    case MSR_SHADOW_GS_BASE:
      x = in_kernel_mode(v) ? v.gs_base_user : v.gs_base_kernel;
      break;
    case MSR_TSC_AUX:
      x = load<u32>(v.cpu, CpuState.tsc_aux);
      break;
    case MSR_AMD64_DE_CFG:
      // LFENCE is dispatch serialising.
      x = 2;
      break;
    default:
      if (msr >= MSR_K8_PSTATE_LIMIT && msr <= MSR_K8_PSTATE7) break;
      if (is_bank(msr)) {
        if ((msr & 3) == 0) x = u64.MAX_VALUE;
        break;
      }
      // A kernel that has no handler for #GP yet reads 0 instead.
      if (trap_address(v, VEC.GP) == 0) break;
      return false;
  }
  store<u64>(out, x);
  return true;
}

/** False: #GP. */
export function guest_wrmsr(v: Vcpu, msr: u32, x: u64): bool {
  switch (msr) {
    case MSR_FS_BASE:
      if (!is_canonical(x)) return false;
      set_base(v, SEG.FS, x);
      return true;
    case MSR_GS_BASE:
      if (!is_canonical(x)) return false;
      set_base(v, SEG.GS, x);
      return true;
    case MSR_SHADOW_GS_BASE:
      if (!is_canonical(x)) return false;
      if (in_kernel_mode(v)) v.gs_base_user = x;
      else v.gs_base_kernel = x;
      return true;
    case MSR_TSC_AUX:
      if (x >> 32) return false;
      store<u32>(v.cpu, <u32>x, CpuState.tsc_aux);
      return true;
    // Writing what is there already is no change.
    case MSR_EFER:
      return x == PV_EFER;
    case MSR_PAT:
      return x == XEN_PAT;
    case MSR_APIC_BASE:
      return x == (APIC_BASE | (v.vcpu_id == 0 ? APIC_BASE_BSP : 0));
    case MSR_MISC_ENABLE:
    case MSR_K8_HWCR:
    case MSR_AMD64_DE_CFG:
    case MSR_BIOS_SIGN_ID:
    case MSR_MCG_STATUS:
    case MSR_MCG_CTL:
      // Ignored.
      return true;
    case MSR_MISC_FEATURES_ENABLES:
      return x == 0;
    default:
      if (msr >= MSR_K8_PSTATE_LIMIT && msr <= MSR_K8_PSTATE7) return true;
      // Banks can be cleared; they hold nothing.
      if (is_bank(msr)) return (msr & 3) == 0 || x == 0;
      // The counterpart of reading 0: before there is a #GP handler a write is dropped.
      return trap_address(v, VEC.GP) == 0;
  }
}
