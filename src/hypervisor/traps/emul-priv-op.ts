// Privileged instructions of a PV guest (XEN-ABI 2.3): the engine reports them instead of #GP(0); those that Xen
// emulates are done here, the others become #GP(0). The decoder reads the guest's bytes anew; a guest that changes them
// meanwhile only gets what the new bytes ask for. Intel SDM vol. 2.
import { CpuState, ERRNO, GPR, RFLAGS, SEG, VEC } from "../abi";
import { Vcpu, get_gpr, in_kernel_mode, set_gpr } from "../domain";
import { guest_read } from "../engine";
import { scratch } from "../percpu";
import { NOW } from "../time/clock";
import { tsc_at } from "../time/time_info";
import { new_guest_cr3 } from "../mm/mmuext";
import { put_old_guest_table } from "../mm/old_table";
import { debugger_watches_steps, domain_pause_for_debugger } from "../debugger";
import { debugreg_valid, get_debugreg, guest_ts, set_guest_ts, set_own_debugreg } from "./debugreg";
import { guest_io_okay, guest_io_read, guest_io_write, iopl_ok } from "./ioport";
import { emulate_string_io } from "./string-io";
import { pv_inject_hw_exception } from "./inject";
import { guest_rdmsr, guest_wrmsr } from "./msr";
import { XCR0_MASK } from "./cpuid";
import { xen } from "../state";

const CR0_FIXED: u64 = 0x8005_0033;
const CR0_TS: u64 = 8;
/** CR4 bits a guest owns: TSD, DE, OSXSAVE. */
const CR4_GUEST: u64 = 0x4_000c;
const CR4_TSD: u64 = 4;
const CR4_OSXSAVE: u64 = 0x4_0000;
/** CR4 bits it sees set whatever it does: PAE, OSFXSR, OSXMMEXCPT. */
const CR4_FIXED: u64 = 0x620;
/** dr6: single step. */
const DR6_BS: u64 = 1 << 14;

const INSN_MAX: u32 = 15;
/** The instruction's bytes are read to here in the scratch page; Insn lies behind them. */
const BYTES: u32 = 1280;
const INSN: u32 = 1312;

/** An instruction while it is decoded. */
@unmanaged
export class Insn {
  /** Bytes that could be read, and the next one. */
  have: u32;
  at: u32;
  rex: u32;
  opsize16: u32;
  address32: u32;
  rep: u32;
  /** Segment override (SEG.*), or -1. */
  segment: i32;
}

/**
 * What the engine's CR4 has besides the guest's bits. Deterministic time is known between runs of guest code only, so
 * there the guest's reads of the TSC are emulated.
 */
function engine_cr4(): u64 {
  return CR4_FIXED | CR4_OSXSAVE | (xen().deterministic ? CR4_TSD : 0);
}

/** Registers a new vCPU's engine starts with. OSXSAVE is set in the engine's CR4: xsave works before the guest asks. */
export function initial_cr0(): u64 {
  return CR0_FIXED;
}
export function initial_cr4(): u64 {
  return engine_cr4();
}

/** Next byte, or 256 past the end of what could be read. */
function next(i: Insn): u32 {
  if (i.at >= i.have) return 256;
  return load<u8>(scratch + BYTES + i.at++);
}

/** Takes the prefixes; false: b is none (REX counts only right before the opcode, and only in 64-bit mode). */
function prefix(i: Insn, b: u32): bool {
  switch (b) {
    case 0x66: i.opsize16 = 1; break;
    case 0x67: i.address32 ^= 1; break;
    case 0xf0: break;
    case 0xf2:
    case 0xf3: i.rep = 1; break;
    case 0x26: i.segment = SEG.ES; break;
    case 0x2e: i.segment = SEG.CS; break;
    case 0x36: i.segment = SEG.SS; break;
    case 0x3e: i.segment = SEG.DS; break;
    case 0x64: i.segment = SEG.FS; break;
    case 0x65: i.segment = SEG.GS; break;
    default: return false;
  }
  return true;
}

/** The opcode byte behind all prefixes. */
function opcode(v: Vcpu, i: Insn): u32 {
  let b = next(i);
  while (prefix(i, b)) b = next(i);
  if (b >= 0x40 && b <= 0x4f && load<u32>(v.cpu, CpuState.mode) == 0) {
    i.rex = b;
    b = next(i);
  }
  return b;
}

