// Accesses of an HVM guest to guest-physical addresses that are no memory: the local APIC's page, or nothing. The instruction
// is decoded anew: the plain moves that device drivers are written with, and xchg. Everything else crashes the domain, as it
// has nothing to do there (Intel SDM vol. 2, chapter 2).
import { CpuState, NPF_EXEC, NPF_WRITE } from "../abi";
import { domain_crash } from "../crash";
import { Vcpu } from "../domain";
import { guest_read } from "../engine";
import { log_end, log_field, log_start, log_str, log_vcpu } from "../log";
import { scratch } from "../percpu";
import { vlapic_mmio_read, vlapic_mmio_write, vlapic_range } from "./vlapic_access";

const INSN_MAX: u32 = 15;
/** Its bytes in the scratch page, and Mmio behind them. */
const BYTES: u32 = 1280;
const MMIO: u32 = 1312;

const REX_R: u32 = 4;
const REX_W: u32 = 8;

/** A decoded instruction with one memory operand. */
@unmanaged
class Mmio {
  /** Immediate operand, sign-extended. */
  imm: i64;
  /** Opcode; 0x100: of map 0F. */
  op: u32;
  /** Bytes of the memory operand, and of the register that is loaded. */
  size: u32;
  reg_size: u32;
  /** Register operand; extension of the opcode. */
  reg: u32;
  rex: u32;
  len: u32;
}

/** Length of modrm and what follows it up to the immediate, 0: a register operand, or cut short. */
function modrm_length(code: usize, n: u32): u32 {
  if (n == 0) return 0;
  const modrm = <u32>load<u8>(code);
  const mod = modrm >> 6;
  if (mod == 3) return 0;
  let len: u32 = 1;
  let base = modrm & 7;
  if (base == 4) {
    if (n < 2) return 0;
    base = load<u8>(code + 1) & 7;
    len = 2;
  }
  len += mod == 1 ? 1 : mod == 2 || base == 5 ? 4 : 0;
  return len <= n ? len : 0;
}

function immediate(at: usize, size: u32): i64 {
  return size == 1 ? <i64>load<i8>(at) : size == 2 ? <i64>load<i16>(at) : <i64>load<i32>(at);
}

/** Decodes the n bytes at `code`; false: it is none of those that are emulated. `long`: 64-bit mode. */
function decode(code: usize, n: u32, long: bool, m: Mmio): bool {
  let i: u32 = 0;
  let opsize16 = false;
  let addr_prefix = false;
  let b: u32 = 0;
  for (;;) {
    if (i >= n) return false;
    b = load<u8>(code + i++);
    if (b == 0x66) opsize16 = true;
    else if (b == 0x67) addr_prefix = true;
    else if (b != 0xf0 && b != 0x26 && b != 0x2e && b != 0x36 && b != 0x3e && b != 0x64 && b != 0x65) break;
  }
  m.rex = 0;
  if (long && (b & 0xf0) == 0x40) {
    m.rex = b;
    if (i >= n) return false;
    b = load<u8>(code + i++);
  }
  // In 32-bit mode it would mean 16-bit addresses.
  if (addr_prefix && !long) return false;
  m.op = b;
  if (b == 0x0f) {
    if (i >= n) return false;
    m.op = 0x100 | load<u8>(code + i++);
  }
  const full: u32 = m.rex & REX_W ? 8 : opsize16 ? 2 : 4;
  m.reg_size = full;
  m.size = full;
  m.imm = 0;
  m.reg = 0;
  switch (m.op) {
    case 0x88: case 0x8a: case 0x86: case 0xc6:
      m.size = 1;
      m.reg_size = 1;
      break;
    case 0x1b6: case 0x1be:
      m.size = 1;
      break;
    case 0x1b7: case 0x1bf:
      m.size = 2;
      break;
    case 0xa0: case 0xa2:
      m.size = 1;
      m.reg_size = 1;
      break;
    case 0x87: case 0x89: case 0x8b: case 0xa1: case 0xa3: case 0xc7:
      break;
    default:
      return false;
  }
  if (m.op >= 0xa0 && m.op <= 0xa3) {
    m.len = i + (long && !addr_prefix ? 8 : 4);
    return m.len <= n;
  }
  const address = modrm_length(code + i, n - i);
  if (address == 0) return false;
  m.reg = (load<u8>(code + i) >> 3) & 7;
  i += address;
  if (m.op == 0xc6 || m.op == 0xc7) {
    const size: u32 = m.size == 1 ? 1 : m.size == 2 ? 2 : 4;
    if (m.reg != 0 || i + size > n) return false;
    m.imm = immediate(code + i, size);
    i += size;
  } else if (m.rex & REX_R) m.reg |= 8;
  m.len = i;
  return true;
}

