/**
 * x86-64 instruction decoding (Intel SDM vol. 2, chapter 2) from the encoding tables: bytes → which encoding, which form,
 * and the operands' fields. Both tiers use it. Nothing here touches machine memory.
 */
import {
  ENCODING_D64,
  ENCODING_HAS_X,
  ENCODING_LOCK,
  ENCODING_LOCK_RM,
  ENCODING_MAY_ADDRESS,
  ENCODING_MEMORY_FORMS,
  ENCODING_POP,
  ENCODING_REP,
  ENCODING_SHORT_ADDRESS,
  MAX_LENGTH,
} from '../decode-tables.ts';
import { formKey, operandBytes } from '../semantics/forms.ts';
import type { Encoding } from '../semantics/table.ts';
import { type Candidates, opcodes } from './candidates.ts';

export interface Decoded {
  readonly encoding: number;
  readonly key: number;
  readonly length: number;
  readonly opsize: number;
  readonly lock: boolean;
  /** Operand registers in operand order: GPR number (4..7 | 0x100 for ah..bh), xmm, segment… number; -1 if none. */
  readonly regs: readonly number[];
  /** Memory operand: GPR numbers or -1; base 16 = rip. */
  readonly base: number;
  readonly index: number;
  readonly scale: number;
  readonly seg: number;
  readonly disp: number;
  /** Memory operand with 32-bit or 16-bit address size. */
  readonly addr32: boolean;
  readonly addr16: boolean;
  /** Memory is accessed through the stack segment: bad addresses raise #SS, not #GP. */
  readonly stack: boolean;
  readonly memory: boolean;
  readonly imm: bigint;
  readonly imm2: number;
  /** Direct branch displacement. */
  readonly rel: number;
}

/** What decoding can end with besides an instruction. */
export type Failure = 'ud' | 'long' | 'short';

const SEGMENT_PREFIX: Record<number, number> = { 38: 0, 46: 1, 54: 2, 62: 3, 100: 4, 101: 5 };

export class InstructionDecoder {
  private readonly maps: readonly Candidates[];

  constructor(encodings: readonly Encoding[]) {
    this.maps = opcodes(encodings);
  }

