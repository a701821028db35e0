/**
 * x86-64 instruction decoding (Intel SDM vol. 2, chapter 2) from the encoding tables (decode-tables.ts), straight into the records
 * that the interpreter's handlers walk. decode/decode.ts does the same for the translator, one instruction at a time;
 * test/engine/decode.test.ts holds the two against each other.
 */
import {
  AreaHeader, CODE_BYTES, CpuState, DecoderTables, ENCODING_B0, ENCODING_CC, ENCODING_D64, ENCODING_HAS_MODRM, ENCODING_HAS_X,
  ENCODING_LOCK, ENCODING_LOCK_RM, ENCODING_MAY_ADDRESS, ENCODING_MEMORY, ENCODING_MEMORY_FORMS, ENCODING_POP, ENCODING_R0,
  ENCODING_R1, ENCODING_REGISTER, ENCODING_REP, ENCODING_REX, ENCODING_SHORT_ADDRESS, ENCODING_W0, ENCODING_W1, EncodingEntry,
  FORM_BRANCHES, FORM_ENDS, FORM_TWO_IMMEDIATES, FormEntry, FusionEntry, HASH_FACTOR, NO_DIGIT, OPCODE_ALL_MODRM,
  OPCODE_ANY_MODRM, OPERAND, OPERAND_FIXED_SHIFT, OPERAND_SIZE, OPERAND_SIZE_SHIFT, OpcodeEntry, PREFIX_66, PREFIX_ANY, PREFIX_F2,
  PREFIX_F3, PREFIX_MASK, PREFIX_NONE, RUN_LENGTH, Record32, SCALE_ADDR16, SCALE_STACK, SPECIAL,
} from '../../../build/abi/engine';
import { area } from './percpu';

const PAGE: u32 = 4096;
/** Instructions are at most this long; longer ones raise #GP. */
const MAX_LENGTH: u32 = 15;

// What decoding can end with besides a length.
const UD: i32 = 0;
const LONG: i32 = -1;
const SHORT: i32 = -2;

const NONE: u32 = <u32>CpuState.zero;
const RIP: i32 = 16;

// The instruction that decode() has found: its form, slots of its registers, and fields. Memory operands name registers by number.
let entry: u32 = 0;
let form_key: u32 = 0;
let r0: u32 = 0;
let r1: u32 = 0;
let r2: u32 = 0;
let memory_operand: bool = false;
let base: i32 = 0;
let index: i32 = 0;
let scale: u32 = 0;
let segment: i32 = 0;
let disp: i32 = 0;
let addr32: bool = false;
let addr16: bool = false;
let stack: bool = false;
let imm: u64 = 0;
let imm2: i32 = 0;
let rel: i32 = 0;

// @ts-ignore: decorator
@inline
function tables(): u32 {
  return load<u32>(area, AreaHeader.decoder);
}

/** Little-endian, 1, 2 or 4 bytes, sign-extended. */
function signed_at(p: u32, n: u32): i32 {
  if (n == 1) return load<i8>(p);
  return n == 2 ? load<i16>(p) : load<i32>(p);
}

function unsigned_at(p: u32, n: u32): u64 {
  if (n == 1) return load<u8>(p);
  if (n == 2) return load<u16>(p);
  return n == 4 ? load<u32>(p) : load<u64>(p);
}

/** Bytes of an operand at effective operand size `opsize`. */
function operand_bytes(size: u32, opsize: u32): u32 {
  switch (size) {
    case OPERAND_SIZE.b:
      return 1;
    case OPERAND_SIZE.w:
      return 2;
    case OPERAND_SIZE.d:
    case OPERAND_SIZE.ss:
      return 4;
    case OPERAND_SIZE.q:
    case OPERAND_SIZE.sd:
      return 8;
    case OPERAND_SIZE.x:
    case OPERAND_SIZE.u:
      return 16;
    case OPERAND_SIZE.v:
    case OPERAND_SIZE.z:
    case OPERAND_SIZE.bs:
      return opsize;
    case OPERAND_SIZE.y:
      return opsize == 8 ? 8 : 4;
    default:
      return 0;
  }
}