/** The guest's view of CR4. */
export function guest_visible_cr4(v: Vcpu): u64 {
  return v.guest_cr4 | CR4_FIXED;
}

function set_guest_cr4(v: Vcpu, x: u64): void {
  v.guest_cr4 = x & CR4_GUEST;
  store<u64>(v.cpu, v.guest_cr4 | engine_cr4(), CpuState.cr4);
}

/** For setvcpucontext. */
export function init_guest_cr4(v: Vcpu, x: u64): void {
  set_guest_cr4(v, x);
}

function read_cr(v: Vcpu, n: u32, reg: u32): bool {
  switch (n) {
    case 0:
      set_gpr(v, reg, CR0_FIXED | (guest_ts(v) ? CR0_TS : 0));
      return true;
    case 2:
      set_gpr(v, reg, load<u64>(v.cpu, CpuState.cr2));
      return true;
    case 3:
      set_gpr(v, reg, <u64>v.guest_table << 12);
      return true;
    case 4:
      set_gpr(v, reg, guest_visible_cr4(v));
      return true;
    default:
      return false;
  }
}

function write_cr(v: Vcpu, n: u32, x: u64): bool {
  switch (n) {
    case 0:
      if ((x | CR0_TS) != (CR0_FIXED | CR0_TS)) return false;
      set_guest_ts(v, (x & CR0_TS) != 0);
      return true;
    case 2:
      store<u64>(v.cpu, x, CpuState.cr2);
      return true;
    case 3: {
      let rc = put_old_guest_table(v);
      if (rc == 0) rc = new_guest_cr3(x >> 12);
      // Something else is due: the instruction is to be tried again.
      if (rc == -<i32>ERRNO.ERESTART) changetype<Insn>(scratch + INSN).at = 0;
      return rc == 0 || rc == -<i32>ERRNO.ERESTART;
    }
    case 4:
      set_guest_cr4(v, x);
      return true;
    default:
      return false;
  }
}

function may_read_tsc(v: Vcpu): bool {
  return in_kernel_mode(v) || (v.guest_cr4 & CR4_TSD) == 0;
}

function two_byte(v: Vcpu, i: Insn): bool {
  const op = next(i);
  if (op == 0x31) {
    // rdtsc, trapped because CR4.TSD is set: the kernel may; user mode may where only deterministic time has set it.
    return may_read_tsc(v) && put_tsc(v);
  }
  if (op == 0x01 && may_read_tsc(v)) {
    const modrm = next(i);
    if (modrm == 0xf9) {
      set_gpr(v, GPR.RCX, load<u32>(v.cpu, CpuState.tsc_aux));
      return put_tsc(v);
    }
    return modrm == 0xd1 && in_kernel_mode(v) && xsetbv(v);
  }
  if (!in_kernel_mode(v)) return false;
  switch (op) {
    case 0x06:
      set_guest_ts(v, false);
      return true;
    case 0x09:
      // wbinvd: there is no cache. invd stays refused.
      return true;
    case 0x20:
    case 0x21:
    case 0x22:
    case 0x23: {
      const modrm = next(i);
      if (modrm > 255) return false;
      const n = ((modrm >> 3) & 7) | ((i.rex & 4) << 1);
      const reg = (modrm & 7) | ((i.rex & 1) << 3);
      if (op == 0x20) return read_cr(v, n, reg);
      if (op == 0x22) return write_cr(v, n, get_gpr(v, reg));
      if (op == 0x23) return set_own_debugreg(v, n, get_gpr(v, reg)) == 0;
      if (!debugreg_valid(v, n)) return false;
      set_gpr(v, reg, <u64>get_debugreg(v, n));
      return true;
    }
    case 0x30:
      return guest_wrmsr(v, <u32>get_gpr(v, GPR.RCX), (get_gpr(v, GPR.RAX) & 0xffff_ffff) | (get_gpr(v, GPR.RDX) << 32));
    case 0x32: {
      if (!guest_rdmsr(v, <u32>get_gpr(v, GPR.RCX), scratch + BYTES)) return false;
      const x = load<u64>(scratch + BYTES);
      set_gpr(v, GPR.RAX, x & 0xffff_ffff);
      set_gpr(v, GPR.RDX, x >> 32);
      return true;
    }
    default:
      return false;
  }
}

