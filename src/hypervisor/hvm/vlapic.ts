// The local APIC of an HVM vCPU: its registers, what is pending and in service, and interprocessor interrupts (Xen's
// hvm/vlapic.c; Intel SDM vol. 3, chapter 11). vlapic_access.ts is how the guest gets at them, vlapic_timer.ts the timer. Other pCPUs
// set IRR bits only, atomically; all else is changed by the vCPU itself, or while it is paused.
import { CpuState } from "../abi";
import { Vcpu, domain_vcpu, is_null } from "../domain";
import { send_nmi } from "../hypercalls/vcpu_op";
import { xfree, xzalloc } from "../mm/xmalloc";
import { vcpu_kick } from "../sched/sched";
import { Timer } from "../time/timer";
import { vlapic_timer_init, vlapic_timer_kill, vlapic_timer_stop } from "./vlapic_timer";

// Register offsets in the APIC page.
export const APIC_ID: u32 = 0x20;
export const APIC_LVR: u32 = 0x30;
export const APIC_TASKPRI: u32 = 0x80;
export const APIC_PROCPRI: u32 = 0xa0;
export const APIC_EOI: u32 = 0xb0;
export const APIC_LDR: u32 = 0xd0;
export const APIC_DFR: u32 = 0xe0;
export const APIC_SPIV: u32 = 0xf0;
export const APIC_ISR: u32 = 0x100;
export const APIC_TMR: u32 = 0x180;
export const APIC_IRR: u32 = 0x200;
export const APIC_ESR: u32 = 0x280;
export const APIC_ICR: u32 = 0x300;
export const APIC_ICR2: u32 = 0x310;
export const APIC_LVTT: u32 = 0x320;
export const APIC_LVTTHMR: u32 = 0x330;
export const APIC_LVTPC: u32 = 0x340;
export const APIC_LVT0: u32 = 0x350;
export const APIC_LVT1: u32 = 0x360;
export const APIC_LVTERR: u32 = 0x370;
export const APIC_TMICT: u32 = 0x380;
export const APIC_TMCCT: u32 = 0x390;
export const APIC_TDCR: u32 = 0x3e0;
/** Bytes of the register page that are kept, and saved. */
export const VLAPIC_REGS_SIZE: u32 = 1024;

/** Version 0x14, six local vector table entries. */
const VLAPIC_VERSION: u32 = 0x0005_0014;
export const LVT_MASKED: u32 = 1 << 16;
export const SPIV_ENABLED: u32 = 1 << 8;

/** IA32_APIC_BASE. */
export const APIC_BASE_BSP: u64 = 1 << 8;
export const APIC_BASE_EXTD: u64 = 1 << 10;
export const APIC_BASE_ENABLE: u64 = 1 << 11;
export const APIC_BASE_ADDR_MASK: u64 = 0xff_ffff_f000;
export const APIC_DEFAULT_PHYS_BASE: u64 = 0xfee0_0000;

/** Vlapic.disabled. */
export const VLAPIC_HW_DISABLED: u32 = 1;
export const VLAPIC_SW_DISABLED: u32 = 2;

// The interrupt command register.
const ICR_MODE: u32 = 0x700;
const ICR_FIXED: u32 = 0;
const ICR_LOWEST: u32 = 0x100;
const ICR_NMI: u32 = 0x400;
const ICR_LOGICAL: u32 = 1 << 11;
const ICR_LEVEL: u32 = 1 << 15;
/** Bits 18 and 19. */
const SHORT_NONE: u32 = 0;
const SHORT_SELF: u32 = 1;
const SHORT_ALL: u32 = 2;

const ESR_SENDILL: u32 = 1 << 5;
const ESR_RECVILL: u32 = 1 << 6;

@unmanaged
export class Vlapic {
  apic_base: u64;
  /** System time when the initial count was written, or when the periodic timer last fired. */
  timer_last_update: u64;
  /** Machine address of the register page, in the same block; and of the CpuState, whose cr8 is the upper half of the TPR. */
  regs: usize;
  cpu: usize;
  timer: Timer;
  /** VLAPIC_*_DISABLED. */
  disabled: u32;
  timer_divisor: u32;
  pending_esr: u32;
  /** An IRR bit may be set (atomic): set behind it, and cleared before it is looked for in vain. */
  irr_pending: u32;
  /** The periodic timer was not armed again, as the vCPU is paused (atomic). */
  timer_stalled: u32;
}

// @ts-ignore: decorator
@inline
export function vcpu_vlapic(v: Vcpu): Vlapic {
  return changetype<Vlapic>(v.vlapic);
}

// @ts-ignore: decorator
@inline
export function vlapic_get_reg(l: Vlapic, reg: u32): u32 {
  return load<u32>(l.regs + reg);
}
// @ts-ignore: decorator
@inline
export function vlapic_set_reg(l: Vlapic, reg: u32, x: u32): void {
  store<u32>(l.regs + reg, x);
}

export function vlapic_x2apic_mode(l: Vlapic): bool {
  return (l.apic_base & APIC_BASE_EXTD) != 0;
}

