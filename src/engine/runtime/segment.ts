/**
 * Segment descriptors and loads of segment registers (Intel SDM vol. 3, 3.4.5, 5.5-5.8). A PV guest, which is always at CPL 3,
 * has its GDT read through CpuState.gdt_frames, the LDT at its linear address in the guest kernel's address space (ldt_root); in
 * an HVM container both are at linear addresses. Limits of segments are not enforced.
 */
import { CpuState, SEG, VEC } from '../../../build/abi/engine';
import { hvm_descriptor, hvm_mark_descriptor } from './hvm/tables';
import { ldt_entry, raise } from './mmu';
import { select_xtlb } from './tlb';

@inline export function cpl_of(cpu: usize): u32 {
  return load<u32>(cpu, CpuState.cpl);
}

// Descriptor bits.
const ACCESSED: u64 = 1 << 40;
/** The same in byte 5. */
const ACCESSED_BYTE: u32 = 1;
/** Data: writable; code: readable. */
const RW: u64 = 1 << 41;
/** Code: conforming. */
export const CONFORMING: u64 = 1 << 42;
export const CODE: u64 = 1 << 43;
/** Code or data, no system descriptor. */
export const S: u64 = 1 << 44;
export const PRESENT: u64 = 1 << 47;
export const L: u64 = 1 << 53;
export const D: u64 = 1 << 54;
const G: u64 = 1 << 55;
// Of CpuState.efer.
export const EFER_SCE: u64 = 1;
export const EFER_LMA: u64 = 1 << 10;

export function fail(cpu: usize, vector: u32, error: u32): u32 {
  raise(cpu, vector, 1, error);
  return 0;
}

@inline export function dpl(d: u64): u32 {
  return <u32>(d >> 45) & 3;
}
@inline export function base_of(d: u64): u64 {
  return ((d >> 16) & 0xffffff) | ((d >> 32) & 0xff000000);
}
/** Last byte of a descriptor's segment. */
@inline export function limit_of(d: u64): u64 {
  const raw = (d & 0xffff) | ((d >> 32) & 0xf0000);
  return d & G ? (raw << 12) | 0xfff : raw;
}
export function is_null(sel: u32): bool {
  return (sel & 0xfffc) == 0;
}

/** Linear address of sel's descriptor in an HVM container. */
function hvm_address(cpu: usize, sel: u32): u64 {
  return (sel & 4 ? load<u64>(cpu, CpuState.ldt_base) : load<u64>(cpu, CpuState.gdt_base)) + (sel & 0xfff8);
}

/** Host address of the 8 bytes of sel's descriptor; 0: the table does not reach that far (nothing recorded), 1: not readable, the fault recorded if `raising`. */
export function find(cpu: usize, sel: u32, raising: bool = true): u32 {
  const at = sel & 0xfff8;
  if (sel & 4) {
    if (sel >> 3 >= load<u32>(cpu, CpuState.ldt_ents)) return 0;
    const h = load<u32>(cpu, CpuState.hvm) != 0 ? hvm_descriptor(cpu, hvm_address(cpu, sel), raising) : ldt_entry(cpu, sel, raising);
    return h ? h : 1;
  }
  if (at + 7 > load<u32>(cpu, CpuState.gdt_limit)) return 0;
  if (load<u32>(cpu, CpuState.hvm) != 0) {
    const h = hvm_descriptor(cpu, hvm_address(cpu, sel), raising);
    return h ? h : 1;
  }
  const frame = load<u32>(cpu + ((at >> 12) << 2), CpuState.gdt_frames);
  return frame ? (frame << 12) | (at & 0xfff) : 0;
}

/**
 * Set the accessed bit; false with the fault recorded, where an HVM guest maps its table read-only. Of a PV guest only in the GDT, whose
 * frames hold nothing but descriptors.
 */
function touch(cpu: usize, sel: u32, h: u32): bool {
  if (load<u64>(h) & ACCESSED) return true;
  if (load<u32>(cpu, CpuState.hvm) != 0) return hvm_mark_descriptor(cpu, hvm_address(cpu, sel), ACCESSED_BYTE);
  if (!(sel & 4)) atomic.or<u8>(h + 5, <u8>ACCESSED_BYTE);
  return true;
}

function set_segment(cpu: usize, seg: u32, sel: u32, base: u64): void {
  store<u16>(cpu + (seg << 1), <u16>sel, CpuState.sel);
  store<u64>(cpu + (seg << 3), base, CpuState.segbase);
}

/** The base that register `seg` has when loaded with d in the present mode: 64-bit mode knows those of fs and gs only. */
function effective_base(cpu: usize, seg: u32, d: u64): u64 {
  return seg >= SEG.FS || load<u32>(cpu, CpuState.mode) != 0 ? base_of(d) : 0;
}

