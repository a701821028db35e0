/**
 * Hardware breakpoints: DR0 to DR3 as DR7 enables them (Intel SDM vol. 3, 17.2). Guest code pays nothing while there are
 * none, and next to nothing elsewhere than in their pages while there are: a page in which data is watched never gets a tag
 * in the TLB, and one with an execution breakpoint none in the execute TLB, so that the slow paths see every access.
 *
 * An access to what is watched leaves guest code before it has changed anything (RENDEZVOUS.WATCHED), and its instruction is
 * executed again by itself, with `watch_step` set: then accesses are noted, and #DB follows it, as a trap. All code of a page
 * with an execution breakpoint is executed so; whether a breakpoint stands there is the hypervisor's to see.
 *
 * What the hypervisor reads and writes for a guest is not watched.
 */
import { CpuState, EXIT, RENDEZVOUS, RFLAGS, VEC } from '../../../build/abi/engine';
import { raise, rendezvous } from './mmu';

const BREAKPOINTS: u32 = 4;
/** Bits of CpuState.watch. */
const DATA: u32 = 0xf;
const EXECUTE_SHIFT: u32 = 4;
/** DR7: two bits enable each breakpoint; then R/W and LEN, two bits each, from bit 16 on. */
const ENABLES: u32 = 3;
const CONTROL_SHIFT: u32 = 16;
const TYPE_EXECUTE: u32 = 0;
const TYPE_WRITE: u32 = 1;
const TYPE_IO: u32 = 2;
const LEN_8: u32 = 2;
const DR6_BS: u64 = 1 << 14;

@inline function dr(cpu: usize, n: u32): u64 {
  return load<u64>(cpu + CpuState.dr + (<usize>n << 3));
}
@inline function control(cpu: usize, n: u32): u32 {
  return <u32>(dr(cpu, 7) >> (CONTROL_SHIFT + (n << 2))) & 0xf;
}
/** Bytes that data breakpoint `n` watches, a power of two. */
@inline function span(cpu: usize, n: u32): u64 {
  const len = control(cpu, n) >> 2;
  return len == LEN_8 ? 8 : <u64>len + 1;
}

/** The debug registers of the vCPU were changed: what is to be looked at. */
export function watch_update(cpu: usize): void {
  let watch: u32 = 0;
  for (let n: u32 = 0; n < BREAKPOINTS; n++) {
    if (!((<u32>dr(cpu, 7) >> (n << 1)) & ENABLES)) continue;
    const type = control(cpu, n) & 3;
    if (type == TYPE_EXECUTE) watch |= 1 << (n + EXECUTE_SHIFT);
    else if (type != TYPE_IO) watch |= 1 << n;
  }
  store<u32>(cpu, watch, CpuState.watch);
}

/** Is one of the breakpoints `mask` (bits of CpuState.watch) in the page of `va`? */
export function watched_page(cpu: usize, va: u64, mask: u32): bool {
  const watch = load<u32>(cpu, CpuState.watch) & mask;
  for (let n: u32 = 0; n < BREAKPOINTS; n++) {
    if ((watch & (0x11 << n)) != 0 && ((dr(cpu, n) ^ va) >> 12) == 0) return true;
  }
  return false;
}

@inline export function data_watched(cpu: usize, va: u64): bool {
  return load<u32>(cpu, CpuState.watch) != 0 && watched_page(cpu, va, DATA);
}

/** May code of the page be executed only instruction by instruction? */
@inline export function code_watched(cpu: usize, rip: u64): bool {
  return load<u32>(cpu, CpuState.watch) != 0 && load<u32>(cpu, CpuState.watch_step) == 0 && watched_page(cpu, rip, DATA << EXECUTE_SHIFT);
}

/** May a breakpoint stand at `rip`? Only then is RFLAGS.RF worth having: it goes with the next instruction, if that is executed by itself. */
export function may_break(cpu: usize, rip: u64): bool {
  return load<u32>(cpu, CpuState.watch) != 0 && watched_page(cpu, rip, DATA << EXECUTE_SHIFT);
}

/** An access that did not fault. False: it is watched, and must not be made now (RENDEZVOUS.WATCHED is recorded). */
@inline export function may_access(cpu: usize, va: u64, bytes: u32, write: bool): bool {
  return load<u32>(cpu, CpuState.watch) == 0 || access(cpu, va, bytes, write);
}

function access(cpu: usize, va: u64, bytes: u32, write: bool): bool {
  const watch = load<u32>(cpu, CpuState.watch) & DATA;
  let hits: u32 = 0;
  for (let n: u32 = 0; n < BREAKPOINTS; n++) {
    if (!(watch & (1 << n)) || (!write && (control(cpu, n) & 3) == TYPE_WRITE)) continue;
    const size = span(cpu, n);
    const from = dr(cpu, n) & ~(size - 1);
    if (va < from + size && from < va + bytes) hits |= 1 << n;
  }
  if (hits == 0) return true;
  if (load<u32>(cpu, CpuState.watch_step) == 0) {
    rendezvous(cpu, RENDEZVOUS.WATCHED, 0);
    return false;
  }
  store<u32>(cpu, load<u32>(cpu, CpuState.watch_hits) | hits, CpuState.watch_hits);
  return true;
}

/** Execution breakpoints at CpuState.rip, as bits B0 to B3 of DR6; none while RF is set. */
export function watch_breakpoints(cpu: usize): u32 {
  if (load<u64>(cpu, CpuState.rflags) & RFLAGS.RF) return 0;
  const rip = load<u64>(cpu, CpuState.rip);
  const watch = load<u32>(cpu, CpuState.watch) >> EXECUTE_SHIFT;
  let hits: u32 = 0;
  for (let n: u32 = 0; n < BREAKPOINTS; n++) if ((watch & (1 << n)) != 0 && dr(cpu, n) == rip) hits |= 1 << n;
  return hits;
}

/**
 * After one instruction that was executed by itself, and left guest code for `reason`: the reason that counts. A data
 * breakpoint makes it #DB, and a single step (`stepping`: RFLAGS.TF was set before it).
 */
export function step_done(cpu: usize, stepping: u32, reason: u32): u32 {
  const asked = load<u32>(cpu, CpuState.watch_step);
  const hits = load<u32>(cpu, CpuState.watch_hits);
  store<u32>(cpu, 0, CpuState.watch_step);
  store<u32>(cpu, 0, CpuState.watch_hits);
  if (reason != EXIT.PREEMPT) return reason;
  const rflags = load<u64>(cpu, CpuState.rflags);
  if (rflags & RFLAGS.RF) store<u64>(cpu, rflags & ~<u64>RFLAGS.RF, CpuState.rflags);
  let bits: u64 = hits;
  // After mov ss and pop ss a single-step trap comes only with the next instruction.
  if (stepping != 0 && load<u32>(cpu, CpuState.int_shadow) == 0) bits |= DR6_BS;
  if (bits != 0) {
    const dr6 = cpu + CpuState.dr + (6 << 3);
    store<u64>(dr6, load<u64>(dr6) | bits);
    raise(cpu, VEC.DB, 0, 0);
    return EXIT.EXCEPTION;
  }
  if (asked == 0) return reason;
  rendezvous(cpu, RENDEZVOUS.STEPPED, 0);
  return EXIT.RENDEZVOUS;
}