// @ts-ignore: decorator
@inline
export function vlapic_enabled(l: Vlapic): bool {
  return l.disabled == 0;
}

/** Word of a 256-bit register that holds `vector`. */
// @ts-ignore: decorator
@inline
function word(l: Vlapic, base: u32, vector: u32): usize {
  return l.regs + base + ((vector >> 5) << 4);
}
// @ts-ignore: decorator
@inline
function bit(vector: u32): u32 {
  return (<u32>1) << (vector & 31);
}

/** Highest vector that is set in one of them, -1: none. */
function find_highest(l: Vlapic, base: u32): i32 {
  for (let i: i32 = 7; i >= 0; i--) {
    const w = atomic.load<u32>(l.regs + base + (<u32>i << 4));
    if (w != 0) return (i << 5) + 31 - <i32>clz<u32>(w);
  }
  return -1;
}

/** APIC id of a vCPU. */
export function apic_id_of(v: Vcpu): u32 {
  return v.vcpu_id * 2;
}

export function set_x2apic_id(v: Vcpu, l: Vlapic): void {
  const id = apic_id_of(v);
  vlapic_set_reg(l, APIC_ID, id);
  vlapic_set_reg(l, APIC_LDR, ((id & ~0xf) << 12) | (1 << (id & 0xf)));
}

/** As after power-up, but for APIC_BASE. */
export function vlapic_do_init(v: Vcpu): void {
  const l = vcpu_vlapic(v);
  memory.fill(l.regs, 0, VLAPIC_REGS_SIZE);
  vlapic_set_reg(l, APIC_ID, apic_id_of(v) << 24);
  vlapic_set_reg(l, APIC_LVR, VLAPIC_VERSION);
  vlapic_set_reg(l, APIC_DFR, u32.MAX_VALUE);
  vlapic_set_reg(l, APIC_SPIV, 0xff);
  vlapic_set_tpr(l, 0);
  mask_lvts(l);
  l.disabled |= VLAPIC_SW_DISABLED;
  l.timer_divisor = 2;
  l.pending_esr = 0;
  atomic.store<u32>(changetype<usize>(l) + offsetof<Vlapic>("irr_pending"), 0);
  vlapic_timer_stop(l);
}

export function mask_lvts(l: Vlapic): void {
  for (let reg = APIC_LVTT; reg <= APIC_LVTERR; reg += 0x10) vlapic_set_reg(l, reg, vlapic_get_reg(l, reg) | LVT_MASKED);
}

export function vlapic_reset(v: Vcpu): void {
  const l = vcpu_vlapic(v);
  l.apic_base = APIC_DEFAULT_PHYS_BASE | APIC_BASE_ENABLE | (v.vcpu_id == 0 ? APIC_BASE_BSP : 0);
  l.disabled = 0;
  vlapic_do_init(v);
}

/** False: no memory. */
export function vlapic_init(v: Vcpu): bool {
  const size = <u32>offsetof<Vlapic>();
  const p = xzalloc(VLAPIC_REGS_SIZE + size + <u32>offsetof<Timer>(), 64);
  if (p == 0) return false;
  const l = changetype<Vlapic>(p);
  l.timer = changetype<Timer>(p + size);
  l.cpu = v.cpu;
  l.regs = p + size + offsetof<Timer>();
  v.vlapic = p;
  vlapic_timer_init(v, l);
  vlapic_reset(v);
  return true;
}

/** The vCPU goes away and its timer with it. */
export function vlapic_kill(v: Vcpu): void {
  if (v.vlapic != 0) vlapic_timer_kill(vcpu_vlapic(v));
}
export function vlapic_destroy(v: Vcpu): void {
  if (v.vlapic != 0) xfree(v.vlapic);
  v.vlapic = 0;
}

/** The interrupt becomes pending; any CPU may say so. */
export function vlapic_set_irq(v: Vcpu, vector: u32, level: bool): void {
  const l = vcpu_vlapic(v);
  if (vector < 16) {
    vlapic_error(v, ESR_RECVILL);
    return;
  }
  if (level) atomic.or<u32>(word(l, APIC_TMR, vector), bit(vector));
  else atomic.and<u32>(word(l, APIC_TMR, vector), ~bit(vector));
  const old = atomic.or<u32>(word(l, APIC_IRR, vector), bit(vector));
  atomic.store<u32>(changetype<usize>(l) + offsetof<Vlapic>("irr_pending"), 1);
  if (!(old & bit(vector))) vcpu_kick(v);
}

function vlapic_error(v: Vcpu, bits: u32): void {
  const l = vcpu_vlapic(v);
  if ((l.pending_esr & bits) == bits) return;
  l.pending_esr |= bits;
  const lvterr = vlapic_get_reg(l, APIC_LVTERR);
  // A vector that is illegal itself would be the next error.
  if (!(lvterr & LVT_MASKED) && (lvterr & 0xff) >= 16) vlapic_set_irq(v, lvterr & 0xff, false);
}