/** A stack segment for `cpl`: writable data of this DPL. Host address of its descriptor, or 0 with the fault recorded. */
function check_stack(cpu: usize, sel: u32, cpl: u32): u32 {
  if (is_null(sel)) return fail(cpu, VEC.GP, 0);
  const error = sel & 0xfffc;
  const h = find(cpu, sel);
  if (h == 1) return 0;
  if (h == 0) return fail(cpu, VEC.GP, error);
  const d = load<u64>(h);
  if ((sel & 3) != cpl || (d & (S | CODE | RW)) != (S | RW) || dpl(d) != cpl) return fail(cpu, VEC.GP, error);
  if (!(d & PRESENT)) return fail(cpu, VEC.SS, error);
  return h;
}

/** Load es, ss, ds, fs or gs. Returns 0 with the fault recorded, else 1. */
export function load_segment(cpu: usize, seg: u32, sel: u32): u32 {
  let h: u32;
  const cpl = cpl_of(cpu);
  if (seg == SEG.SS) {
    if (is_null(sel) && cpl != 3 && (sel & 3) == cpl && load<u32>(cpu, CpuState.mode) == 0) {
      set_segment(cpu, seg, sel, 0);
      return 1;
    }
    h = check_stack(cpu, sel, cpl);
    if (!h) return 0;
  } else {
    if (is_null(sel)) {
      set_segment(cpu, seg, sel, 0);
      return 1;
    }
    const error = sel & 0xfffc;
    h = find(cpu, sel);
    if (h == 1) return 0;
    if (h == 0) return fail(cpu, VEC.GP, error);
    const d = load<u64>(h);
    // Readable; data and non-conforming code must have a DPL that CPL and RPL reach.
    if (!(d & S) || (d & (CODE | RW)) == CODE) return fail(cpu, VEC.GP, error);
    if ((d & (CODE | CONFORMING)) != (CODE | CONFORMING) && dpl(d) < max(cpl, sel & 3)) return fail(cpu, VEC.GP, error);
    if (!(d & PRESENT)) return fail(cpu, VEC.NP, error);
  }
  const d = load<u64>(h);
  if (!touch(cpu, sel, h)) return 0;
  set_segment(cpu, seg, sel, effective_base(cpu, seg, d));
  return 1;
}

/**
 * Check a code segment for a transfer at privilege level `cpl`: by call or jmp, which stay at it, or (`ret`) by iret or far ret, where
 * the RPL is it. Only flat 64-bit and 32-bit segments exist for the engine: 16-bit ones and bases other than 0 raise #GP.
 * Returns 0 with the fault recorded, 1: compatibility mode, 2: 64-bit mode; nothing is loaded yet.
 */
export function check_code(cpu: usize, sel: u32, ret: bool, cpl: u32): u32 {
  if (is_null(sel)) return fail(cpu, VEC.GP, 0);
  const error = sel & 0xfffc;
  const h = find(cpu, sel);
  if (h == 1) return 0;
  if (h == 0) return fail(cpu, VEC.GP, error);
  const d = load<u64>(h);
  if ((d & (S | CODE)) != (S | CODE)) return fail(cpu, VEC.GP, error);
  if (ret ? (sel & 3) != cpl : !(d & CONFORMING) && (sel & 3) > cpl) return fail(cpu, VEC.GP, error);
  if (d & CONFORMING ? dpl(d) > cpl : dpl(d) != cpl) return fail(cpu, VEC.GP, error);
  if (!(d & PRESENT)) return fail(cpu, VEC.NP, error);
  const long = (d & L) != 0 && (load<u64>(cpu, CpuState.efer) & EFER_LMA) != 0;
  if (long == ((d & D) != 0) || (!long && base_of(d) != 0)) return fail(cpu, VEC.GP, error);
  if (!touch(cpu, sel, h)) return 0;
  return long ? 2 : 1;
}

/** Check a stack segment for iret; 0 with the fault recorded, else 1. */
export function check_return_stack(cpu: usize, sel: u32, cpl: u32): u32 {
  const h = check_stack(cpu, sel, cpl);
  return h && touch(cpu, sel, h) ? 1 : 0;
}

/** Load the checked code segment for privilege level `cpl`; `kind` as check_code gave it. Mode and the bases that depend on it follow. */
export function load_code(cpu: usize, sel: u32, kind: u32, cpl: u32): void {
  store<u16>(cpu + (SEG.CS << 1), <u16>((sel & ~3) | cpl), CpuState.sel);
  set_mode(cpu, kind == 2 ? 0 : 1);
}

/** A segment register becomes a null selector. */
export function load_null(cpu: usize, seg: u32, sel: u32): void {
  set_segment(cpu, seg, sel, 0);
}