/** Without REX, byte registers 4 to 7 are ah ch dh bh. */
function register_address(cpu: usize, m: Mmio): usize {
  if (m.reg_size == 1 && m.rex == 0 && m.reg >= 4) return cpu + CpuState.gpr + (<usize>(m.reg - 4) << 3) + 1;
  return cpu + CpuState.gpr + (<usize>m.reg << 3);
}

function get_register(cpu: usize, m: Mmio): u64 {
  const at = register_address(cpu, m);
  return m.reg_size == 1 ? <u64>load<u8>(at) : m.reg_size == 2 ? <u64>load<u16>(at) : m.reg_size == 4 ? <u64>load<u32>(at) : load<u64>(at);
}

function set_register(cpu: usize, m: Mmio, x: u64): void {
  const at = register_address(cpu, m);
  if (m.reg_size == 1) store<u8>(at, <u32>x);
  else if (m.reg_size == 2) store<u16>(at, <u32>x);
  else store<u64>(at, m.reg_size == 4 ? x & 0xffff_ffff : x);
}

function bits(size: u32): u64 {
  return size == 8 ? u64.MAX_VALUE : ((<u64>1) << (size << 3)) - 1;
}

function sign_extend(x: u64, size: u32): u64 {
  const unused = 64 - <u64>(size << 3);
  return <u64>(<i64>(x << unused) >> unused);
}

function read(v: Vcpu, gpa: u64, size: u32): u64 {
  const x = vlapic_range(v, gpa) ? vlapic_mmio_read(v, <u32>gpa & 0xfff, size) : u64.MAX_VALUE;
  return x & bits(size);
}

function write(v: Vcpu, gpa: u64, size: u32, x: u64): void {
  if (vlapic_range(v, gpa)) vlapic_mmio_write(v, <u32>gpa & 0xfff, size, x);
}

/** Does the instruction on guest-physical address `gpa`. */
function execute(v: Vcpu, gpa: u64, m: Mmio): void {
  const cpu = v.cpu;
  switch (m.op) {
    case 0x88: case 0x89: case 0xa2: case 0xa3:
      write(v, gpa, m.size, get_register(cpu, m));
      break;
    case 0xc6: case 0xc7:
      write(v, gpa, m.size, <u64>m.imm);
      break;
    case 0x8a: case 0x8b: case 0xa0: case 0xa1: case 0x1b6: case 0x1b7:
      set_register(cpu, m, read(v, gpa, m.size));
      break;
    case 0x1be: case 0x1bf:
      set_register(cpu, m, sign_extend(read(v, gpa, m.size), m.size));
      break;
    case 0x86: case 0x87: {
      const old = read(v, gpa, m.size);
      write(v, gpa, m.size, get_register(cpu, m));
      set_register(cpu, m, old);
      break;
    }
  }
}

function give_up(v: Vcpu, gpa: u64, why: u32): void {
  log_start();
  log_vcpu();
  log_str(why & NPF_EXEC ? "code fetch" : why & NPF_WRITE ? "write" : "read");
  log_str(" where no memory is, by an instruction that is not emulated:");
  log_field("gpa", gpa);
  log_end();
  domain_crash(v.domain, "an access to what is not memory");
}

/** EXIT.NPF: does the access, or crashes the domain. */
export function hvm_nested_page_fault(v: Vcpu): void {
  const cpu = v.cpu;
  const gpa = load<u64>(cpu, CpuState.exit_gpa);
  const why = load<u32>(cpu, CpuState.exit_error);
  const rip = load<u64>(cpu, CpuState.rip);
  const code = scratch + BYTES;
  const m = changetype<Mmio>(scratch + MMIO);
  const long = load<u32>(cpu, CpuState.mode) == 0;
  const n = why & NPF_EXEC ? 0 : INSN_MAX - guest_read(cpu, long ? rip : rip & 0xffff_ffff, code, INSN_MAX);
  if (!decode(code, n, long, m)) {
    give_up(v, gpa, why);
    return;
  }
  execute(v, gpa, m);
  store<u64>(cpu, long ? rip + m.len : (rip + m.len) & 0xffff_ffff, CpuState.rip);
}
