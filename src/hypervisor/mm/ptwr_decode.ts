// Decoding the stores that ptwr.ts emulates: 64-bit mode, of up to 8 bytes. Anything else is refused, and the guest sees its page
// fault (Intel SDM vol. 2, chapter 2 and appendix A).
import { CpuState } from "../abi";

/** One-byte opcodes are themselves, those of map 0F have this bit. */
export const OP_0F: u32 = 0x100;
/** Every form of push and call: what they store is in `imm`, unless it is read. */
export const OP_PUSH: u32 = 0x200;

/** Store.jumps: a call, to `target`, or to where what is read says. */
export const JUMPS_TARGET: u32 = 1;
export const JUMPS_READ: u32 = 2;

/** A decoded instruction with a memory operand that it writes. */
@unmanaged
export class Store {
  /** Linear address of the memory operand. */
  ea: u64;
  /** Immediate, sign-extended; 0 if none. */
  imm: i64;
  /** Opcode, OP_0F. */
  op: u32;
  /** Bytes written: 1, 2, 4, 8. */
  size: u32;
  /** modrm.reg with REX.R: register operand, or extension of the opcode (low 3 bits). */
  reg: u32;
  rex: u32;
  len: u32;
  /** A repeat prefix was given (f2, f3), which for SSE is part of the opcode. */
  rep: u32;
  /** It reads `size` bytes at linear address `source` as well (movs, push and call with an operand in memory). */
  reads: u32;
  jumps: u32;
  source: u64;
  target: u64;
}

const REX_B: u32 = 1;
const REX_X: u32 = 2;
const REX_R: u32 = 4;
const REX_W: u32 = 8;
const ES: u32 = 0;
const RSP: u32 = 4;
const RBP: u32 = 5;
const RSI: u32 = 6;
const RDI: u32 = 7;

// @ts-ignore: decorator
@inline
function gpr(cpu: usize, n: u32): u64 {
  return load<u64>(cpu + CpuState.gpr + (<usize>n << 3));
}

// @ts-ignore: decorator
@inline
function segment_base(cpu: usize, n: u32): u64 {
  return load<u64>(cpu + CpuState.segbase + (<usize>n << 3));
}

/** Forms whose operand is a byte; the opcode with bit 0 set has the larger sizes. */
function is_byte_form(op: u32): bool {
  if (op < 0x40) return (op & 1) == 0;
  switch (op) {
    case 0x80: case 0x86: case 0x88: case 0xa2: case 0xa4: case 0xaa: case 0xc0: case 0xc6: case 0xd0: case 0xd2: case 0xf6: case 0xfe:
    case OP_0F | 0xb0: case OP_0F | 0xc0: return true;
  }
  return op >= (OP_0F | 0x90) && op <= (OP_0F | 0x9f);
}

/** Has the opcode a modrm byte whose r/m operand it writes (or may write)? */
function is_rm_store(op: u32): bool {
  // add or adc sbb and sub xor: r/m, r
  if (op < 0x38) return (op & 7) < 2;
  switch (op) {
    case 0x80: case 0x81: case 0x83: case 0x86: case 0x87: case 0x88: case 0x89: case 0xc6: case 0xc7: case 0xf6:
    case 0xf7: case 0xfe: case 0xff: case OP_0F | 0xab: case OP_0F | 0xb3: case OP_0F | 0xbb: case OP_0F | 0xba:
    case OP_0F | 0xb0: case OP_0F | 0xb1: case OP_0F | 0xc0: case OP_0F | 0xc1: case OP_0F | 0xc3: case OP_0F | 0xc7:
    // shifts
    case 0xc0: case 0xc1: case 0xd0: case 0xd1: case 0xd2: case 0xd3:
    case OP_0F | 0xa4: case OP_0F | 0xa5: case OP_0F | 0xac: case OP_0F | 0xad:
    // movss movsd, movlps, movhps, movd movq, movq
    case OP_0F | 0x11: case OP_0F | 0x13: case OP_0F | 0x17: case OP_0F | 0x7e: case OP_0F | 0xd6:
      return true;
  }
  return op >= (OP_0F | 0x90) && op <= (OP_0F | 0x9f);
}

