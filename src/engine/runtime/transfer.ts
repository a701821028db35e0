/**
 * Far control transfers (Intel SDM vol. 2, CALL JMP RET IRET): they may switch between 64-bit and compatibility mode, and returns
 * go to an outer level where there is one (PV guests are at CPL 3). Call gates and tasks are not there (#GP with the selector).
 * Each returns 0 with the fault recorded and nothing changed, or 1 with CpuState.rip set.
 */
import { CpuState, GPR, RFLAGS, SEG, VEC } from '../../../build/abi/engine';
import { rflags_get, rflags_set } from './flags';
import { set_cpl } from './hvm/contexts';
import { look_for_interrupts } from './hvm/events';
import { commit, probe_read, probe_write } from './mmu';
import { check_code, check_return_stack, cpl_of, fail, is_null, leave_segments, load_code, load_null, load_stack } from './segment';
import { may_break } from './watch';

const RSP: usize = CpuState.gpr + 8 * GPR.RSP;

@inline function wrap(cpu: usize, a: u64): u64 {
  return load<u32>(cpu, CpuState.mode) == 0 ? a : a & 0xffffffff;
}

/** One stack slot, zero-extended, into ret0; false with the fault recorded. */
function slot(cpu: usize, sp: u64, i: u32, bytes: u32): bool {
  const h = probe_read(cpu, wrap(cpu, sp + i * bytes), bytes);
  if (!h) return false;
  store<u64>(cpu, bytes == 8 ? load<u64>(h) : bytes == 4 ? <u64>load<u32>(h) : <u64>load<u16>(h), CpuState.ret0);
  return true;
}
@inline function value(cpu: usize): u64 {
  return load<u64>(cpu, CpuState.ret0);
}

/** Is `rip` a possible target in the mode `kind` (check_code)? Else #GP(0). */
function check_target(cpu: usize, rip: u64, kind: u32): bool {
  const ok = kind == 2 ? <u64>((<i64>rip << 16) >> 16) == rip : rip >> 32 == 0;
  if (!ok) fail(cpu, VEC.GP, 0);
  return ok;
}

function stack_pointer(cpu: usize): u64 {
  return wrap(cpu, load<u64>(cpu, RSP));
}

export function far_jmp(cpu: usize, sel: u32, rip: u64): u32 {
  const kind = check_code(cpu, sel, false, cpl_of(cpu));
  if (!kind || !check_target(cpu, rip, kind)) return 0;
  load_code(cpu, sel, kind, cpl_of(cpu));
  store<u64>(cpu, rip, CpuState.rip);
  return 1;
}

/** Pushes cs and `next`, `bytes` each. */
export function far_call(cpu: usize, sel: u32, rip: u64, bytes: u32, next: u64): u32 {
  const kind = check_code(cpu, sel, false, cpl_of(cpu));
  if (!kind || !check_target(cpu, rip, kind)) return 0;
  // cs is pushed first: a missing page is found there first.
  if (!probe_write(cpu, wrap(cpu, stack_pointer(cpu) - bytes), bytes)) return 0;
  const sp = wrap(cpu, stack_pointer(cpu) - 2 * bytes);
  const h = probe_write(cpu, sp, 2 * bytes);
  if (!h) return 0;
  const cs = load<u16>(cpu + 2, CpuState.sel);
  if (bytes == 8) {
    store<u64>(h, next);
    store<u64>(h, cs, 8);
  } else if (bytes == 4) {
    store<u32>(h, <u32>next);
    store<u32>(h, cs, 4);
  } else {
    store<u16>(h, <u16>next);
    store<u16>(h, cs, 2);
  }
  if (h == <u32>cpu + <u32>CpuState.bounce) commit(cpu);
  store<u64>(cpu, sp, RSP);
  load_code(cpu, sel, kind, cpl_of(cpu));
  store<u64>(cpu, rip, CpuState.rip);
  return 1;
}

/**
 * Is `ss` a stack segment for a return to `cpl` in the mode `kind`? 64-bit code of the inner levels needs none. False with the
 * fault recorded.
 */
function check_outer_stack(cpu: usize, ss: u32, cpl: u32, kind: u32): bool {
  if (is_null(ss) && kind == 2 && cpl != 3 && (ss & 3) == cpl) return true;
  return check_return_stack(cpu, ss, cpl) != 0;
}