/** On the way out to `cpl`: data segments that it may not have become null. */
export function leave_segments(cpu: usize, cpl: u32): void {
  leave_segment(cpu, SEG.ES, cpl);
  leave_segment(cpu, SEG.DS, cpl);
  leave_segment(cpu, SEG.FS, cpl);
  leave_segment(cpu, SEG.GS, cpl);
}

function leave_segment(cpu: usize, seg: u32, cpl: u32): void {
  const sel = <u32>load<u16>(cpu + (seg << 1), CpuState.sel);
  if (is_null(sel)) return;
  const h = find(cpu, sel, false);
  if (h <= 1) return;
  const d = load<u64>(h);
  if ((d & (S | CODE | CONFORMING)) != (S | CODE | CONFORMING) && dpl(d) < cpl) set_segment(cpu, seg, 0, 0);
}

/** Enter 64-bit (0) or compatibility mode (1): es, cs, ss and ds have bases in the latter only. */
export function set_mode(cpu: usize, mode: u32): void {
  if (load<u32>(cpu, CpuState.mode) == mode) return;
  store<u32>(cpu, mode, CpuState.mode);
  select_xtlb(cpu);
  refresh_base(cpu, SEG.ES);
  refresh_base(cpu, SEG.SS);
  refresh_base(cpu, SEG.DS);
  store<u64>(cpu + (SEG.CS << 3), 0, CpuState.segbase);
}

/** Give a segment register the base that its selector's descriptor has (0 if there is none to be read). */
function refresh_base(cpu: usize, seg: u32): void {
  let base: u64 = 0;
  if (load<u32>(cpu, CpuState.mode) != 0) {
    const sel = <u32>load<u16>(cpu + (seg << 1), CpuState.sel);
    const h = is_null(sel) ? 0 : find(cpu, sel, false);
    if (h > 1) base = base_of(load<u64>(h));
  }
  store<u64>(cpu + (seg << 3), base, CpuState.segbase);
}

/** Load the checked stack segment (after load_code). */
export function load_stack(cpu: usize, sel: u32): void {
  store<u16>(cpu + (SEG.SS << 1), <u16>sel, CpuState.sel);
  refresh_base(cpu, SEG.SS);
}

// ── lar lsl verr verw ─────────────────────────────────────────────────────────────────────────────────────────
// Each returns 0: #PF recorded, 1: not accessible (ZF = 0), 2: accessible (ZF = 1).

/** Code and data are accessible with a DPL that CPL and RPL reach, conforming code always. */
function visible(cpu: usize, sel: u32, d: u64): bool {
  return (d & (S | CODE | CONFORMING)) == (S | CODE | CONFORMING) || dpl(d) >= max(cpl_of(cpu), sel & 3);
}

/** Host address of a descriptor that lar and lsl may look at; 0: none, 1: #PF recorded. `gates`: call gates too. */
function inspect(cpu: usize, sel: u32, gates: bool): u32 {
  if (is_null(sel)) return 0;
  const h = find(cpu, sel);
  if (h <= 1) return h;
  const d = load<u64>(h);
  if (!(d & S)) {
    // In long mode: LDT, available and busy TSS, and for lar the call gate.
    const type = <u32>(d >> 40) & 15;
    if (type != 2 && type != 9 && type != 11 && !(gates && type == 12)) return 0;
  }
  return visible(cpu, sel, d) ? h : 0;
}

export function lar(cpu: usize, sel: u32): u32 {
  const h = inspect(cpu, sel & 0xffff, true);
  if (h <= 1) return 1 - h;
  store<u64>(cpu, (load<u64>(h) >> 32) & 0x00ffff00, CpuState.ret0);
  return 2;
}

export function lsl(cpu: usize, sel: u32): u32 {
  const h = inspect(cpu, sel & 0xffff, false);
  if (h <= 1) return 1 - h;
  const d = load<u64>(h);
  store<u64>(cpu, limit_of(d), CpuState.ret0);
  return 2;
}

function verify(cpu: usize, sel: u32, write: bool): u32 {
  if (is_null(sel)) return 1;
  const h = find(cpu, sel);
  if (h <= 1) return 1 - h;
  const d = load<u64>(h);
  if (!(d & S) || !visible(cpu, sel, d)) return 1;
  const ok = write ? (d & (CODE | RW)) == RW : (d & (CODE | RW)) != CODE;
  return ok ? 2 : 1;
}

export function verr(cpu: usize, sel: u32): u32 {
  return verify(cpu, sel & 0xffff, false);
}
export function verw(cpu: usize, sel: u32): u32 {
  return verify(cpu, sel & 0xffff, true);
}