/** Is the extension in modrm.reg one that stores? */
function group_stores(op: u32, ext: u32): bool {
  switch (op) {
    case 0x80: case 0x81: case 0x83: return ext != 7;
    case 0xc6: case 0xc7: return ext == 0;
    case 0xf6: case 0xf7: return ext == 2 || ext == 3;
    case 0xfe: return ext <= 1;
    case 0xff: return ext <= 2 || ext == 6;
    case OP_0F | 0xba: return ext >= 5;
    case OP_0F | 0xc7: return ext == 1;
  }
  return true;
}

function immediate_size(op: u32, size: u32): u32 {
  switch (op) {
    case 0x80: case 0x83: case 0xc0: case 0xc1: case 0xc6: case OP_0F | 0xba: case OP_0F | 0xa4: case OP_0F | 0xac: return 1;
    case 0x81: case 0xc7: return size == 2 ? 2 : 4;
  }
  return 0;
}

/** An immediate of 1, 2 or 4 bytes, sign-extended. */
function immediate(at: usize, size: u32): i64 {
  return size == 1 ? <i64>load<i8>(at) : size == 2 ? <i64>load<i16>(at) : <i64>load<i32>(at);
}

/** Bytes that a store of an SSE register writes; 0: it is none, or has 16; -1: the opcode is none of SSE's. */
function sse_size(op: u32, rep: u32, opsize16: bool, rex: u32): i32 {
  switch (op) {
    case OP_0F | 0x11: return rep == 0xf3 ? 4 : rep == 0xf2 ? 8 : 0;
    case OP_0F | 0x13: case OP_0F | 0x17: return rep == 0 ? 8 : 0;
    case OP_0F | 0x7e: return rep != 0 || !opsize16 ? 0 : rex & REX_W ? 8 : 4;
    case OP_0F | 0xd6: return rep == 0 && opsize16 ? 8 : 0;
  }
  return -1;
}

/** push of a register or an immediate, and call: their bytes from `i` on; false: cut short. */
function decode_push(cpu: usize, code: usize, i: u32, n: u32, rip: u64, opsize16: bool, s: Store): bool {
  const op = s.op;
  const imm: u32 = op < 0x58 ? 0 : op == 0x6a ? 1 : op == 0x68 && opsize16 ? 2 : 4;
  if (i + imm > n) return false;
  if (imm == 0) s.imm = <i64>gpr(cpu, (op & 7) | (s.rex & REX_B ? 8 : 0));
  else s.imm = immediate(code + i, imm);
  s.len = i + imm;
  if (op == 0xe8) {
    s.target = rip + s.len + <u64>s.imm;
    s.jumps = JUMPS_TARGET;
    s.imm = <i64>(rip + s.len);
  }
  return to_stack(cpu, opsize16, s);
}

/** The operand is what lies below the stack pointer. A call's size cannot be changed. */
function to_stack(cpu: usize, opsize16: bool, s: Store): bool {
  s.op = OP_PUSH;
  s.size = opsize16 ? 2 : 8;
  s.ea = gpr(cpu, RSP) - s.size;
  return s.jumps == 0 || !opsize16;
}

