/**
 * How events reach an HVM container's kernel, and how it gets back: interrupts and exceptions through the IDT and the TSS (Intel SDM
 * vol. 3, 6.14), syscall and sysret (AMD APM vol. 3).
 */
import { CpuState, EVENT, EXIT, GPR, NON_CANONICAL, PENDING, RFLAGS, SEG, VEC } from '../../../../build/abi/engine';
import { rflags_get, rflags_set } from '../flags';
import { canonical, raise, wrap } from '../mmu';
import { system_value } from '../percpu';
import {
  CODE, CONFORMING, D, EFER_LMA, EFER_SCE, L, PRESENT, S, dpl, fail, find, is_null, load_code, load_null, set_mode,
} from '../segment';
import { set_cpl } from './contexts';
import { frame_begin, frame_put, system_read } from './memory';

const GATE_INTERRUPT: u32 = 14;
const GATE_TRAP: u32 = 15;
/** Error-code bits: the event was no instruction's; the selector is a vector of the IDT. */
const EXT: u32 = 1;
const IDT: u32 = 2;
const RSP: usize = CpuState.gpr + 8 * GPR.RSP;
const TSS_RSP0: u64 = 4;
const TSS_IST1: u64 = 36;

/** IF may have been set, or CR8 lowered: if an interrupt waits for that, guest code is left at the next taken branch. */
export function look_for_interrupts(cpu: usize): void {
  if (load<u32>(cpu, CpuState.irq_wanted) != 0) atomic.store<u32>(cpu, PENDING, CpuState.pending);
}

/** A fault while an event is delivered. */
function failed(cpu: usize, vector: u32, error: u32, ext: u32): bool {
  fail(cpu, vector, error | ext);
  return false;
}

/** Address behind the instruction that left guest code. */
function next_rip(cpu: usize): u64 {
  return wrap(cpu, load<u64>(cpu, CpuState.rip) + load<u32>(cpu, CpuState.exit_len));
}

/** Delivers the event; false with what stopped it recorded, nothing changed. */
function deliver(cpu: usize, vector: u32, event: u32, has_error: u32, error: u32): bool {
  const ext: u32 = event == EVENT.SOFTWARE ? 0 : EXT;
  const gate_error = (vector << 3) | IDT;
  const at = vector << 4;
  // Before long mode there is no IDT that this one could use.
  if (!(load<u64>(cpu, CpuState.efer) & EFER_LMA) || at + 15 > load<u32>(cpu, CpuState.idt_limit)) return failed(cpu, VEC.GP, gate_error, ext);
  const idt = load<u64>(cpu, CpuState.idt_base) + at;
  if (!system_read(cpu, idt)) return false;
  const gate = system_value;
  if (!system_read(cpu, idt + 8)) return false;
  const rip = (gate & 0xffff) | ((gate >> 32) & 0xffff_0000) | (system_value << 32);
  const type = <u32>(gate >> 40) & 31;
  const cpl = load<u32>(cpu, CpuState.cpl);
  if (type != GATE_INTERRUPT && type != GATE_TRAP) return failed(cpu, VEC.GP, gate_error, ext);
  if (event == EVENT.SOFTWARE && dpl(gate) < cpl) return failed(cpu, VEC.GP, gate_error, 0);
  if (!(gate & PRESENT)) return failed(cpu, VEC.NP, gate_error, ext);

  const sel = <u32>(gate >> 16) & 0xffff;
  if (is_null(sel)) return failed(cpu, VEC.GP, 0, ext);
  const h = find(cpu, sel);
  if (h == 1) return false;
  if (h == 0) return failed(cpu, VEC.GP, sel & 0xfffc, ext);
  const d = load<u64>(h);
  if ((d & (S | CODE | L | D)) != (S | CODE | L) || dpl(d) > cpl) return failed(cpu, VEC.GP, sel & 0xfffc, ext);
  if (!(d & PRESENT)) return failed(cpu, VEC.NP, sel & 0xfffc, ext);
  if (!canonical(rip)) return failed(cpu, VEC.GP, 0, ext);
  const to = d & CONFORMING ? cpl : dpl(d);

  const old_rsp = load<u64>(cpu, RSP);
  let rsp = old_rsp;
  const ist = (gate >> 32) & 7;
  if (ist != 0 || to != cpl) {
    const slot = ist != 0 ? TSS_IST1 + ((ist - 1) << 3) : TSS_RSP0 + (<u64>to << 3);
    if (slot + 7 > load<u32>(cpu, CpuState.tr_limit)) return failed(cpu, VEC.TS, load<u16>(cpu + (SEG.TR << 1), CpuState.sel) & 0xfffc, ext);
    if (!system_read(cpu, load<u64>(cpu, CpuState.tr_base) + slot)) return false;
    rsp = system_value;
    if (!canonical(rsp)) return failed(cpu, VEC.SS, 0, ext);
  }
  const slots: u32 = has_error ? 6 : 5;
  rsp = (rsp & ~0xf) - (slots << 3);
  set_cpl(cpu, to);
  if (!frame_begin(cpu, rsp, slots)) {
    set_cpl(cpu, cpl);
    // A stack that is no address is a stack fault.
    if (load<u32>(cpu, CpuState.exit_has_error) == NON_CANONICAL) return failed(cpu, VEC.SS, 0, ext);
    return false;
  }
  const flags = rflags_get(cpu);
  let i: u32 = 0;
  if (has_error) frame_put(i++, error);
  frame_put(i++, event == EVENT.SOFTWARE ? next_rip(cpu) : load<u64>(cpu, CpuState.rip));
  frame_put(i++, load<u16>(cpu + (SEG.CS << 1), CpuState.sel));
  // A fault's instruction is executed again without its breakpoint.
  frame_put(i++, event == EVENT.EXCEPTION && is_fault(vector) ? flags | RFLAGS.RF : flags);
  frame_put(i++, old_rsp);
  frame_put(i, load<u16>(cpu + (SEG.SS << 1), CpuState.sel));

  let clear: u64 = RFLAGS.TF | RFLAGS.NT | RFLAGS.VM | RFLAGS.RF;
  if (type == GATE_INTERRUPT) clear |= RFLAGS.IF;
  store<u64>(cpu, load<u64>(cpu, CpuState.rflags) & ~clear, CpuState.rflags);
  load_code(cpu, sel, 2, to);
  if (to != cpl) load_null(cpu, SEG.SS, to);
  store<u64>(cpu, rsp, RSP);
  store<u64>(cpu, rip, CpuState.rip);
  store<u32>(cpu, 0, CpuState.int_shadow);
  return true;
}

