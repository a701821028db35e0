/**
 * x86-64 instruction decoding (Intel SDM vol. 2, chapter 2) from the encoding tables (decode-tables.ts), straight into the records
 * that the interpreter's handlers walk. decode/decode.ts does the same for the translator, one instruction at a time;
 * test/engine/decode.test.ts holds the two against each other.
 */
import {
  AreaHeader, CODE_BYTES, CpuState, DECODED_LONG, DECODED_SHORT, DECODED_UD, DecoderTables, ENCODING_B0, ENCODING_CC,
  ENCODING_D64, ENCODING_HAS_MODRM, ENCODING_HAS_X, ENCODING_LOCK, ENCODING_LOCK_RM, ENCODING_MAY_ADDRESS, ENCODING_MEMORY,
  ENCODING_MEMORY_FORMS, ENCODING_POP, ENCODING_R0, ENCODING_R1, ENCODING_REGISTER, ENCODING_REP, ENCODING_REX,
  ENCODING_SHORT_ADDRESS, ENCODING_W0, ENCODING_W1, EncodingEntry, FORM_BRANCHES, FORM_ENDS, FORM_KEYS,
  FORM_TWO_IMMEDIATES, FOUND_NONE, FOUND_RIP, FormEntry, Found, FusionEntry, HASH_FACTOR, MAX_LENGTH, NO_DIGIT,
  OPCODE_ALL_MODRM, OPCODE_ANY_MODRM, OPERAND, OPERAND_FIXED_SHIFT, OPERAND_SIZE, OPERAND_SIZE_SHIFT, OpcodeEntry,
  PREFIX_66, PREFIX_ANY, PREFIX_F2, PREFIX_F3, PREFIX_MASK, PREFIX_NONE, RUN_LENGTH, Record32, SCALE_ADDR16, SCALE_STACK,
  SPECIAL,
} from '../../../build/abi/engine';
import { area } from './percpu';

const PAGE: u32 = 4096;