/** Slot of a general register; without REX, byte registers 4 to 7 are ah to bh. */
// @ts-ignore: decorator
@inline
function gpr(n: u32, high: bool): u32 {
  return <u32>CpuState.gpr + (high && n >= 4 && n < 8 ? (n & 3) * 8 + 1 : n * 8);
}

function control(n: u32): u32 {
  switch (n) {
    case 0:
      return <u32>CpuState.cr0;
    case 2:
      return <u32>CpuState.cr2;
    case 3:
      return <u32>CpuState.guest_cr3;
    case 4:
      return <u32>CpuState.cr4;
    case 8:
      return <u32>CpuState.cr8;
    default:
      return NONE;
  }
}

/** The encoding for these prefixes (rep: 0, 1 = F3, 2 = F2), REX bits and modrm: its entry, or 0. */
function find(t: u32, opcode: u32, opsize16: bool, rep: u32, rex: u32, modrm: u32, mode: u32): u32 {
  const encodings = t + load<u32>(t, DecoderTables.encodings);
  let at = t + load<u32>(t, DecoderTables.lists) + (<u32>load<u16>(opcode, OpcodeEntry.first) << 1);
  const prefix: u32 = rep == 1 ? PREFIX_F3 : rep == 2 ? PREFIX_F2 : opsize16 ? PREFIX_66 : PREFIX_NONE;
  for (let n: u32 = load<u8>(opcode, OpcodeEntry.count); n != 0; n--, at += 2) {
    const e = encodings + <u32>load<u16>(at) * <u32>EncodingEntry.SIZE;
    const flags = load<u32>(e, EncodingEntry.flags);
    const wanted = flags & PREFIX_MASK;
    if (wanted != PREFIX_ANY && wanted != prefix) continue;
    const span: u32 = load<u8>(e, EncodingEntry.modrm_span);
    if (span) {
      if (modrm - <u32>load<u8>(e, EncodingEntry.modrm) >= span) continue;
    } else {
      const digit: u32 = load<u8>(e, EncodingEntry.digit);
      if (digit != NO_DIGIT && ((modrm >> 3) & 7) != digit) continue;
    }
    if (modrm >= 0xc0 ? flags & ENCODING_MEMORY : flags & ENCODING_REGISTER) continue;
    if (flags & ENCODING_REX) {
      if (flags & ENCODING_W1 && !(rex & 8)) continue;
      if (flags & ENCODING_W0 && rex & 8) continue;
      if (flags & ENCODING_B0 && rex & 1) continue;
      if (flags & ENCODING_R0 && rex & 4) continue;
      if (flags & ENCODING_R1 && !(rex & 4)) continue;
    }
    if (load<u8>(e + mode, EncodingEntry.sizes)) return e;
  }
  return 0;
}

/** log2 of the effective operand size. */
function effective_size(e: u32, flags: u32, mode: u32, rex: u32, opsize16: bool): u32 {
  const sizes: u32 = load<u8>(e + mode, EncodingEntry.sizes);
  const smallest: u32 = load<u8>(e + mode, EncodingEntry.smallest);
  if (sizes == <u32>1 << smallest) return smallest;
  const by_prefix = opsize16 && (flags & PREFIX_MASK) != PREFIX_66;
  const want: u32 = rex & 8 ? 3 : by_prefix ? 1 : mode == 0 && flags & ENCODING_D64 ? 3 : 2;
  if (sizes & (1 << want)) return want;
  return sizes & 4 ? 2 : load<u8>(e + mode, EncodingEntry.largest);
}