function is_fault(vector: u32): bool {
  return vector != VEC.DB && vector != VEC.BP && vector != VEC.OF && vector != VEC.DF && vector != VEC.MC;
}

/** #DE #TS #NP #SS #GP. */
function contributory(vector: u32): bool {
  return vector == VEC.DE || (vector >= VEC.TS && vector <= VEC.GP);
}

/** Of `event` (EVENT.*; SOFTWARE: by the instruction at rip, of exit_len bytes): 1 when it is delivered; 0 with exit_reason NPF, RENDEZVOUS (to be asked for again) or TRIPLE_FAULT, nothing changed. */
export function hvm_inject(cpu: usize, vector: u32, event: u32, has_error: u32, error: u32): u32 {
  while (!deliver(cpu, vector, event, has_error, error)) {
    if (load<u32>(cpu, CpuState.exit_reason) != EXIT.EXCEPTION) return 0;
    const next = load<u32>(cpu, CpuState.exit_vector);
    if (event == EVENT.EXCEPTION && vector == VEC.DF) {
      store<u32>(cpu, EXIT.TRIPLE_FAULT, CpuState.exit_reason);
      return 0;
    }
    const twice = event == EVENT.EXCEPTION &&
      ((contributory(vector) && contributory(next)) || (vector == VEC.PF && (contributory(next) || next == VEC.PF)));
    event = EVENT.EXCEPTION;
    vector = twice ? VEC.DF : next;
    has_error = 1;
    error = twice ? 0 : load<u32>(cpu, CpuState.exit_error);
  }
  return 1;
}

export function undefined_opcode(cpu: usize): u32 {
  raise(cpu, VEC.UD, 0, 0);
  return 0;
}

/** STAR's selectors have fixed descriptors: flat code, 64-bit (kind 2) or not, and data. */
function load_star(cpu: usize, cs: u32, kind: u32, ss: u32, cpl: u32): void {
  store<u16>(cpu + (SEG.CS << 1), <u16>((cs & ~3) | cpl), CpuState.sel);
  store<u16>(cpu + (SEG.SS << 1), <u16>((ss & ~3) | cpl), CpuState.sel);
  store<u64>(cpu + (SEG.SS << 3), 0, CpuState.segbase);
  set_mode(cpu, kind == 2 ? 0 : 1);
  set_cpl(cpu, cpl);
}

/** Flags of syscall and sysret: it is those they load that decide whether a single-step trap follows. */
function load_flags(cpu: usize, v: u64): void {
  rflags_set(cpu, v);
  if (!(v & RFLAGS.TF)) store<u32>(cpu, 1, CpuState.int_shadow);
}

/** `syscall`; `next`: address of the instruction behind it. */
export function hvm_syscall(cpu: usize, next: u64): u32 {
  const efer = load<u64>(cpu, CpuState.efer);
  if (!(efer & EFER_SCE) || !(efer & EFER_LMA)) return undefined_opcode(cpu);
  const star = load<u64>(cpu, CpuState.star);
  const flags = rflags_get(cpu);
  store<u64>(cpu + CpuState.gpr + (GPR.RCX << 3), next);
  store<u64>(cpu + CpuState.gpr + (GPR.R11 << 3), flags & ~<u64>RFLAGS.RF);
  const target = load<u32>(cpu, CpuState.mode) == 0 ? load<u64>(cpu, CpuState.lstar) : load<u64>(cpu, CpuState.cstar);
  load_flags(cpu, flags & ~(load<u64>(cpu, CpuState.sfmask) | RFLAGS.RF));
  const cs = <u32>(star >> 32) & 0xffff;
  load_star(cpu, cs, 2, cs + 8, 0);
  store<u64>(cpu, target, CpuState.rip);
  return 1;
}

/** Flags that sysret takes from r11. */
const SYSRET_FLAGS: u64 = 0x3c_7fd7;

/** `sysret` at CPL 0; to 64-bit mode if `wide`, else to compatibility mode. */
export function hvm_sysret(cpu: usize, wide: u32): u32 {
  if (!(load<u64>(cpu, CpuState.efer) & EFER_SCE)) return undefined_opcode(cpu);
  const sel = <u32>(load<u64>(cpu, CpuState.star) >> 48);
  const rip = load<u64>(cpu + CpuState.gpr + (GPR.RCX << 3));
  load_flags(cpu, (load<u64>(cpu + CpuState.gpr + (GPR.R11 << 3)) & SYSRET_FLAGS) | 2);
  load_star(cpu, wide ? sel + 16 : sel, wide ? 2 : 1, sel + 8, 3);
  store<u64>(cpu, wide ? rip : rip & 0xffff_ffff, CpuState.rip);
  look_for_interrupts(cpu);
  return 1;
}
