// What a decoded store does to its operand, and to registers and flags once the store is made. Flags are kept as the
// engine keeps them (src/engine/flags.ts); those that the manual leaves undefined are 0.
import { CpuState } from "../abi";
import { JUMPS_READ, OP_0F, OP_PUSH, register_address, Store } from "./ptwr_decode";
import { shift, shift_double } from "./ptwr_shift";

/** Result of an instruction that is not committed yet. */
@unmanaged
export class Effect {
  /** Operand's new value, zero-extended. */
  value: u64;
  /** Register to write: address and value of `size` bytes; 0: none. */
  reg: u32;
  /** 0: flags stay; FLAGS_*. */
  flags: u32;
  reg_value: u64;
  /** A second one (cmpxchg8b). */
  reg2: u32;
  /** Bytes of `reg` and `reg2`. */
  reg_size: u32;
  reg2_value: u64;
  /** Where execution goes on after a call. */
  next: u64;
  fz: u64;
  fs: u64;
  fc: u64;
  fx: u64;
}

const FLAGS_all: u32 = 1;
/** Only fc: carry and overflow. */
export const FLAGS_fc: u32 = 2;
/** Only fz. */
const FLAGS_fz: u32 = 4;

const ADD: u32 = 0;
const OR: u32 = 1;
const ADC: u32 = 2;
const SBB: u32 = 3;
const AND: u32 = 4;
const SUB: u32 = 5;
const XOR: u32 = 6;

// @ts-ignore: decorator
@inline
export function bits(size: u32): u64 {
  return <u64>size << 3;
}

/** The low `size` bytes. */
export function zero_extend(v: u64, size: u32): u64 {
  return size == 8 ? v : v & ((<u64>1 << bits(size)) - 1);
}
export function sign_extend(v: u64, size: u32): u64 {
  const shift = 64 - bits(size);
  return <u64>(<i64>(v << shift) >> shift);
}

/** Reads a register or other operand of `size` bytes. */
function read(at: usize, size: u32): u64 {
  switch (size) {
    case 1: return load<u8>(at);
    case 2: return load<u16>(at);
    case 4: return load<u32>(at);
  }
  return load<u64>(at);
}

/** Writes a register; a 32-bit one is zero-extended. */
function write_register(at: usize, v: u64, size: u32): void {
  if (size == 1) store<u8>(at, <u8>v);
  else if (size == 2) store<u16>(at, <u16>v);
  else store<u64>(at, zero_extend(v, size));
}

export function carry(cpu: usize): u64 {
  return load<u64>(cpu, CpuState.fc) >> 63;
}
function overflow(cpu: usize): u64 {
  const fc = load<u64>(cpu, CpuState.fc);
  return (fc >> 63) ^ ((fc >> 62) & 1);
}

function set_result(e: Effect, r: u64, a: u64, b: u64, fc: u64, size: u32): void {
  e.flags = FLAGS_all;
  e.fs = sign_extend(r, size);
  e.fz = e.fs;
  e.fx = a ^ b;
  e.fc = fc << (64 - bits(size));
}

/** r = a + b + carry in, or a - b - borrow in, with flags. */
function sum(e: Effect, a: u64, b: u64, c: u64, size: u32): u64 {
  const r = a + b + c;
  set_result(e, r, a, b, (a & b) | ((a | b) & ~r), size);
  return r;
}
function difference(e: Effect, a: u64, b: u64, c: u64, size: u32): u64 {
  const r = a - b - c;
  set_result(e, r, a, b, (~a & b) | ((~a | b) & r), size);
  return r;
}
export function logic(e: Effect, r: u64, size: u32): u64 {
  set_result(e, r, 0, 0, 0, size);
  e.fx = e.fs;
  return r;
}

function alu(cpu: usize, e: Effect, kind: u32, a: u64, b: u64, size: u32): u64 {
  switch (kind) {
    case ADD: return sum(e, a, b, 0, size);
    case OR: return logic(e, a | b, size);
    case ADC: return sum(e, a, b, carry(cpu), size);
    case SBB: return difference(e, a, b, carry(cpu), size);
    case AND: return logic(e, a & b, size);
    case SUB: return difference(e, a, b, 0, size);
  }
  return logic(e, a ^ b, size);
}

/** inc and dec: the carry flag stays. */
function step(cpu: usize, e: Effect, a: u64, down: bool, size: u32): u64 {
  const r = down ? difference(e, a, 1, 0, size) : sum(e, a, 1, 0, size);
  const ovf = (e.fc >> 63) ^ ((e.fc >> 62) & 1);
  const cf = carry(cpu);
  e.fc = (cf << 63) | ((cf ^ ovf) << 62);
  return r;
}