/** Decodes at `at`, of bytes up to `end`; mode 0 = 64-bit, 1 = compatibility. Its length, or UD, LONG, SHORT. */
function decode(at: u32, end: u32, mode: u32): i32 {
  const long = mode == 0;
  const limit = min(end, at + MAX_LENGTH);
  const short: i32 = limit - at >= MAX_LENGTH ? LONG : SHORT;
  let p = at;
  let opsize16 = false;
  let addr_prefix = false;
  let lock = false;
  let rep: u32 = 0;
  let seg: i32 = -1;
  let rex: u32 = 0;
  let b: u32 = 0;
  for (;;) {
    if (p >= limit) return short;
    b = load<u8>(p++);
    if (long && (b & 0xf0) == 0x40) {
      // REX counts only right before the opcode.
      rex = b;
      continue;
    }
    if (b == 0x66) opsize16 = true;
    else if (b == 0x67) addr_prefix = true;
    else if (b == 0xf0) lock = true;
    else if (b == 0xf3) rep = 1;
    else if (b == 0xf2) rep = 2;
    else if ((b & 0xe7) == 0x26) {
      if (!long) seg = (b >> 3) & 3;
    } else if (b == 0x64 || b == 0x65) seg = b - 0x60;
    else break;
    rex = 0;
  }
  let map: u32 = 0;
  if (b == 0x0f) {
    if (p >= limit) return short;
    b = load<u8>(p++);
    map = 1;
    if (b == 0x38 || b == 0x3a) {
      map = b == 0x38 ? 2 : 3;
      if (p >= limit) return short;
      b = load<u8>(p++);
    }
  }
  const rex_r = (rex & 4) << 1;
  const rex_b = (rex & 1) << 3;
  const t = tables();
  const opcode = t + load<u32>(t, DecoderTables.opcodes) + (map << 8 | b) * <u32>OpcodeEntry.SIZE;
  if (!load<u8>(opcode, OpcodeEntry.count)) return UD;
  let modrm: u32 = 0;
  const of_all: u32 = load<u8>(opcode, OpcodeEntry.flags);
  if (of_all & OPCODE_ANY_MODRM) {
    if (p < limit) modrm = load<u8>(p);
    else if (of_all & OPCODE_ALL_MODRM) return short;
  }
  const mod = modrm >> 6;
  const e = find(t, opcode, opsize16, rep, rex, modrm, mode);
  if (!e) return UD;
  const flags = load<u32>(e, EncodingEntry.flags);
  const size_log = effective_size(e, flags, mode, rex, opsize16);
  const opsize: u32 = 1 << size_log;
  addr16 = !long && addr_prefix;
  addr32 = long ? addr_prefix : true;

  // modrm, sib, displacement.
  let rm: u32 = 0;
  base = -1;
  index = -1;
  scale = 0;
  disp = 0;
  const mem = (flags & ENCODING_MAY_ADDRESS) != 0 && mod != 3;
  if (flags & ENCODING_HAS_MODRM) {
    if (p >= limit) return short;
    p++;
    rm = modrm & 7;
    if (mem) {
      let disp_bytes: u32 = mod == 1 ? 1 : 0;
      if (addr16) {
        if (mod == 2 || (mod == 0 && rm == 6)) disp_bytes = 2;
        base_of_16(rm, mod);
        if (seg < 0) seg = base == 5 ? 2 : 3;
      } else {
        let from_rip = false;
        if (mod == 2) disp_bytes = 4;
        if (rm == 4) {
          if (p >= limit) return short;
          const sib: u32 = load<u8>(p++);
          scale = sib >> 6;
          index = ((sib >> 3) & 7) | ((rex & 2) << 2);
          if (index == 4) index = -1;
          base = (sib & 7) | rex_b;
          if ((sib & 7) == 5 && mod == 0) {
            base = -1;
            disp_bytes = 4;
          }
        } else if (rm == 5 && mod == 0) {
          disp_bytes = 4;
          from_rip = long;
        } else base = rm | rex_b;
        // Default segment: SS for rsp and rbp bases.
        if (seg < 0) seg = base == 4 || base == 5 ? 2 : 3;
        if (from_rip) base = RIP;
      }
      if (p + disp_bytes > limit) return short;
      if (disp_bytes) disp = signed_at(p, disp_bytes);
      p += disp_bytes;
      if (base == 4 && flags & ENCODING_POP) disp += opsize;
    }
  }
  if (lock && !(flags & ENCODING_LOCK || (mem && flags & ENCODING_LOCK_RM))) return UD;

  // Operands.
  imm = 0;
  imm2 = 0;
  rel = 0;
  r0 = NONE;
  r1 = NONE;
  r2 = NONE;
  let imms: u32 = 0;
  memory_operand = mem;
  const operands: u32 = load<u8>(e, EncodingEntry.operands);
  for (let i: u32 = 0; i < operands; i++) {
    const o = load<u32>(e + (i << 2), EncodingEntry.operand);
    const size = (o >> OPERAND_SIZE_SHIFT) & 0xff;
    const bytes = operand_bytes(size, opsize);
    const high = bytes == 1 && rex == 0;
    let slot = NONE;
    switch (o & 0xff) {
      case OPERAND.E:
      case OPERAND.R:
        if (!mem) slot = gpr(rm | rex_b, high);
        break;
      case OPERAND.W:
      case OPERAND.U:
        if (!mem) slot = <u32>CpuState.xmm + (rm | rex_b) * 16;
        break;
      case OPERAND.Q:
      case OPERAND.N:
        if (!mem) slot = <u32>CpuState.st + rm * 16;
        break;
      case OPERAND.G:
        slot = gpr(((modrm >> 3) & 7) | rex_r, high);
        break;
      case OPERAND.V:
        slot = <u32>CpuState.xmm + (((modrm >> 3) & 7) | rex_r) * 16;
        break;
      case OPERAND.P:
        slot = <u32>CpuState.st + ((modrm >> 3) & 7) * 16;
        break;
      case OPERAND.S: {
        const n = (modrm >> 3) & 7;
        if (n > 5) return UD;
        slot = <u32>CpuState.sel + n * 2;
        break;
      }
      case OPERAND.C:
        slot = control(((modrm >> 3) & 7) | rex_r);
        break;
      case OPERAND.D:
        slot = <u32>CpuState.dr + ((modrm >> 3) & 7) * 8;
        break;
      case OPERAND.Z:
        slot = gpr((b & 7) | rex_b, high);
        break;
      case OPERAND.fix:
        slot = gpr(o >> OPERAND_FIXED_SHIFT, false);
        break;
      case OPERAND.one:
      case OPERAND.sti: {
        const v: u32 = (o & 0xff) == OPERAND.one ? 1 : rm;
        if (imms++) imm2 = v;
        else imm = v;
        break;
      }
      case OPERAND.I: {
        const n: u32 = size == OPERAND_SIZE.bs ? 1 : size == OPERAND_SIZE.z ? min(bytes, 4) : bytes;
        if (p + n > limit) return short;
        const sign = size == OPERAND_SIZE.bs || size == OPERAND_SIZE.z || n == 4;
        const v: u64 = sign ? <u64>(<i64>signed_at(p, n)) : unsigned_at(p, n);
        p += n;
        if (imms++) imm2 = <i32>v;
        else imm = v;
        break;
      }
      case OPERAND.J: {
        const n: u32 = size == OPERAND_SIZE.b ? 1 : opsize == 2 ? 2 : 4;
        if (p + n > limit) return short;
        rel = signed_at(p, n);
        p += n;
        break;
      }
      case OPERAND.O: {
        const n: u32 = long && !addr_prefix ? 8 : addr16 ? 2 : 4;
        if (p + n > limit) return short;
        // The whole address goes where the immediate would.
        imm = unsigned_at(p, n);
        p += n;
        memory_operand = true;
        if (seg < 0) seg = 3;
        break;
      }
      case OPERAND.X:
        memory_operand = true;
        base = 6;
        if (seg < 0) seg = 3;
        break;
      case OPERAND.Y:
        // ES cannot be overridden; an X operand beside it keeps the base slot (movs reads Y through registers).
        if (!(flags & ENCODING_HAS_X)) {
          memory_operand = true;
          base = 7;
          seg = 0;
        }
        break;
    }
    if (i == 0) r0 = slot;
    else if (i == 1) r1 = slot;
    else r2 = slot;
  }
  stack = !memory_operand || seg == 2;
  segment = long && seg < 4 ? -1 : seg;
  entry = e;
  form_key =
    mode << 11 |
    size_log << 9 |
    <u32>(mem && (flags & ENCODING_MEMORY_FORMS) != 0) << 8 |
    <u32>lock << 7 |
    (flags & ENCODING_REP ? rep : 0) << 5 |
    <u32>(addr_prefix && (flags & ENCODING_SHORT_ADDRESS) != 0) << 4 |
    (flags & ENCODING_CC ? b & 15 : 0);
  return p - at;
}

