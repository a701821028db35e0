// How a guest reads and writes its local APIC's registers: through the page at APIC_BASE (xAPIC), or MSRs 0x800 to 0x83f
// (x2APIC), and APIC_BASE itself (Intel SDM vol. 3, 11.4 and 11.12).
import { Vcpu } from "../domain";
import {
  APIC_BASE_ADDR_MASK, APIC_BASE_BSP, APIC_BASE_ENABLE, APIC_BASE_EXTD, APIC_DFR, APIC_EOI, APIC_ESR, APIC_ICR, APIC_ICR2, APIC_ID,
  APIC_ISR, APIC_LDR, APIC_LVR, APIC_LVT0, APIC_LVT1, APIC_LVTERR, APIC_LVTPC, APIC_LVTT, APIC_LVTTHMR, APIC_PROCPRI, APIC_SPIV, APIC_TASKPRI,
  APIC_TDCR, APIC_TMCCT, APIC_TMICT, LVT_MASKED, SPIV_ENABLED, VLAPIC_HW_DISABLED, VLAPIC_SW_DISABLED, Vlapic, mask_lvts,
  set_x2apic_id, vcpu_vlapic, vlapic_do_init, vlapic_eoi, vlapic_get_ppr, vlapic_get_reg, vlapic_get_tpr, vlapic_ipi, vlapic_set_irq, vlapic_set_reg,
  vlapic_set_tpr,  vlapic_x2apic_mode,
} from "./vlapic";
import { LVTT_PERIODIC, vlapic_get_tmcct, vlapic_set_tdcr, vlapic_timer_start } from "./vlapic_timer";

const SPIV_WRITABLE: u32 = 0x3ff;
/** Vector and mask; with delivery mode; with polarity and trigger mode. */
const LVT_BASIC: u32 = 0x100ff;
const LVT_MODE: u32 = 0x107ff;
const LVT_LINT: u32 = 0x1a7ff;
/** "Send pending" is never on. */
const ICR_BUSY: u32 = 1 << 12;
/** Vector, delivery and destination mode, assert, trigger, shorthand. */
const X2APIC_ICR_VALID: u32 = 0xccfff & ~ICR_BUSY;
const MSR_X2APIC_FIRST: u32 = 0x800;
const X2APIC_SELF_IPI: u32 = 0x3f0;
/** Bits of APIC_BASE that exist. */
const APIC_BASE_VALID: u64 = APIC_BASE_ADDR_MASK | APIC_BASE_ENABLE | APIC_BASE_EXTD | APIC_BASE_BSP;

function lvt_writable(reg: u32): u32 {
  switch (reg) {
    case APIC_LVTT: return LVT_BASIC | LVTT_PERIODIC;
    case APIC_LVTTHMR:
    case APIC_LVTPC: return LVT_MODE;
    case APIC_LVT0:
    case APIC_LVT1: return LVT_LINT;
    default: return LVT_BASIC;
  }
}

/** Has x2APIC mode a register there that can be read? The page has those, DFR, and 0 elsewhere. */
function readable(reg: u32): bool {
  if (reg >= APIC_ISR && reg < APIC_ESR) return true;
  switch (reg) {
    case APIC_ID:
    case APIC_LVR:
    case APIC_TASKPRI:
    case APIC_PROCPRI:
    case APIC_LDR:
    case APIC_SPIV:
    case APIC_ESR:
    case APIC_ICR:
    case APIC_LVTT:
    case APIC_LVTTHMR:
    case APIC_LVTPC:
    case APIC_LVT0:
    case APIC_LVT1:
    case APIC_LVTERR:
    case APIC_TMICT:
    case APIC_TMCCT:
    case APIC_TDCR:
      return true;
    default:
      return false;
  }
}

function read_aligned(l: Vlapic, reg: u32): u32 {
  switch (reg) {
    case APIC_TASKPRI: return vlapic_get_tpr(l);
    case APIC_PROCPRI: return vlapic_get_ppr(l);
    case APIC_TMCCT: return vlapic_get_tmcct(l);
    case APIC_ICR2:
    case APIC_DFR: return vlapic_get_reg(l, reg);
    default: return readable(reg) ? vlapic_get_reg(l, reg) : 0;
  }
}

function write_spiv(l: Vlapic, x: u32): void {
  vlapic_set_reg(l, APIC_SPIV, x & SPIV_WRITABLE);
  if (x & SPIV_ENABLED) l.disabled &= ~VLAPIC_SW_DISABLED;
  else {
    l.disabled |= VLAPIC_SW_DISABLED;
    mask_lvts(l);
  }
}

function write_lvt(l: Vlapic, reg: u32, x: u32): void {
  const was = vlapic_get_reg(l, reg);
  if (l.disabled & VLAPIC_SW_DISABLED) x |= LVT_MASKED;
  vlapic_set_reg(l, reg, x & lvt_writable(reg));
  if (reg == APIC_LVTT && ((was ^ x) & LVTT_PERIODIC) != 0) vlapic_timer_start(l);
}