function put_tsc(v: Vcpu): bool {
  const t = tsc_at(v, NOW());
  set_gpr(v, GPR.RAX, t & 0xffff_ffff);
  set_gpr(v, GPR.RDX, t >> 32);
  return true;
}

function xsetbv(v: Vcpu): bool {
  if (!(v.guest_cr4 & CR4_OSXSAVE) || <u32>get_gpr(v, GPR.RCX) != 0) return false;
  const x = (get_gpr(v, GPR.RAX) & 0xffff_ffff) | (get_gpr(v, GPR.RDX) << 32);
  if (!(x & 1) || (x & ~XCR0_MASK) != 0) return false;
  store<u64>(v.cpu, x, CpuState.xcr0);
  return true;
}

function io(v: Vcpu, op: u32, port: u32): bool {
  const bytes: u32 = op & 1 ? (opsize16() ? 2 : 4) : 1;
  if (!guest_io_okay(v, port, bytes)) return false;
  const rax = get_gpr(v, GPR.RAX);
  if (op & 2) {
    guest_io_write(v, port, bytes, <u32>rax);
    return true;
  }
  const x = guest_io_read(v, port, bytes);
  if (bytes == 4) set_gpr(v, GPR.RAX, x);
  else {
    const mask: u64 = bytes == 2 ? 0xffff : 0xff;
    set_gpr(v, GPR.RAX, (rax & ~mask) | (<u64>x & mask));
  }
  return true;
}

// @ts-ignore: decorator
@inline
function opsize16(): bool {
  return changetype<Insn>(scratch + INSN).opsize16 != 0;
}

/** Emulates the instruction at rip. False: it is to be #GP(0). True: done (rip moved), or another fault was injected. */
export function emulate_privileged_op(v: Vcpu): bool {
  const rip = load<u64>(v.cpu, CpuState.rip);
  const base: u64 = load<u32>(v.cpu, CpuState.mode) != 0 ? load<u64>(v.cpu + CpuState.segbase + 8) : 0;
  const i = changetype<Insn>(scratch + INSN);
  const left = guest_read(v.cpu, base + rip, scratch + BYTES, INSN_MAX);
  i.have = INSN_MAX - left;
  i.at = 0;
  i.rex = 0;
  i.opsize16 = 0;
  i.address32 = load<u32>(v.cpu, CpuState.mode) != 0 ? 1 : 0;
  i.rep = 0;
  i.segment = -1;
  const op = opcode(v, i);
  let done = false;
  switch (op) {
    case 0x6c:
    case 0x6d:
    case 0x6e:
    case 0x6f: {
      const r = emulate_string_io(v, i, op);
      if (r == 0) return false;
      // Faulted, or iterations are left: rip stays.
      if (r == 1) return true;
      done = true;
      break;
    }
    case 0xe4:
    case 0xe5:
    case 0xe6:
    case 0xe7: {
      const port = next(i);
      done = port < 256 && io(v, op, port);
      break;
    }
    case 0xec:
    case 0xed:
    case 0xee:
    case 0xef:
      done = io(v, op, <u32>get_gpr(v, GPR.RDX) & 0xffff);
      break;
    case 0xfa:
    case 0xfb:
      // Allowed at that IOPL, and without effect: events are masked in vcpu_info.
      done = iopl_ok(v);
      break;
    case 0x0f:
      done = two_byte(v, i);
      if (done && i.at == 0) return true;
      break;
  }
  if (!done) return false;
  finish(v, rip + <u64>i.at);
  return true;
}

/** Moves past an emulated instruction; a single-stepping guest gets its trap. */
export function finish(v: Vcpu, rip: u64): void {
  if (load<u32>(v.cpu, CpuState.mode) != 0) rip &= 0xffff_ffff;
  store<u64>(v.cpu, rip, CpuState.rip);
  const rf = load<u64>(v.cpu, CpuState.rflags);
  store<u64>(v.cpu, rf & ~<u64>RFLAGS.RF, CpuState.rflags);
  if (rf & <u64>RFLAGS.TF) {
    const dr6 = v.cpu + CpuState.dr + (6 << 3);
    store<u64>(dr6, load<u64>(dr6) | DR6_BS);
    if (debugger_watches_steps(v)) domain_pause_for_debugger(v, VEC.DB);
    else pv_inject_hw_exception(VEC.DB, 0);
  }
}
