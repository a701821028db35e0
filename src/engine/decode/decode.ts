/**
 * x86-64 instruction decoding (Intel SDM vol. 2, chapter 2) from the encoding tables: bytes → which encoding, which form,
 * and the operands' fields. Both tiers use it. Nothing here touches machine memory.
 */
import { formKey, isMemoryOperand, operandBytes } from '../semantics/forms.ts';
import type { Encoding } from '../semantics/table.ts';

/** Instructions are at most this long; longer ones raise #GP. */
export const MAX_LENGTH = 15;

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

interface Candidate {
  readonly e: Encoding;
  readonly index: number;
}

const SEGMENT_PREFIX: Record<number, number> = { 38: 0, 46: 1, 54: 2, 62: 3, 100: 4, 101: 5 };

export class InstructionDecoder {
  private readonly maps: Candidate[][] = Array.from({ length: 4 * 256 }, () => []);

  constructor(encodings: readonly Encoding[]) {
    for (const [index, e] of encodings.entries()) {
      for (let i = 0; i < e.span; i++) this.maps[e.map * 256 + e.opcode + i].push({ e, index });
    }
    // Exact modrm before a digit before anything; mandatory prefixes before none.
    const rank = (c: Candidate) => (c.e.prefix === '' ? 4 : 0) + (c.e.modrm >= 0 ? 0 : c.e.digit >= 0 ? 1 : 2);
    for (const list of this.maps) list.sort((a, b) => rank(a) - rank(b));
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
    const list = this.maps[map * 256 + b];
    if (!list.length) return 'ud';
    const modrmAt = p;
    let modrm = 0;
    if (list.some((c) => c.e.hasModrm)) {
      if (p >= limit) {
        if (list.every((c) => c.e.hasModrm)) return short;
      } else modrm = code[p];
    }
    const mod = modrm >> 6;
    const found = list.find(({ e }) => {
      switch (e.prefix) {
        case 'NP':
          if (opsize16 || rep) return false;
          break;
        case '66':
          if (!opsize16 || rep) return false;
          break;
        case 'F3':
          if (rep !== 1) return false;
          break;
        case 'F2':
          if (rep !== 2) return false;
          break;
      }
      if (e.modrm >= 0) {
        if (modrm < e.modrm || modrm >= e.modrm + e.modrmSpan) return false;
      } else if (e.digit >= 0 && ((modrm >> 3) & 7) !== e.digit) return false;
      if (e.hasModrm && e.modrm < 0) {
        const needMem = e.attrs.has('mem') || e.operands.some((o) => o.code === 'M');
        const needReg = e.attrs.has('reg') || e.operands.some((o) => 'RUN'.includes(o.code));
        // Control and debug register moves ignore mod.
        const ignore = e.operands.some((o) => o.code === 'C' || o.code === 'D');
        if (!ignore && ((needMem && mod === 3) || (needReg && mod !== 3))) return false;
      }
      if (e.attrs.has('w1') && !rexW) return false;
      if (e.attrs.has('w0') && rexW) return false;
      if (e.attrs.has('b0') && rexB) return false;
      return e.sizes[mode].length > 0;
    });
    if (!found) return 'ud';
    const { e } = found;

    // Effective sizes.
    const sizes = e.sizes[mode];
    let opsize = sizes[0];
    if (sizes.length > 1 || !sizes.includes(opsize)) {
      const want = rexW ? 8 : opsize16 && e.prefix !== '66' ? 2 : long && e.attrs.has('d64') ? 8 : 4;
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
    const mem =
      e.hasModrm && e.modrm < 0 && mod !== 3 && !e.operands.some((o) => 'CD'.includes(o.code) || o.code === 'R');
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
        disp =
          dispBytes === 1
            ? (code[p] << 24) >> 24
            : dispBytes === 2
              ? ((code[p] | (code[p + 1] << 8)) << 16) >> 16
              : dispBytes === 4
                ? code[p] | (code[p + 1] << 8) | (code[p + 2] << 16) | (code[p + 3] << 24)
                : 0;
        p += dispBytes;
        if (ripRelative) base = 16;
        if (base === 4 && e.attrs.has('pop')) disp += opsize;
      }
    }
    if (lock && !(e.attrs.has('lock') && isMemoryOperand(e.operands[0], mem))) return 'ud';

    // Operands.
    const regs: number[] = [-1, -1, -1];
    let imm = 0n;
    let imm2 = 0;
    let imms = 0;
    let rel = 0;
    let memory = mem;
    const read = (n: number): bigint => {
      let v = 0n;
      for (let i = n - 1; i >= 0; i--) v = (v << 8n) | BigInt(code[p + i]);
      p += n;
      return v;
    };
    const byteReg = (n: number) => (n >= 4 && n < 8 && !rex ? n | 0x100 : n);
    for (const [i, o] of e.operands.entries()) {
      const bytes = operandBytes(o, opsize);
      const gpr = (n: number) => (bytes === 1 ? byteReg(n) : n);
      switch (o.code) {
        case 'E':
        case 'R':
          if (!mem) regs[i] = gpr(rm | rexB);
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
          regs[i] = gpr(((modrm >> 3) & 7) | rexR);
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
          regs[i] = gpr((b & 7) | rexB);
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
          let v = read(n);
          if (o.size === 'bs' || o.size === 'z' || n >= 4) v = BigInt.asIntN(n * 8, v);
          if (imms++) imm2 = Number(v);
          else imm = v;
          break;
        }
        case 'J': {
          const n = o.size === 'b' ? 1 : opsize === 2 ? 2 : 4;
          if (p + n > limit) return short;
          rel = Number(BigInt.asIntN(n * 8, read(n)));
          break;
        }
        case 'O': {
          const n = long && !addrPrefix ? 8 : addr16 ? 2 : 4;
          if (p + n > limit) return short;
          // The whole address goes where the immediate would.
          imm = read(n);
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
          if (!e.operands.some((x) => x.code === 'X')) {
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
      mem && e.modrm < 0 && e.operands.some((o) => 'EWQM'.includes(o.code)),
      lock,
      e.attrs.has('rep') ? rep : 0,
      addrPrefix && e.attrs.has('a'),
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