/** One of the registers that both ways have, from ESR on; others are read-only. */
function write_reg(v: Vcpu, l: Vlapic, reg: u32, x: u32): void {
  switch (reg) {
    case APIC_TASKPRI:
      vlapic_set_tpr(l, x);
      break;
    case APIC_EOI:
      vlapic_eoi(l);
      break;
    case APIC_SPIV:
      write_spiv(l, x);
      break;
    case APIC_ESR:
      // A write latches what was found since the last one.
      vlapic_set_reg(l, reg, l.pending_esr);
      l.pending_esr = 0;
      break;
    case APIC_ICR:
      vlapic_set_reg(l, reg, x & ~ICR_BUSY);
      vlapic_ipi(v, x & ~ICR_BUSY, vlapic_get_reg(l, APIC_ICR2));
      break;
    case APIC_LVTT:
    case APIC_LVTTHMR:
    case APIC_LVTPC:
    case APIC_LVT0:
    case APIC_LVT1:
    case APIC_LVTERR:
      write_lvt(l, reg, x);
      break;
    case APIC_TMICT:
      vlapic_set_reg(l, reg, x);
      vlapic_timer_start(l);
      break;
    case APIC_TDCR:
      vlapic_set_tdcr(l, x);
      vlapic_timer_start(l);
      break;
  }
}

/** Is `gpa` in the page that the vCPU's local APIC answers at? */
export function vlapic_range(v: Vcpu, gpa: u64): bool {
  const l = vcpu_vlapic(v);
  if (l.disabled & VLAPIC_HW_DISABLED || vlapic_x2apic_mode(l)) return false;
  return (gpa & ~0xfff) == (l.apic_base & APIC_BASE_ADDR_MASK);
}

/** Reads `size` bytes at `offset` of the page: of the 16 bytes of a register the first four are it. */
export function vlapic_mmio_read(v: Vcpu, offset: u32, size: u32): u64 {
  const at = offset & 15;
  const x = <u64>read_aligned(vcpu_vlapic(v), offset & 0xff0);
  return at + size > 4 ? (at >= 4 ? 0 : x >> (at << 3)) : x >> (at << 3);
}

/** Only aligned writes of 32 bits do something. */
export function vlapic_mmio_write(v: Vcpu, offset: u32, size: u32, x: u64): void {
  if (size != 4 || (offset & 15) != 0) return;
  const l = vcpu_vlapic(v);
  switch (offset) {
    case APIC_LDR:
      vlapic_set_reg(l, offset, <u32>x & 0xff00_0000);
      break;
    case APIC_DFR:
      vlapic_set_reg(l, offset, <u32>x | 0x0fff_ffff);
      break;
    case APIC_ICR2:
      vlapic_set_reg(l, offset, <u32>x & 0xff00_0000);
      break;
    default:
      write_reg(v, l, offset, <u32>x);
  }
}

/** rdmsr 0x800 to 0x8ff; the value goes to *out (u64). False: #GP. */
export function guest_rdmsr_x2apic(v: Vcpu, msr: u32, out: usize): bool {
  const l = vcpu_vlapic(v);
  const reg = (msr - MSR_X2APIC_FIRST) << 4;
  if (!vlapic_x2apic_mode(l) || !readable(reg)) return false;
  let x = <u64>read_aligned(l, reg);
  if (reg == APIC_ICR) x |= <u64>vlapic_get_reg(l, APIC_ICR2) << 32;
  store<u64>(out, x);
  return true;
}

/** False: #GP. */
export function guest_wrmsr_x2apic(v: Vcpu, msr: u32, x: u64): bool {
  const l = vcpu_vlapic(v);
  const reg = (msr - MSR_X2APIC_FIRST) << 4;
  if (!vlapic_x2apic_mode(l)) return false;
  if (reg == APIC_ICR) {
    if (<u32>x & ~X2APIC_ICR_VALID) return false;
    vlapic_set_reg(l, APIC_ICR2, <u32>(x >> 32));
    write_reg(v, l, reg, <u32>x);
    return true;
  }
  if (x >> 32) return false;
  const low = <u32>x;
  switch (reg) {
    case APIC_TASKPRI:
      if (low >> 8) return false;
      break;
    case APIC_SPIV:
      if (low & ~SPIV_WRITABLE) return false;
      break;
    case APIC_EOI:
    case APIC_ESR:
      if (low) return false;
      break;
    case APIC_LVTT:
    case APIC_LVTTHMR:
    case APIC_LVTPC:
    case APIC_LVT0:
    case APIC_LVT1:
    case APIC_LVTERR:
      if (low & ~lvt_writable(reg)) return false;
      break;
    case APIC_TMICT:
      break;
    case APIC_TDCR:
      if (low & ~0xb) return false;
      break;
    case X2APIC_SELF_IPI:
      if (low >> 8) return false;
      vlapic_set_irq(v, low, false);
      return true;
    default:
      return false;
  }
  write_reg(v, l, reg, low);
  return true;
}

/** False: #GP. Modes change as Intel SDM vol. 3, 11.12.5 has it. */
export function guest_wrmsr_apic_base(v: Vcpu, x: u64): bool {
  const l = vcpu_vlapic(v);
  if (x & ~APIC_BASE_VALID) return false;
  const was = l.apic_base;
  const extd = (x & APIC_BASE_EXTD) != 0;
  const enable = (x & APIC_BASE_ENABLE) != 0;
  if (extd && !enable) return false;
  // x2APIC mode is left by disabling only, and is not entered from "disabled".
  if (was & APIC_BASE_EXTD && enable && !extd) return false;
  if (!(was & APIC_BASE_ENABLE) && extd) return false;
  l.apic_base = x;
  if (enable && !(was & APIC_BASE_ENABLE)) {
    l.disabled &= ~VLAPIC_HW_DISABLED;
    vlapic_do_init(v);
  } else if (!enable) l.disabled |= VLAPIC_HW_DISABLED;
  if (extd && !(was & APIC_BASE_EXTD)) set_x2apic_id(v, l);
  return true;
}