  /** Decode at code[at]; `mode` 0 = 64-bit, 1 = compatibility. `end`: bytes available. */
  decode(code: Uint8Array, at: number, end: number, mode: 0 | 1): Decoded | Failure {
    const long = mode === 0;
    const limit = Math.min(end, at + MAX_LENGTH);
    const short: Failure = limit - at >= MAX_LENGTH ? 'long' : 'short';
    let p = at;
    let opsize16 = false;
    let addrPrefix = false;
    let lock = false;
    let rep = 0;
    let seg = -1;
    let rex = 0;
    let b = 0;
    for (;;) {
      if (p >= limit) return short;
      b = code[p++];
      if (b === 0x66) opsize16 = true;
      else if (b === 0x67) addrPrefix = true;
      else if (b === 0xf0) lock = true;
      else if (b === 0xf3) rep = 1;
      else if (b === 0xf2) rep = 2;
      else if (b === 0x26 || b === 0x2e || b === 0x36 || b === 0x3e) {
        if (!long) seg = SEGMENT_PREFIX[b];
      } else if (b === 0x64 || b === 0x65) seg = SEGMENT_PREFIX[b];
      else if (long && (b & 0xf0) === 0x40) {
        // REX counts only right before the opcode.
        rex = b;
        continue;
      } else break;
      rex = 0;
    }
    let map = 0;
    if (b === 0x0f) {
      if (p >= limit) return short;
      b = code[p++];
      map = 1;
      if (b === 0x38 || b === 0x3a) {
        map = b === 0x38 ? 2 : 3;
        if (p >= limit) return short;
        b = code[p++];
      }
    }
    const rexW = (rex & 8) !== 0;
    const rexR = (rex & 4) << 1;
    const rexX = (rex & 2) << 2;
    const rexB = (rex & 1) << 3;
    const candidates = this.maps[map * 256 + b];
    if (candidates.list.length === 0) return 'ud';
    const modrmAt = p;
    let modrm = 0;
    if (candidates.anyModrm) {
      if (p < limit) modrm = code[p];
      else if (candidates.allModrm) return short;
    }
    const mod = modrm >> 6;
    const found = candidates.find(opsize16, rep, rex, modrm, mode);
    if (!found) return 'ud';
    const { e, flags } = found;
    const is = (flag: number) => (flags & flag) !== 0;

    // Effective sizes.
    const sizes = e.sizes[mode];
    let opsize = sizes[0];
    if (sizes.length > 1 || !sizes.includes(opsize)) {
      const want = rexW ? 8 : opsize16 && e.prefix !== '66' ? 2 : long && is(ENCODING_D64) ? 8 : 4;
      opsize = sizes.includes(want) ? want : sizes.includes(4) ? 4 : sizes[sizes.length - 1];
    }
    const addr16 = !long && addrPrefix;
    const addr32 = long ? addrPrefix : true;

    // modrm, sib, displacement.
    let rm = 0;
    let base = -1;
    let index = -1;
    let scale = 0;
    let disp = 0;
    let dispBytes = 0;
    let ripRelative = false;
    const mem = is(ENCODING_MAY_ADDRESS) && mod !== 3;
    if (e.hasModrm) {
      if (modrmAt >= limit) return short;
      p = modrmAt + 1;
      rm = modrm & 7;
      if (mem) {
        if (addr16) {
          [base, index] = ADDR16[rm];
          dispBytes = mod === 1 ? 1 : mod === 2 || (mod === 0 && rm === 6) ? 2 : 0;
          if (mod === 0 && rm === 6) base = -1;
          if (seg < 0) seg = base === 5 ? 2 : 3;
        } else {
          if (rm === 4) {
            if (p >= limit) return short;
            const sib = code[p++];
            scale = sib >> 6;
            index = ((sib >> 3) & 7) | rexX;
            if (index === 4) index = -1;
            base = (sib & 7) | rexB;
            if ((sib & 7) === 5 && mod === 0) {
              base = -1;
              dispBytes = 4;
            }
          } else if (rm === 5 && mod === 0) {
            dispBytes = 4;
            ripRelative = long;
          } else base = rm | rexB;
          if (mod === 1) dispBytes = 1;
          else if (mod === 2) dispBytes = 4;
          // Default segment: SS for rsp and rbp bases.
          if (seg < 0) seg = base === 4 || base === 5 ? 2 : 3;
        }
        if (p + dispBytes > limit) return short;
        if (dispBytes) disp = signedAt(code, p, dispBytes);
        p += dispBytes;
        if (ripRelative) base = 16;
        if (base === 4 && is(ENCODING_POP)) disp += opsize;
      }
    }
    if (lock && !is(mem ? ENCODING_LOCK_RM : ENCODING_LOCK)) return 'ud';

    // Operands.
    const regs: number[] = [-1, -1, -1];
    let imm = 0n;
    let imm2 = 0;
    let imms = 0;
    let rel = 0;
    let memory = mem;
    const { operands } = e;
    for (let i = 0; i < operands.length; i++) {
      const o = operands[i];
      const bytes = operandBytes(o, opsize);
      // Without REX, byte registers 4 to 7 are ah to bh.
      const high = bytes === 1 && !rex;
      switch (o.code) {
        case 'E':
        case 'R':
          if (!mem) regs[i] = byteReg(rm | rexB, high);
          break;
        case 'W':
        case 'U':
          if (!mem) regs[i] = rm | rexB;
          break;
        case 'Q':
        case 'N':
          if (!mem) regs[i] = rm;
          break;
        case 'G':
          regs[i] = byteReg(((modrm >> 3) & 7) | rexR, high);
          break;
        case 'V':
          regs[i] = ((modrm >> 3) & 7) | rexR;
          break;
        case 'P':
          regs[i] = (modrm >> 3) & 7;
          break;
        case 'S':
          regs[i] = (modrm >> 3) & 7;
          if (regs[i] > 5) return 'ud';
          break;
        case 'C':
        case 'D':
          regs[i] = ((modrm >> 3) & 7) | rexR;
          break;
        case 'Z':
          regs[i] = byteReg((b & 7) | rexB, high);
          break;
        case 'fix':
          regs[i] = o.fixed;
          break;
        case 'one':
        case 'sti': {
          const v = o.code === 'one' ? 1n : BigInt(rm);
          if (imms++) imm2 = Number(v);
          else imm = v;
          break;
        }
        case 'I': {
          const n = o.size === 'bs' ? 1 : o.size === 'z' ? Math.min(bytes, 4) : bytes;
          if (p + n > limit) return short;
          const v = immediateAt(code, p, n, o.size === 'bs' || o.size === 'z' || n >= 4);
          p += n;
          if (imms++) imm2 = Number(v);
          else imm = v;
          break;
        }
        case 'J': {
          const n = o.size === 'b' ? 1 : opsize === 2 ? 2 : 4;
          if (p + n > limit) return short;
          rel = signedAt(code, p, n);
          p += n;
          break;
        }
        case 'O': {
          const n = long && !addrPrefix ? 8 : addr16 ? 2 : 4;
          if (p + n > limit) return short;
          // The whole address goes where the immediate would.
          imm = immediateAt(code, p, n, false);
          p += n;
          memory = true;
          if (seg < 0) seg = 3;
          break;
        }
        case 'X':
          memory = true;
          base = 6;
          if (seg < 0) seg = 3;
          break;
        case 'Y':
          // ES cannot be overridden; an X operand beside it keeps the base slot (movs reads Y through registers).
          if (!is(ENCODING_HAS_X)) {
            memory = true;
            base = 7;
            seg = 0;
          }
          break;
      }
    }
    if (p - at > MAX_LENGTH) return 'long';
    const key = formKey(
      mode,
      opsize,
      mem && is(ENCODING_MEMORY_FORMS),
      lock,
      is(ENCODING_REP) ? rep : 0,
      addrPrefix && is(ENCODING_SHORT_ADDRESS),
      e.cc ? b & 15 : 0,
    );
    return {
      encoding: found.index,
      key,
      length: p - at,
      opsize,
      lock,
      regs,
      base,
      index,
      scale,
      seg: long && seg < 4 ? -1 : seg,
      disp,
      addr32,
      addr16,
      stack: !memory || seg === 2,
      memory,
      imm,
      imm2,
      rel,
    };
  }
}

