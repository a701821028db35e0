// Model-specific registers of an HVM vCPU that the engine leaves to the hypervisor (it keeps those of system calls, segment bases and
// EFER: runtime/hvm/control.ts). What is not here is #GP, as in Xen 4.17 (Intel SDM vol. 4, AMD APM vol. 2 appendix A).
import { CpuState } from "../abi";
import { Vcpu } from "../domain";
import { NOW } from "../time/clock";
import { tsc_at, update_vcpu_system_time } from "../time/time_info";
import { is_canonical } from "../traps/segments";
import { wrmsr_hypercall_page } from "./hypercall_page";
import { is_mtrr_msr, mtrr_rdmsr, mtrr_wrmsr } from "./mtrr";
import { hvm_vcpu } from "./vcpu";
import { vcpu_vlapic } from "./vlapic";
import { guest_rdmsr_x2apic, guest_wrmsr_apic_base, guest_wrmsr_x2apic } from "./vlapic_access";

const MSR_TSC: u32 = 0x10;
const MSR_APIC_BASE: u32 = 0x1b;
const MSR_BIOS_SIGN_ID: u32 = 0x8b;
const MSR_MISC_FEATURES_ENABLES: u32 = 0x140;
const MSR_SYSENTER_CS: u32 = 0x174;
const MSR_SYSENTER_ESP: u32 = 0x175;
const MSR_SYSENTER_EIP: u32 = 0x176;
const MSR_MCG_CAP: u32 = 0x179;
const MSR_MCG_STATUS: u32 = 0x17a;
const MSR_MCG_CTL: u32 = 0x17b;
const MSR_MISC_ENABLE: u32 = 0x1a0;
const MSR_DEBUGCTL: u32 = 0x1d9;
/** MCi_CTL, STATUS, ADDR, MISC of each bank. */
const MSR_MC0_CTL: u32 = 0x400;
const MSR_X2APIC_FIRST: u32 = 0x800;
const MSR_X2APIC_LAST: u32 = 0x8ff;
const MSR_HYPERCALL_PAGE: u32 = 0x4000_0000;
/** Event selects and counters of the K7: there are none behind them. */
const MSR_K7_EVNTSEL0: u32 = 0xc001_0000;
const MSR_K7_PERFCTR3: u32 = 0xc001_0007;
const MSR_K8_SYSCFG: u32 = 0xc001_0010;
const MSR_K8_HWCR: u32 = 0xc001_0015;
const MSR_K8_IPM: u32 = 0xc001_0055;
const MSR_K8_PSTATE_LIMIT: u32 = 0xc001_0061;
const MSR_K8_PSTATE7: u32 = 0xc001_006b;
const MSR_K8_VM_CR: u32 = 0xc001_0114;
const MSR_AMD64_DE_CFG: u32 = 0xc001_1029;

/** Machine-check banks a guest sees; nothing is ever reported in them. */
const MC_BANKS: u32 = 2;
/** No branch trace store, no precise events. */
const MISC_ENABLE: u64 = 1 << 11 | 1 << 12;
/** LFENCE is dispatch serialising. */
const DE_CFG: u64 = 2;

function is_bank(msr: u32): bool {
  return msr >= MSR_MC0_CTL && msr < MSR_MC0_CTL + MC_BANKS * 4;
}

/** Read as 0, and writes have no effect. */
function is_ignored(msr: u32): bool {
  switch (msr) {
    case MSR_BIOS_SIGN_ID:
    case MSR_MISC_FEATURES_ENABLES:
    case MSR_MCG_STATUS:
    case MSR_MCG_CTL:
    case MSR_DEBUGCTL:
    case MSR_K8_SYSCFG:
    case MSR_K8_HWCR:
    case MSR_K8_IPM:
    case MSR_K8_VM_CR:
      return true;
  }
  if (msr >= MSR_K7_EVNTSEL0 && msr <= MSR_K7_PERFCTR3) return true;
  return msr >= MSR_K8_PSTATE_LIMIT && msr <= MSR_K8_PSTATE7;
}

/** Where the CpuState keeps it as a u64, 0: it does not. */
function cpu_slot(msr: u32): usize {
  switch (msr) {
    case MSR_SYSENTER_CS: return CpuState.sysenter_cs;
    case MSR_SYSENTER_ESP: return CpuState.sysenter_esp;
    case MSR_SYSENTER_EIP: return CpuState.sysenter_eip;
    default: return 0;
  }
}

/** False: #GP. The value goes to *out (u64). */
export function hvm_rdmsr(v: Vcpu, msr: u32, out: usize): bool {
  const at = cpu_slot(msr);
  let x: u64 = 0;
  if (at != 0) x = load<u64>(v.cpu + at);
  else if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST) return guest_rdmsr_x2apic(v, msr, out);
  else if (is_mtrr_msr(msr)) return mtrr_rdmsr(hvm_vcpu(v), msr, out);
  else if (is_bank(msr)) x = (msr & 3) == 0 ? u64.MAX_VALUE : 0;
  else if (!is_ignored(msr)) {
    switch (msr) {
      case MSR_TSC:
        x = tsc_at(v, NOW());
        break;
      case MSR_APIC_BASE:
        x = vcpu_vlapic(v).apic_base;
        break;
      case MSR_MCG_CAP:
        x = MC_BANKS;
        break;
      case MSR_MISC_ENABLE:
        x = MISC_ENABLE;
        break;
      case MSR_AMD64_DE_CFG:
        x = DE_CFG;
        break;
      // Written to name the page; read as 0.
      case MSR_HYPERCALL_PAGE:
        break;
      default:
        return false;
    }
  }
  store<u64>(out, x);
  return true;
}

/** False: #GP. */
export function hvm_wrmsr(v: Vcpu, msr: u32, x: u64): bool {
  if ((msr == MSR_SYSENTER_ESP || msr == MSR_SYSENTER_EIP) && !is_canonical(x)) return false;
  const at = cpu_slot(msr);
  if (at != 0) {
    store<u64>(v.cpu + at, x);
    return true;
  }
  if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST) return guest_wrmsr_x2apic(v, msr, x);
  if (is_mtrr_msr(msr)) return mtrr_wrmsr(hvm_vcpu(v), msr, x);
  // Banks can be cleared; they hold nothing.
  if (is_bank(msr)) return (msr & 3) == 0 || x == 0;
  if (is_ignored(msr)) return true;
  switch (msr) {
    case MSR_TSC:
      store<u64>(v.cpu, load<u64>(v.cpu, CpuState.tsc_offset) + (x - tsc_at(v, NOW())), CpuState.tsc_offset);
      update_vcpu_system_time(v);
      return true;
    case MSR_APIC_BASE:
      return guest_wrmsr_apic_base(v, x);
    case MSR_MISC_ENABLE:
    case MSR_AMD64_DE_CFG:
      return true;
    case MSR_HYPERCALL_PAGE:
      return wrmsr_hypercall_page(v.domain, x);
    default:
      return false;
  }
}