/** bts, btr, btc: kind 1, 2, 3. */
function bit_op(cpu: usize, e: Effect, kind: u32, a: u64, bit: u64): u64 {
  const cf = (a >> bit) & 1;
  e.flags = FLAGS_fc;
  e.fc = (cf << 63) | ((cf ^ overflow(cpu)) << 62);
  const m = <u64>1 << bit;
  return kind == 1 ? a | m : kind == 2 ? a & ~m : a ^ m;
}

function condition(cpu: usize, cc: u32): bool {
  const cf = carry(cpu) != 0;
  const zf = load<u64>(cpu, CpuState.fz) == 0;
  const sf = load<i64>(cpu, CpuState.fs) < 0;
  const ovf = overflow(cpu) != 0;
  let r = false;
  switch (cc >> 1) {
    case 0: r = ovf; break;
    case 1: r = cf; break;
    case 2: r = zf; break;
    case 3: r = cf || zf; break;
    case 4: r = sf; break;
    case 5: r = (popcnt<u32>(load<u8>(cpu, CpuState.fs)) & 1) == 0; break;
    case 6: r = sf != ovf; break;
    case 7: r = zf || sf != ovf; break;
  }
  return (cc & 1) != 0 ? !r : r;
}

/** The bit that bts, btr, btc with a register operand mean, and where: moves s.ea to the word it is in. */
export function resolve_bit_address(cpu: usize, s: Store): void {
  if (s.op != (OP_0F | 0xab) && s.op != (OP_0F | 0xb3) && s.op != (OP_0F | 0xbb)) return;
  const offset = <i64>sign_extend(read(register_address(cpu, s.reg, s), s.size), s.size);
  s.ea += <u64>((offset >> <i64>(ctz<u32>(s.size) + 3)) << <i64>ctz<u32>(s.size));
}

// @ts-ignore: decorator
@inline
function xmm(cpu: usize, n: u32): usize {
  return cpu + CpuState.xmm + (<usize>n << 4);
}