/** 16-bit addressing: base and index of each rm. */
function base_of_16(rm: u32, mod: u32): void {
  switch (rm) {
    case 0:
    case 1:
      base = 3;
      index = 6 + rm;
      break;
    case 2:
    case 3:
      base = 5;
      index = 4 + rm;
      break;
    case 4:
      base = 6;
      break;
    case 5:
      base = 7;
      break;
    case 6:
      base = mod == 0 ? -1 : 5;
      break;
    default:
      base = 3;
  }
}

/** The FormEntry of the instruction, or 0. */
function form(): u32 {
  const t = tables();
  const number = (entry - t - load<u32>(t, DecoderTables.encodings)) / <u32>EncodingEntry.SIZE;
  const key = number << 12 | form_key;
  const shift = load<u32>(t, DecoderTables.form_shift);
  const forms = t + load<u32>(t, DecoderTables.forms);
  const slots = t + load<u32>(t, DecoderTables.form_hash);
  const mask: u32 = 0xffff_ffff >>> shift;
  let h = (key * HASH_FACTOR) >>> shift;
  while (true) {
    const n: u32 = load<u16>(slots + (h << 1));
    if (n == 0) return 0;
    const f = forms + (n - 1) * <u32>FormEntry.SIZE;
    if (load<u32>(f, FormEntry.key) == key) return f;
    h = (h + 1) & mask;
  }
}