/** Decodes the `n` bytes at `code`, fetched from `rip`, into `s`. False: not a store that is emulated. */
export function decode_store(cpu: usize, code: usize, n: u32, rip: u64, s: Store): bool {
  let i: u32 = 0;
  let rex: u32 = 0;
  let opsize16 = false;
  let addr32 = false;
  let base_of_segment: u64 = 0;
  s.rep = 0;
  let b: u32 = 0;
  for (;;) {
    if (i >= n) return false;
    b = load<u8>(code + i++);
    if (b == 0x66) opsize16 = true;
    else if (b == 0x67) addr32 = true;
    else if (b == 0xf2 || b == 0xf3) s.rep = b;
    else if (b == 0x64 || b == 0x65) base_of_segment = segment_base(cpu, b - 0x60);
    else if (b != 0xf0 && b != 0x2e && b != 0x36 && b != 0x3e && b != 0x26) break;
  }
  if ((b & 0xf0) == 0x40) {
    rex = b;
    if (i >= n) return false;
    b = load<u8>(code + i++);
  }
  let op = b;
  if (b == 0x0f) {
    if (i >= n) return false;
    op = OP_0F | load<u8>(code + i++);
  }
  s.op = op;
  s.rex = rex;
  s.reg = 0;
  s.imm = 0;
  s.reads = 0;
  s.jumps = 0;
  s.size = is_byte_form(op) ? 1 : rex & REX_W ? 8 : opsize16 ? 2 : 4;
  const mask: u64 = addr32 ? 0xffff_ffff : u64.MAX_VALUE;
  if (op == 0xa2 || op == 0xa3) {
    const width: u32 = addr32 ? 4 : 8;
    if (i + width > n) return false;
    s.ea = base_of_segment + (addr32 ? <u64>load<u32>(code + i) : load<u64>(code + i));
    s.len = i + width;
    return true;
  }
  if (op == 0xaa || op == 0xab || op == 0xa4 || op == 0xa5) {
    s.ea = segment_base(cpu, ES) + (gpr(cpu, RDI) & mask);
    s.len = i;
    s.reads = op < 0xa8 ? 1 : 0;
    s.source = gpr(cpu, RSI);
    // With 32-bit addresses the registers wrap at 32 bits: not worth having.
    return !addr32 && base_of_segment == 0;
  }
  if ((op & 0x1f8) == 0x50 || op == 0x68 || op == 0x6a || op == 0xe8) return decode_push(cpu, code, i, n, rip, opsize16, s);
  if (!is_rm_store(op) || i >= n) return false;
  const modrm = <u32>load<u8>(code + i++);
  const mod = modrm >> 6;
  s.reg = ((modrm >> 3) & 7) | (rex & REX_R ? 8 : 0);
  const pushes = op == 0xff && (s.reg & 7) >= 2;
  if ((mod == 3 && !pushes) || !group_stores(op, s.reg & 7)) return false;
  if (op == (OP_0F | 0xc7)) {
    // cmpxchg16b would write more than an entry.
    if (rex & REX_W) return false;
    s.size = 8;
  }
  const sse = sse_size(op, s.rep, opsize16, rex);
  if (sse == 0) return false;
  if (sse > 0) s.size = <u32>sse;
  let rm = modrm & 7;
  let address: u64 = 0;
  let disp_size: u32 = mod == 1 ? 1 : mod == 2 ? 4 : 0;
  let rip_relative = false;
  if (mod == 3) {
    // Only push and call: push_operand looks at the register.
  } else if (rm == RSP) {
    if (i >= n) return false;
    const sib = <u32>load<u8>(code + i++);
    const index = ((sib >> 3) & 7) | (rex & REX_X ? 8 : 0);
    if (index != RSP) address = gpr(cpu, index) << <u64>(sib >> 6);
    if ((sib & 7) == RBP && mod == 0) disp_size = 4;
    else address += gpr(cpu, (sib & 7) | (rex & REX_B ? 8 : 0));
  } else if (rm == RBP && mod == 0) {
    rip_relative = true;
    disp_size = 4;
  } else {
    rm |= rex & REX_B ? 8 : 0;
    address = gpr(cpu, rm);
  }
  const imm_size = immediate_size(op, s.size);
  if (i + disp_size + imm_size > n) return false;
  if (disp_size == 1) address += <i64>load<i8>(code + i);
  else if (disp_size == 4) address += <i64>load<i32>(code + i);
  i += disp_size;
  if (imm_size != 0) s.imm = immediate(code + i, imm_size);
  i += imm_size;
  if (rip_relative) address += rip + i;
  s.ea = base_of_segment + (address & mask);
  s.len = i;
  return pushes ? push_operand(cpu, mod == 3, modrm & 7, rip, opsize16, s) : true;
}

/** push and call of an operand that was decoded: a register, or what is read at s.ea. */
function push_operand(cpu: usize, is_register: bool, rm: u32, rip: u64, opsize16: bool, s: Store): bool {
  const value = is_register ? gpr(cpu, rm | (s.rex & REX_B ? 8 : 0)) : 0;
  s.reads = is_register ? 0 : 1;
  s.source = s.ea;
  if ((s.reg & 7) == 2) {
    s.jumps = is_register ? JUMPS_TARGET : JUMPS_READ;
    s.target = value;
    s.imm = <i64>(rip + s.len);
  } else s.imm = <i64>value;
  return to_stack(cpu, opsize16, s);
}

/** Address of register operand `n` as `size` bytes: without REX, byte registers 4 to 7 are ah ch dh bh. */
export function register_address(cpu: usize, n: u32, s: Store): usize {
  if (s.size == 1 && s.rex == 0 && n >= 4 && n < 8) return cpu + CpuState.gpr + (<usize>(n - 4) << 3) + 1;
  return cpu + CpuState.gpr + (<usize>n << 3);
}