const byteReg = (n: number, high: boolean): number => (high && n >= 4 && n < 8 ? n | 0x100 : n);

/** Little-endian, 1, 2 or 4 bytes. */
function signedAt(code: Uint8Array, p: number, n: number): number {
  if (n === 1) return (code[p] << 24) >> 24;
  if (n === 2) return ((code[p] | (code[p + 1] << 8)) << 16) >> 16;
  return code[p] | (code[p + 1] << 8) | (code[p + 2] << 16) | (code[p + 3] << 24);
}

/** 1, 2, 4 or 8 bytes. */
function immediateAt(code: Uint8Array, p: number, n: number, signed: boolean): bigint {
  if (n === 8) {
    const low = BigInt(signedAt(code, p, 4) >>> 0);
    const high = signedAt(code, p + 4, 4);
    return (BigInt(signed ? high : high >>> 0) << 32n) | low;
  }
  const v = signedAt(code, p, n);
  return BigInt(signed ? v : n === 4 ? v >>> 0 : v & (n === 1 ? 0xff : 0xffff));
}

/** 16-bit addressing: base and index of each rm. */
const ADDR16: readonly (readonly [number, number])[] = [
  [3, 6],
  [3, 7],
  [5, 6],
  [5, 7],
  [6, -1],
  [7, -1],
  [5, -1],
  [3, -1],
];
