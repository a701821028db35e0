// Records of kinds LAPIC, LAPIC_REGS and MTRR, both ways.
import { ERRNO, HvmHwLapic, HvmHwMtrr } from "../abi";
import { Vcpu } from "../domain";
import { MTRR_CAP, mtrr_wrmsr, set_def_type, set_pat } from "./mtrr";
import { HvmVcpu, MTRR_VCNT, NUM_FIXED_MSR, hvm_vcpu } from "./vcpu";
import {
  APIC_BASE_ADDR_MASK, APIC_BASE_BSP, APIC_BASE_ENABLE, APIC_BASE_EXTD, APIC_SPIV, APIC_TASKPRI, APIC_TDCR, SPIV_ENABLED, VLAPIC_HW_DISABLED, VLAPIC_REGS_SIZE,
  VLAPIC_SW_DISABLED, Vlapic, vcpu_vlapic, vlapic_get_reg, vlapic_get_tpr, vlapic_set_reg, vlapic_set_tpr,
} from "./vlapic";
import { vlapic_set_tdcr, vlapic_timer_start } from "./vlapic_timer";

export function save_lapic(v: Vcpu, at: usize): void {
  const l = vcpu_vlapic(v);
  store<u64>(at, l.apic_base, HvmHwLapic.apic_base_msr);
  store<u32>(at, l.disabled, HvmHwLapic.disabled);
  store<u32>(at, l.timer_divisor, HvmHwLapic.timer_divisor);
}

export function load_lapic(v: Vcpu, at: usize): i64 {
  const l = vcpu_vlapic(v);
  const base = load<u64>(at, HvmHwLapic.apic_base_msr);
  if (base & ~(APIC_BASE_ADDR_MASK | APIC_BASE_BSP | APIC_BASE_ENABLE | APIC_BASE_EXTD)) return -ERRNO.EINVAL;
  if (base & APIC_BASE_EXTD && !(base & APIC_BASE_ENABLE)) return -ERRNO.EINVAL;
  l.apic_base = base;
  l.disabled = (l.disabled & VLAPIC_SW_DISABLED) | (base & APIC_BASE_ENABLE ? 0 : VLAPIC_HW_DISABLED);
  return 0;
}

export function save_lapic_regs(v: Vcpu, at: usize): void {
  const l = vcpu_vlapic(v);
  vlapic_set_reg(l, APIC_TASKPRI, vlapic_get_tpr(l));
  memory.copy(at, l.regs, VLAPIC_REGS_SIZE);
}

/** Its timer counts from the initial count again. */
export function load_lapic_regs(v: Vcpu, at: usize): i64 {
  const l = vcpu_vlapic(v);
  memory.copy(l.regs, at, VLAPIC_REGS_SIZE);
  vlapic_set_tpr(l, vlapic_get_reg(l, APIC_TASKPRI));
  vlapic_set_tdcr(l, vlapic_get_reg(l, APIC_TDCR));
  if (vlapic_get_reg(l, APIC_SPIV) & SPIV_ENABLED) l.disabled &= ~VLAPIC_SW_DISABLED;
  else l.disabled |= VLAPIC_SW_DISABLED;
  atomic.store<u32>(changetype<usize>(l) + offsetof<Vlapic>("irr_pending"), 1);
  vlapic_timer_start(l);
  return 0;
}

/** MSR of the nth fixed-range register. */
function fixed_msr(n: u32): u32 {
  return n == 0 ? 0x250 : n < 3 ? 0x257 + n : 0x265 + n;
}

export function save_mtrr(v: Vcpu, at: usize): void {
  const h = hvm_vcpu(v);
  store<u64>(at, h.pat, HvmHwMtrr.msr_pat_cr);
  memory.copy(at + HvmHwMtrr.msr_mtrr_var, h.mtrr_var, MTRR_VCNT * 16);
  memory.copy(at + HvmHwMtrr.msr_mtrr_fixed, h.mtrr_fixed, NUM_FIXED_MSR * 8);
  store<u64>(at, MTRR_CAP, HvmHwMtrr.msr_mtrr_cap);
  store<u64>(at, h.mtrr_def_type, HvmHwMtrr.msr_mtrr_def_type);
}

/** As the guest could write them. */
export function load_mtrr(v: Vcpu, at: usize): i64 {
  const h = hvm_vcpu(v);
  if ((load<u64>(at, HvmHwMtrr.msr_mtrr_cap) & 0xff) != <u64>MTRR_VCNT) return -ERRNO.EINVAL;
  return load_types(h, at) ? 0 : -ERRNO.EINVAL;
}

function load_types(h: HvmVcpu, at: usize): bool {
  for (let i: u32 = 0; i < MTRR_VCNT * 2; i++) if (!mtrr_wrmsr(h, 0x200 + i, load<u64>(at + HvmHwMtrr.msr_mtrr_var + (i << 3)))) return false;
  for (let i: u32 = 0; i < NUM_FIXED_MSR; i++) if (!mtrr_wrmsr(h, fixed_msr(i), load<u64>(at + HvmHwMtrr.msr_mtrr_fixed + (i << 3)))) return false;
  return set_pat(h, load<u64>(at, HvmHwMtrr.msr_pat_cr)) && set_def_type(h, load<u64>(at, HvmHwMtrr.msr_mtrr_def_type));
}