/** Loads what a return to `cpl` has checked; `stack`: ss:rsp too. */
function leave(cpu: usize, cs: u32, rip: u64, kind: u32, cpl: u32, stack: bool, ss: u32, rsp: u64): void {
  load_code(cpu, cs, kind, cpl);
  if (stack) {
    if (is_null(ss)) load_null(cpu, SEG.SS, ss);
    else load_stack(cpu, ss);
  }
  if (cpl != cpl_of(cpu)) {
    leave_segments(cpu, cpl);
    set_cpl(cpu, cpl);
  }
  store<u64>(cpu, rsp, RSP);
  store<u64>(cpu, rip, CpuState.rip);
}

/** Pops rip and cs, then `extra` bytes; on the way to an outer level rsp and ss too. */
export function far_ret(cpu: usize, bytes: u32, extra: u64): u32 {
  const sp = stack_pointer(cpu);
  if (!slot(cpu, sp, 0, bytes)) return 0;
  const rip = value(cpu);
  if (!slot(cpu, sp, 1, bytes)) return 0;
  const sel = <u32>value(cpu) & 0xffff;
  const cpl = sel & 3;
  if (cpl < cpl_of(cpu)) return fail(cpu, VEC.GP, sel & 0xfffc);
  const kind = check_code(cpu, sel, true, cpl);
  if (!kind) return 0;
  let rsp = wrap(cpu, sp + 2 * bytes + extra);
  let ss: u32 = 0;
  const outer = cpl != cpl_of(cpu);
  if (outer) {
    const at = rsp;
    if (!slot(cpu, at, 0, bytes)) return 0;
    rsp = value(cpu) + extra;
    if (!slot(cpu, at, 1, bytes)) return 0;
    ss = <u32>value(cpu) & 0xffff;
    if (!check_outer_stack(cpu, ss, cpl, kind)) return 0;
  }
  if (!check_target(cpu, rip, kind)) return 0;
  leave(cpu, sel, rip, kind, cpl, outer, ss, rsp);
  return 1;
}

/** Flags that iret loads at any CPL; IF too if IOPL allows it, and IOPL, VIF and VIP at CPL 0. VM never. */
const IRET_FLAGS: u64 = RFLAGS.STATUS | RFLAGS.TF | RFLAGS.DF | RFLAGS.NT | RFLAGS.RF | RFLAGS.AC | RFLAGS.ID;

/** Pops rip, cs and flags; in 64-bit mode, or on the way to an outer level, also rsp and ss. */
export function iret(cpu: usize, bytes: u32): u32 {
  const old = rflags_get(cpu);
  // A task return: there are no tasks in long mode.
  if (old & RFLAGS.NT) return fail(cpu, VEC.GP, 0);
  const sp = stack_pointer(cpu);
  if (!slot(cpu, sp, 0, bytes)) return 0;
  const rip = value(cpu);
  if (!slot(cpu, sp, 1, bytes)) return 0;
  const cs = <u32>value(cpu) & 0xffff;
  if (!slot(cpu, sp, 2, bytes)) return 0;
  const flags = value(cpu);
  const from = cpl_of(cpu);
  const cpl = cs & 3;
  let rsp = wrap(cpu, sp + 3 * bytes);
  let ss: u32 = 0;
  const stack = load<u32>(cpu, CpuState.mode) == 0 || cpl > from;
  if (stack) {
    if (!slot(cpu, sp, 3, bytes)) return 0;
    rsp = value(cpu);
    if (!slot(cpu, sp, 4, bytes)) return 0;
    ss = <u32>value(cpu) & 0xffff;
  }
  if (cpl < from) return fail(cpu, VEC.GP, cs & 0xfffc);
  const kind = check_code(cpu, cs, true, cpl);
  if (!kind) return 0;
  if (stack && !check_outer_stack(cpu, ss, cpl, kind)) return 0;
  if (!check_target(cpu, rip, kind)) return 0;
  let mask = IRET_FLAGS;
  if (from == 0) mask |= RFLAGS.IOPL | RFLAGS.VIF | RFLAGS.VIP;
  if (from <= (<u32>(old >> 12) & 3)) mask |= RFLAGS.IF;
  if (bytes == 2) mask &= 0xffff;
  let v = (old & ~mask) | (flags & mask);
  if (!may_break(cpu, rip)) v &= ~<u64>RFLAGS.RF;
  rflags_set(cpu, v);
  leave(cpu, cs, rip, kind, cpl, stack, ss, rsp);
  look_for_interrupts(cpu);
  return 1;
}