/** Writes the record of the instruction at page offset o. Its FormEntry; 0: there is no form for it, and no record. */
function put(rec: u32, o: u32, length: u32): u32 {
  const f = form();
  if (!f) return 0;
  const next = o + length;
  let way: u32 = 0;
  let base_slot = NONE;
  let index_slot = NONE;
  let d = disp;
  if (memory_operand) {
    if (base == RIP) {
      base_slot = <u32>CpuState.page;
      d += next;
    } else if (base >= 0) base_slot = <u32>CpuState.gpr + base * 8;
    if (index >= 0) index_slot = <u32>CpuState.gpr + index * 8;
    way = addr32 ? 2 : index >= 0 || segment >= 0 ? 1 : 0;
  }
  store<u32>(rec, load<u16>(f + (way << 1), FormEntry.handlers), Record32.handler);
  store<u16>(rec, r0, Record32.r0);
  store<u16>(rec, r1, Record32.r1);
  store<u16>(rec, r2, Record32.r2);
  store<u16>(rec, base_slot, Record32.base);
  store<u16>(rec, index_slot, Record32.index);
  store<u16>(rec, segment >= 0 ? <u32>CpuState.segbase + segment * 8 : NONE, Record32.seg);
  store<u8>(rec, scale | (addr16 ? SCALE_ADDR16 : 0) | (stack ? SCALE_STACK : 0), Record32.scale);
  store<u8>(rec, length, Record32.len);
  store<u16>(rec, next, Record32.next);
  store<i32>(rec, d, Record32.disp);
  const flags: u32 = load<u16>(f, FormEntry.flags);
  if (flags & FORM_BRANCHES) store<u64>(rec, <u64>(<u32>(next + rel)) << 32, Record32.imm);
  else if (flags & FORM_TWO_IMMEDIATES) store<u64>(rec, <u64>(<u32>imm2) << 32 | (imm & 0xffff_ffff), Record32.imm);
  else store<u64>(rec, imm, Record32.imm);
  return f;
}

/** Writes a record that is no instruction (SPECIAL). */
function special(rec: u32, handler: u32, next: u32, len: u32, target: u32): void {
  memory.fill(rec, 0, Record32.SIZE);
  store<u32>(rec, handler, Record32.handler);
  store<u16>(rec, next, Record32.next);
  store<u8>(rec, len, Record32.len);
  store<u32>(rec, target, Record32.imm);
}