export function vlapic_get_tpr(l: Vlapic): u32 {
  return (vlapic_get_reg(l, APIC_TASKPRI) & 0xf) | ((<u32>load<u64>(l.cpu, CpuState.cr8) & 0xf) << 4);
}
export function vlapic_set_tpr(l: Vlapic, x: u32): void {
  vlapic_set_reg(l, APIC_TASKPRI, x & 0xff);
  store<u64>(l.cpu, (x >> 4) & 0xf, CpuState.cr8);
}

/** Priority below which interrupts wait: the task's, or that of what is in service. */
export function vlapic_get_ppr(l: Vlapic): u32 {
  const tpr = vlapic_get_tpr(l);
  const isr = find_highest(l, APIC_ISR);
  const isrv: u32 = isr < 0 ? 0 : <u32>isr;
  return (tpr & 0xf0) >= (isrv & 0xf0) ? tpr : isrv & 0xf0;
}

/** The vector that the vCPU is to take now, or -1. */
export function vlapic_has_pending_irq(v: Vcpu): i32 {
  const l = vcpu_vlapic(v);
  const flag = changetype<usize>(l) + offsetof<Vlapic>("irr_pending");
  if (atomic.load<u32>(flag) == 0) return -1;
  let irr = find_highest(l, APIC_IRR);
  if (irr < 0) {
    atomic.store<u32>(flag, 0);
    // One that came meanwhile has set the flag before this cleared it.
    irr = find_highest(l, APIC_IRR);
    if (irr < 0) return -1;
    atomic.store<u32>(flag, 1);
  }
  if (!vlapic_enabled(l)) return -1;
  return (<u32>irr & 0xf0) > (vlapic_get_ppr(l) & 0xf0) ? irr : -1;
}

/** Does one wait for nothing but a lower task priority, which the guest sets without leaving guest code (CR8)? */
export function vlapic_waits_for_tpr(v: Vcpu): bool {
  const l = vcpu_vlapic(v);
  if (atomic.load<u32>(changetype<usize>(l) + offsetof<Vlapic>("irr_pending")) == 0 || !vlapic_enabled(l)) return false;
  return (find_highest(l, APIC_IRR) & ~15) > max(find_highest(l, APIC_ISR) & ~15, 0);
}

/** It has been delivered: in service from now on. */
export function vlapic_ack_pending_irq(v: Vcpu, vector: u32): void {
  const l = vcpu_vlapic(v);
  atomic.or<u32>(word(l, APIC_ISR, vector), bit(vector));
  atomic.and<u32>(word(l, APIC_IRR, vector), ~bit(vector));
}

export function vlapic_eoi(l: Vlapic): void {
  const isr = find_highest(l, APIC_ISR);
  if (isr >= 0) atomic.and<u32>(word(l, APIC_ISR, <u32>isr), ~bit(<u32>isr));
}

/** Does `dest` of an interrupt name this vCPU? */
function vlapic_match_dest(v: Vcpu, dest: u32, logical: bool): bool {
  const l = vcpu_vlapic(v);
  const x2 = vlapic_x2apic_mode(l);
  if (dest == (x2 ? u32.MAX_VALUE : 0xff)) return true;
  if (!logical) return dest == apic_id_of(v);
  const ldr = vlapic_get_reg(l, APIC_LDR);
  if (x2) return dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff) != 0;
  const id = ldr >> 24;
  // Flat model, or clusters of four.
  if (vlapic_get_reg(l, APIC_DFR) >> 28 == 0xf) return (id & dest) != 0;
  return (id ^ dest) >> 4 == 0 && (id & dest & 0xf) != 0;
}

/** An interprocessor interrupt: the command register was written. */
export function vlapic_ipi(v: Vcpu, icr_low: u32, icr_high: u32): void {
  const d = v.domain;
  const mode = icr_low & ICR_MODE;
  const vector = icr_low & 0xff;
  const shorthand = (icr_low >> 18) & 3;
  const dest = vlapic_x2apic_mode(vcpu_vlapic(v)) ? icr_high : icr_high >> 24;
  if (mode <= ICR_LOWEST && vector < 16) {
    vlapic_error(v, ESR_SENDILL);
    return;
  }
  for (let i: u32 = 0; i < d.max_vcpus; i++) {
    const t = domain_vcpu(d, i);
    if (is_null(t)) continue;
    let hit = shorthand == SHORT_ALL || (shorthand == SHORT_SELF) == (t == v);
    if (shorthand == SHORT_NONE) hit = vlapic_match_dest(t, dest, (icr_low & ICR_LOGICAL) != 0);
    if (!hit) continue;
    // INIT and startup wake other vCPUs, of which there are none; the other modes are no vCPU's.
    if (mode == ICR_NMI) send_nmi(t);
    else if (mode == ICR_FIXED || mode == ICR_LOWEST) {
      if (vlapic_enabled(vcpu_vlapic(t))) vlapic_set_irq(t, vector, (icr_low & ICR_LEVEL) != 0);
      if (mode == ICR_LOWEST) return;
    }
  }
}