const NONE: u32 = <u32>CpuState.zero;

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
function gpr_slot(n: u32, high: bool): u32 {
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

/**
 * Decodes at `at`, of bytes up to `end`; mode 0 = 64-bit, 1 = compatibility. Its length, with the rest in DecoderTables.found; or
 * DECODED_*.
 */
function decode(t: u32, at: u32, end: u32, mode: u32): i32 {
  const long = mode == 0;
  const limit = min(end, at + MAX_LENGTH);
  const short: i32 = limit - at >= MAX_LENGTH ? DECODED_LONG : DECODED_SHORT;
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
  const opcode = t + load<u32>(t, DecoderTables.opcodes) + (map << 8 | b) * <u32>OpcodeEntry.SIZE;
  if (!load<u8>(opcode, OpcodeEntry.count)) return DECODED_UD;
  let modrm: u32 = 0;
  const of_all: u32 = load<u8>(opcode, OpcodeEntry.flags);
  if (of_all & OPCODE_ANY_MODRM) {
    if (p < limit) modrm = load<u8>(p);
    else if (of_all & OPCODE_ALL_MODRM) return short;
  }
  const mod = modrm >> 6;
  const e = find(t, opcode, opsize16, rep, rex, modrm, mode);
  if (!e) return DECODED_UD;
  const flags = load<u32>(e, EncodingEntry.flags);
  const size_log = effective_size(e, flags, mode, rex, opsize16);
  const opsize: u32 = 1 << size_log;
  const addr16 = !long && addr_prefix;

  // modrm, sib, displacement.
  let rm: u32 = 0;
  let base: i32 = FOUND_NONE;
  let index: i32 = FOUND_NONE;
  let scale: u32 = 0;
  let disp: i32 = 0;
  const mem = (flags & ENCODING_MAY_ADDRESS) != 0 && mod != 3;
  if (flags & ENCODING_HAS_MODRM) {
    if (p >= limit) return short;
    p++;
    rm = modrm & 7;
    if (mem) {
      let disp_bytes: u32 = mod == 1 ? 1 : 0;
      if (addr16) {
        if (mod == 2 || (mod == 0 && rm == 6)) disp_bytes = 2;
        base = base_of_16(rm, mod);
        if (rm < 4) index = 6 + (rm & 1);
        if (seg < 0) seg = base == 5 ? 2 : 3;
      } else {
        let from_rip = false;
        if (mod == 2) disp_bytes = 4;
        if (rm == 4) {
          if (p >= limit) return short;
          const sib: u32 = load<u8>(p++);
          scale = sib >> 6;
          index = ((sib >> 3) & 7) | ((rex & 2) << 2);
          if (index == 4) index = FOUND_NONE;
          base = (sib & 7) | rex_b;
          if ((sib & 7) == 5 && mod == 0) {
            base = FOUND_NONE;
            disp_bytes = 4;
          }
        } else if (rm == 5 && mod == 0) {
          disp_bytes = 4;
          from_rip = long;
        } else base = rm | rex_b;
        // Default segment: SS for rsp and rbp bases.
        if (seg < 0) seg = base == 4 || base == 5 ? 2 : 3;
        if (from_rip) base = FOUND_RIP;
      }
      if (p + disp_bytes > limit) return short;
      if (disp_bytes) disp = signed_at(p, disp_bytes);
      p += disp_bytes;
      if (base == 4 && flags & ENCODING_POP) disp += opsize;
    }
  }
  if (lock && !(flags & (mem ? ENCODING_LOCK_RM : ENCODING_LOCK))) return DECODED_UD;

  // Operands.
  const found = t + <u32>DecoderTables.found;
  let imm: u64 = 0;
  let imm2: i32 = 0;
  let rel: i32 = 0;
  store<u64>(found, NONE | NONE << 16 | <u64>NONE << 32, Found.slots);
  let imms: u32 = 0;
  let memory_operand = mem;
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
        if (!mem) slot = gpr_slot(rm | rex_b, high);
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
        slot = gpr_slot(((modrm >> 3) & 7) | rex_r, high);
        break;
      case OPERAND.V:
        slot = <u32>CpuState.xmm + (((modrm >> 3) & 7) | rex_r) * 16;
        break;
      case OPERAND.P:
        slot = <u32>CpuState.st + ((modrm >> 3) & 7) * 16;
        break;
      case OPERAND.S: {
        const n = (modrm >> 3) & 7;
        if (n > 5) return DECODED_UD;
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
        slot = gpr_slot((b & 7) | rex_b, high);
        break;
      case OPERAND.fix:
        slot = gpr_slot(o >> OPERAND_FIXED_SHIFT, false);
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
    store<u16>(found + (i << 1), slot, Found.slots);
  }
  const form =
    mode << 11 |
    size_log << 9 |
    <u32>(mem && (flags & ENCODING_MEMORY_FORMS) != 0) << 8 |
    <u32>lock << 7 |
    (flags & ENCODING_REP ? rep : 0) << 5 |
    <u32>(addr_prefix && (flags & ENCODING_SHORT_ADDRESS) != 0) << 4 |
    (flags & ENCODING_CC ? b & 15 : 0);
  const number = (e - t - load<u32>(t, DecoderTables.encodings)) / <u32>EncodingEntry.SIZE;
  const stack = !memory_operand || seg == 2;
  store<u64>(found, imm, Found.imm);
  store<u32>(found, number * FORM_KEYS | form, Found.key);
  store<i32>(found, base, Found.base);
  store<i32>(found, index, Found.index);
  store<i32>(found, disp, Found.disp);
  store<i32>(found, long && seg < 4 ? -1 : seg, Found.segment);
  store<i32>(found, rel, Found.rel);
  store<i32>(found, imm2, Found.imm2);
  store<u8>(found, scale | (addr16 ? SCALE_ADDR16 : 0) | (stack ? SCALE_STACK : 0), Found.scale);
  store<u8>(found, memory_operand, Found.memory);
  store<u8>(found, long ? addr_prefix : true, Found.addr32);
  return p - at;
}

/** 16-bit addressing: base of each rm. */
function base_of_16(rm: u32, mod: u32): i32 {
  switch (rm) {
    case 2:
    case 3:
      return 5;
    case 4:
      return 6;
    case 5:
      return 7;
    case 6:
      return mod == 0 ? FOUND_NONE : 5;
    default:
      return 3;
  }
}

/** The FormEntry of a key, or 0. */
function form_of(t: u32, key: u32): u32 {
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

/** Writes the record of what decode() has found, at page offset o. Its FormEntry; 0: there is no form for it, and no record. */
function put(t: u32, rec: u32, o: u32, length: u32): u32 {
  const found = t + <u32>DecoderTables.found;
  const f = form_of(t, load<u32>(found, Found.key));
  if (!f) return 0;
  const next = o + length;
  const segment = load<i32>(found, Found.segment);
  let way: u32 = 0;
  let base = NONE;
  let index = NONE;
  let disp = load<i32>(found, Found.disp);
  if (load<u8>(found, Found.memory)) {
    const b = load<i32>(found, Found.base);
    const i = load<i32>(found, Found.index);
    if (b == FOUND_RIP) {
      base = <u32>CpuState.page;
      disp += next;
    } else if (b >= 0) base = <u32>CpuState.gpr + b * 8;
    if (i >= 0) index = <u32>CpuState.gpr + i * 8;
    way = load<u8>(found, Found.addr32) ? 2 : i >= 0 || segment >= 0 ? 1 : 0;
  }
  store<u32>(rec, load<u16>(f + (way << 1), FormEntry.handlers), Record32.handler);
  store<u32>(rec, load<u32>(found, Found.slots), Record32.r0);
  store<u16>(rec, load<u16>(found + 4, Found.slots), Record32.r2);
  store<u16>(rec, base, Record32.base);
  store<u16>(rec, index, Record32.index);
  store<u16>(rec, segment >= 0 ? <u32>CpuState.segbase + segment * 8 : NONE, Record32.seg);
  store<u8>(rec, load<u8>(found, Found.scale), Record32.scale);
  store<u8>(rec, length, Record32.len);
  store<u16>(rec, next, Record32.next);
  store<i32>(rec, disp, Record32.disp);
  const flags: u32 = load<u16>(f, FormEntry.flags);
  const imm = load<u64>(found, Found.imm);
  if (flags & FORM_BRANCHES) store<u64>(rec, <u64>(<u32>(next + load<i32>(found, Found.rel))) << 32, Record32.imm);
  else if (flags & FORM_TWO_IMMEDIATES)
    store<u64>(rec, <u64>load<u32>(found, Found.imm2) << 32 | (imm & 0xffff_ffff), Record32.imm);
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
  const t = tables();
  const bytes = t + <u32>DecoderTables.code - at;
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
    const length = decode(t, bytes + o, bytes + min(o + MAX_LENGTH, PAGE), mode);
    const f = length > 0 ? put(t, rec, o, length) : 0;
    if (!f) {
      if (length == DECODED_SHORT) special(rec, SPECIAL.STRADDLE, PAGE, PAGE - o, 0);
      else if (length == DECODED_LONG) special(rec, SPECIAL.GP, o + MAX_LENGTH, MAX_LENGTH, 0);
      else if (length == DECODED_UD) special(rec, SPECIAL.UD, o + MAX_LENGTH, MAX_LENGTH, 0);
      else special(rec, SPECIAL.UD, o + length, length, 0);
      rec += <u32>Record32.SIZE;
      break;
    }
    rec += <u32>Record32.SIZE;
    o += length;
    n++;
    if (load<u16>(f, FormEntry.flags) & FORM_ENDS) break;
  }
  if (fuse) fuse_run(t, start, n);
  return ((rec - start) / <u32>Record32.SIZE) << 8 | n;
}

/**
 * Decodes the one instruction that the first `n` bytes of DecoderTables.code begin with, as if at page offset o. Its length, with the
 * record at `rec`; or DECODED_*, and there is none.
 */
export function decode_one(n: u32, mode: u32, rec: u32, o: u32): i32 {
  const t = tables();
  const bytes = t + <u32>DecoderTables.code;
  const length = decode(t, bytes, bytes + min(n, CODE_BYTES), mode);
  return length > 0 && !put(t, rec, o, length) ? DECODED_UD : length;
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
function fuse_run(t: u32, start: u32, n: u32): void {
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