/**
 * Decodes a run from page offset `at` on, of the bytes of the page up to offset `known` that DecoderTables.code has: records from
 * address `rec` on, up to the end of the run, of what is known, or to what has been decoded already. How many records * 256 + how
 * many of them are instructions.
 */
export function decode_run(table: u32, at: u32, known: u32, mode: u32, rec: u32, fuse: u32): u32 {
  const start = rec;
  const bytes = tables() + <u32>DecoderTables.code - at;
  let o = at;
  let n: u32 = 0;
  for (;;) {
    if (o >= PAGE || n >= RUN_LENGTH || (known < PAGE && o + MAX_LENGTH > known)) {
      special(rec, SPECIAL.NEXT, o, 0, 0);
      rec += <u32>Record32.SIZE;
      break;
    }
    const place = table + (o << 2);
    const there = load<u32>(place);
    if (there) {
      special(rec, SPECIAL.GOTO, o, 0, there);
      rec += <u32>Record32.SIZE;
      break;
    }
    store<u32>(place, rec);
    const length = decode(bytes + o, bytes + min(o + MAX_LENGTH, PAGE), mode);
    const f = length > 0 ? put(rec, o, length) : 0;
    if (!f) {
      if (length == SHORT) special(rec, SPECIAL.STRADDLE, PAGE, PAGE - o, 0);
      else if (length == LONG) special(rec, SPECIAL.GP, o + MAX_LENGTH, MAX_LENGTH, 0);
      else if (length == UD) special(rec, SPECIAL.UD, o + MAX_LENGTH, MAX_LENGTH, 0);
      else special(rec, SPECIAL.UD, o + length, length, 0);
      rec += <u32>Record32.SIZE;
      break;
    }
    rec += <u32>Record32.SIZE;
    o += length;
    n++;
    if (load<u16>(f, FormEntry.flags) & FORM_ENDS) break;
  }
  if (fuse) fuse_run(start, n);
  return ((rec - start) / <u32>Record32.SIZE) << 8 | n;
}

/**
 * Decodes the one instruction that the first `n` bytes of DecoderTables.code begin with, as if at page offset o. Its length, with the
 * record at `rec`; or UD, LONG, SHORT, and there is none.
 */
export function decode_one(n: u32, mode: u32, rec: u32, o: u32): i32 {
  const bytes = tables() + <u32>DecoderTables.code;
  const length = decode(bytes, bytes + min(n, CODE_BYTES), mode);
  return length > 0 && !put(rec, o, length) ? UD : length;
}

/** Where the handler leads to from a node of the tree of superinstructions: its FusionEntry, or 0. */
function fusion(t: u32, node: u32, handler: u32): u32 {
  const shift = load<u32>(t, DecoderTables.fusion_shift);
  const entries = t + load<u32>(t, DecoderTables.fusions);
  const mask: u32 = 0xffff_ffff >>> shift;
  let h = ((node << 16 | handler) * HASH_FACTOR) >>> shift;
  while (true) {
    const e = entries + h * <u32>FusionEntry.SIZE;
    if (load<u16>(e, FusionEntry.next) == 0) return 0;
    if (<u32>load<u16>(e, FusionEntry.node) == node && <u32>load<u16>(e, FusionEntry.handler) == handler) return e;
    h = (h + 1) & mask;
  }
}

/** Gives each of the n records from `start` the longest superinstruction that begins there. */
function fuse_run(start: u32, n: u32): void {
  const t = tables();
  const end = start + n * <u32>Record32.SIZE;
  for (let rec = start; rec < end; rec += <u32>Record32.SIZE) {
    let node: u32 = 0;
    let best: u32 = 0;
    // Records from here on still have their own handlers.
    for (let r = rec; r < end; r += <u32>Record32.SIZE) {
      const e = fusion(t, node, load<u32>(r, Record32.handler));
      if (!e) break;
      const fused: u32 = load<u16>(e, FusionEntry.fused);
      if (fused) best = fused;
      node = load<u16>(e, FusionEntry.next);
    }
    if (best) store<u32>(rec, best, Record32.handler);
  }
}
