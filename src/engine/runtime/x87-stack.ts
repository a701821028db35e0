/**
 * The x87 register stack and its status (SDM vol. 1 chapter 8). An instruction's helper starts with fp_begin, works with
 * `fl` collecting exceptions, and ends with fp_end.
 *
 * Instruction and data pointers (FIP, FDP, FOP) are kept only for instructions that record an unmasked exception, which
 * is when a handler reads them (AMD's FXSAVE, and newer Intel CPUs for FDP and FOP, show no more either). FCS and FDS are
 * always 0 (CPUID.7.EBX[13]).
 */
import { CpuState } from '../../../build/abi/engine';
import { guest_read } from './mmu';
import { fl, ftz, pc, rc, rup, top, unmasked } from './softfloat/percpu';
import { IE, SF } from './softfloat/flags';
import { NAN_SE, NAN_SIG, set80 } from './softfloat/f80';

export const C0: u32 = 0x100;
export const C1: u32 = 0x200;
export const C2: u32 = 0x400;
export const C3: u32 = 0x4000;
const TOP: u32 = 0x3800;
/** Exception summary and busy. */
export const ES_B: u32 = 0x8080;

/** The status word as the guest sees it. */
// @ts-ignore: decorator
@inline
export function status(cpu: usize): u32 {
  return u32(load<u16>(cpu, CpuState.fsw)) | (u32(load<u16>(cpu, CpuState.ftop)) << 11);
}

// @ts-ignore: decorator
@inline
export function set_status(cpu: usize, sw: u32): void {
  store<u16>(cpu, u16(sw & ~TOP), CpuState.fsw);
  store<u16>(cpu, u16((sw & TOP) >> 11), CpuState.ftop);
}

// @ts-ignore: decorator
@inline
export function fp_begin(cpu: usize): void {
  const cw: u32 = load<u16>(cpu, CpuState.fcw);
  fl = 0;
  rup = 0;
  ftz = false;
  rc = (cw >> 10) & 3;
  pc = (cw >> 8) & 3;
  unmasked = ~cw & 0x3f;
  top = load<u16>(cpu, CpuState.ftop);
}

/** Condition codes C0, C2, C3 are `cc`, C1 tells of rounding up; 1 if an unmasked exception was recorded. */
// @ts-ignore: decorator
@inline
export function fp_end_cc(cpu: usize, cc: u32): u32 {
  const sw: u32 = (load<u16>(cpu, CpuState.fsw) & ~(C0 | C1 | C2 | C3)) | cc | fl | (rup << 9);
  const bad = (fl & unmasked) != 0;
  store<u16>(cpu, u16(bad ? sw | ES_B : sw), CpuState.fsw);
  return u32(bad);
}

/** The same with C0, C2, C3 unchanged. */
// @ts-ignore: decorator
@inline
export function fp_end(cpu: usize): u32 {
  const sw: u32 = (load<u16>(cpu, CpuState.fsw) & ~C1) | fl | (rup << 9);
  const bad = (fl & unmasked) != 0;
  store<u16>(cpu, u16(bad ? sw | ES_B : sw), CpuState.fsw);
  return u32(bad);
}

/** Address of ST(i). */
// @ts-ignore: decorator
@inline
export function st(cpu: usize, i: u32): usize {
  return cpu + CpuState.st + (((top + i) & 7) << 4);
}

// @ts-ignore: decorator
@inline
export function se_at(p: usize): u32 {
  return load<u16>(p, 8);
}

// @ts-ignore: decorator
@inline
export function empty(cpu: usize, i: u32): bool {
  return ((u32(load<u16>(cpu, CpuState.ftw)) >> ((top + i) & 7)) & 1) == 0;
}

// @ts-ignore: decorator
@inline
export function set_top(cpu: usize, t: u32): void {
  top = t & 7;
  store<u16>(cpu, u16(top), CpuState.ftop);
}

// @ts-ignore: decorator
@inline
export function pop(cpu: usize): void {
  store<u16>(cpu, u16(load<u16>(cpu, CpuState.ftw) & ~(u32(1) << top)), CpuState.ftw);
  set_top(cpu, top + 1);
}

export function pop_n(cpu: usize, n: u32): void {
  for (let i: u32 = 0; i < n; i++) pop(cpu);
}

/** ST(i) was empty where an operand was needed: invalid; the masked response writes the default NaN to ST(to). */
export function underflow(cpu: usize, to: u32): bool {
  fl |= IE | SF;
  rup = 0;
  if (unmasked & IE) return false;
  fill(cpu, to);
  return true;
}

/** ST(i) = default NaN, not empty. */
export function fill(cpu: usize, i: u32): void {
  mark(cpu, i);
  set80(st(cpu, i), NAN_SE, NAN_SIG);
}

// @ts-ignore: decorator
@inline
export function mark(cpu: usize, i: u32): void {
  store<u16>(cpu, u16(load<u16>(cpu, CpuState.ftw) | (u32(1) << ((top + i) & 7))), CpuState.ftw);
}

/** Room for a push? If not: stack overflow, and the masked response pushes the default NaN. */
// @ts-ignore: decorator
@inline
export function room(cpu: usize): bool {
  if (empty(cpu, 7)) return true;
  overflow(cpu);
  return false;
}

function overflow(cpu: usize): void {
  fl |= IE | SF;
  rup = 1; // C1 = 1: overflow
  if (unmasked & IE) return;
  set_top(cpu, top - 1);
  fill(cpu, 0);
}

/** Push a number (there is room). */
// @ts-ignore: decorator
@inline
export function push(cpu: usize, se: u32, sig: u64): void {
  set_top(cpu, top - 1);
  mark(cpu, 0);
  set80(st(cpu, 0), se, sig);
}

/** fsw's summary bits follow from its exceptions and fcw's masks (after fldcw, fldenv, frstor, fxrstor). */
export function fp_summary(cpu: usize): void {
  const sw: u32 = load<u16>(cpu, CpuState.fsw);
  const open = sw & ~u32(load<u16>(cpu, CpuState.fcw)) & 0x3f;
  store<u16>(cpu, u16(open ? sw | ES_B : sw & ~ES_B), CpuState.fsw);
}

/** An unmasked exception was recorded by the instruction at linear address `next` - len; `fdp`: its memory operand. */
export function fp_record(cpu: usize, next: u64, len: u32, fdp: u64, memory: u32): void {
  const rip = next - u64(len);
  store<u64>(cpu, rip - (load<u32>(cpu, CpuState.mode) ? load<u64>(cpu, CpuState.segbase + 8) : 0), CpuState.fip);
  if (memory) store<u64>(cpu, fdp, CpuState.fdp);
  store<u16>(cpu, 0, CpuState.fcs);
  store<u16>(cpu, 0, CpuState.fds);
  // Opcode: low 3 bits of the escape byte, and the modrm byte, after any prefixes.
  const buf = cpu + CpuState.bounce;
  if (guest_read(cpu, rip, u32(buf), len) != 0) return;
  for (let i: u32 = 0; i + 1 < len; i++) {
    const b: u32 = load<u8>(buf + i);
    if ((b & 0xf8) != 0xd8) continue;
    store<u16>(cpu, u16(((b & 7) << 8) | load<u8>(buf + i, 1)), CpuState.fop);
    return;
  }
}