/** Computes the store `s` on an operand whose bytes are `a`; `source`: the bytes that movs reads. */
export function compute(cpu: usize, s: Store, a: u64, source: u64, e: Effect): void {
  const size = s.size;
  const op = s.op;
  const reg = register_address(cpu, s.reg, s);
  const rax = cpu + CpuState.gpr;
  const rdx = cpu + CpuState.gpr + 16;
  const imm = zero_extend(<u64>s.imm, size);
  e.reg = 0;
  e.reg2 = 0;
  e.reg_size = size;
  e.flags = 0;
  let r: u64 = a;
  if (op == OP_PUSH) {
    r = s.reads != 0 && s.jumps == 0 ? source : <u64>s.imm;
    e.next = s.jumps == JUMPS_READ ? source : s.target;
    e.reg = <u32>(cpu + CpuState.gpr + 32);
    e.reg_value = s.ea;
    e.reg_size = 8;
  } else if (op < 0x38) r = alu(cpu, e, op >> 3, a, read(reg, size), size);
  else if (op == 0x80 || op == 0x81 || op == 0x83) r = alu(cpu, e, s.reg & 7, a, imm, size);
  else if (op == 0x88 || op == 0x89 || op == (OP_0F | 0xc3)) r = read(reg, size);
  else if (op == 0xc6 || op == 0xc7) r = imm;
  else if (op == 0xc0 || op == 0xc1) r = shift(cpu, e, s.reg & 7, a, <u32>s.imm, size);
  else if (op == 0xd0 || op == 0xd1) r = shift(cpu, e, s.reg & 7, a, 1, size);
  else if (op == 0xd2 || op == 0xd3) r = shift(cpu, e, s.reg & 7, a, load<u8>(cpu + CpuState.gpr + 8), size);
  else if (op == (OP_0F | 0xa4) || op == (OP_0F | 0xac)) r = shift_double(e, op == (OP_0F | 0xac), a, read(reg, size), <u32>s.imm, size);
  else if (op == (OP_0F | 0xa5) || op == (OP_0F | 0xad)) {
    r = shift_double(e, op == (OP_0F | 0xad), a, read(reg, size), load<u8>(cpu + CpuState.gpr + 8), size);
  } else if (op == (OP_0F | 0x11) || op == (OP_0F | 0x13) || op == (OP_0F | 0x7e) || op == (OP_0F | 0xd6)) r = read(xmm(cpu, s.reg), size);
  else if (op == (OP_0F | 0x17)) r = read(xmm(cpu, s.reg) + 8, size);
  else if (op == 0xa2 || op == 0xa3 || op == 0xaa || op == 0xab) r = read(rax, size);
  else if (op == 0xa4 || op == 0xa5) r = source;
  else if (op == 0x86 || op == 0x87) {
    r = read(reg, size);
    e.reg = <u32>reg;
    e.reg_value = a;
  } else if (op == 0xf6 || op == 0xf7) {
    r = (s.reg & 7) == 2 ? ~a : difference(e, 0, a, 0, size);
  } else if (op == 0xfe || op == 0xff) r = step(cpu, e, a, (s.reg & 7) == 1, size);
  else if (op == (OP_0F | 0xab)) r = bit_op(cpu, e, 1, a, read(reg, size) & (bits(size) - 1));
  else if (op == (OP_0F | 0xb3)) r = bit_op(cpu, e, 2, a, read(reg, size) & (bits(size) - 1));
  else if (op == (OP_0F | 0xbb)) r = bit_op(cpu, e, 3, a, read(reg, size) & (bits(size) - 1));
  else if (op == (OP_0F | 0xba)) r = bit_op(cpu, e, (s.reg & 7) - 4, a, <u64>s.imm & (bits(size) - 1));
  else if (op == (OP_0F | 0xb0) || op == (OP_0F | 0xb1)) {
    const acc = read(rax, size);
    difference(e, acc, a, 0, size);
    if (acc == a) r = read(reg, size);
    else {
      e.reg = <u32>rax;
      e.reg_value = a;
    }
  } else if (op == (OP_0F | 0xc0) || op == (OP_0F | 0xc1)) {
    r = sum(e, a, read(reg, size), 0, size);
    e.reg = <u32>reg;
    e.reg_value = a;
  } else if (op == (OP_0F | 0xc7)) {
    const expected = <u64>load<u32>(rax) | (<u64>load<u32>(rdx) << 32);
    e.reg_size = 8;
    e.flags = FLAGS_fz;
    e.fz = a == expected ? 0 : 1;
    if (a == expected) r = <u64>load<u32>(cpu + CpuState.gpr + 24) | (<u64>load<u32>(cpu + CpuState.gpr + 8) << 32);
    else {
      e.reg = <u32>rax;
      e.reg_value = a & 0xffff_ffff;
      e.reg2 = <u32>rdx;
      e.reg2_value = a >> 32;
    }
  } else r = <u64>condition(cpu, op & 15);
  e.value = zero_extend(r, size);
}

const DF: u64 = 1 << 10;

/** The store is made: registers, flags, rip. `rip` is that of the instruction. */
export function retire(cpu: usize, s: Store, e: Effect, rip: u64): void {
  if (e.reg != 0) write_register(e.reg, e.reg_value, e.reg_size);
  if (e.reg2 != 0) write_register(e.reg2, e.reg2_value, e.reg_size);
  if (e.flags == FLAGS_all) {
    store<u64>(cpu, e.fz, CpuState.fz);
    store<u64>(cpu, e.fs, CpuState.fs);
    store<u64>(cpu, e.fx, CpuState.fx);
    store<u64>(cpu, e.fc, CpuState.fc);
  } else if (e.flags == FLAGS_fc) store<u64>(cpu, e.fc, CpuState.fc);
  else if (e.flags == FLAGS_fz) store<u64>(cpu, e.fz, CpuState.fz);
  let next = s.jumps != 0 ? e.next : rip + s.len;
  if (is_string(s.op)) {
    const delta: i64 = load<u64>(cpu, CpuState.rflags) & DF ? -<i64>s.size : s.size;
    bump(cpu, 7, delta);
    if (s.op < 0xa8) bump(cpu, 6, delta);
    if (s.rep != 0) {
      bump(cpu, 1, -1);
      if (load<u64>(cpu + CpuState.gpr + 8) != 0) next = rip;
    }
  }
  store<u64>(cpu, next, CpuState.rip);
}

/** stos or movs? */
export function is_string(op: u32): bool {
  return op == 0xaa || op == 0xab || op == 0xa4 || op == 0xa5;
}

function bump(cpu: usize, n: u32, delta: i64): void {
  const at = cpu + CpuState.gpr + (<usize>n << 3);
  store<u64>(at, load<u64>(at) + <u64>delta);
}
