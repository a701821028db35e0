/**
 * An assembler for test cases: an encoding line of the instruction table and chosen operands → machine code (Intel SDM
 * vol. 2, chapter 2). It shares the table with the engine but nothing with the engine's decoder.
 */
import type { Encoding, OperandSpec } from '../../src/engine/semantics/table.ts';

/** A memory operand as it is written into modrm, SIB and displacement. */
export interface Memory {
  /** General register numbers, or -1. */
  readonly base: number;
  readonly index: number;
  /** log2 of the scale. */
  readonly scale: number;
  readonly disp: number;
  /** Bytes of displacement where there is a choice (0, 1, 4); base-less forms always have four. */
  readonly dispSize: number;
  /** rip-relative: `disp` is then the target address, the assembler makes it relative. */
  readonly rip: boolean;
  /** Absolute address for moffs operands. */
  readonly absolute: bigint;
  /** Segment prefix byte or 0. */
  readonly seg: number;
  /** Address-size prefix: 32-bit addresses in 64-bit mode, 16-bit ones in compatibility mode. */
  readonly small: boolean;
  /** 16-bit addressing: modrm.rm; mod follows from dispSize (0, 1, 2); rm 6 with dispSize 0 means disp16 alone. */
  readonly rm16: number;
}

export interface Choice {
  readonly mode: 0 | 1;
  readonly opsize: number;
  readonly lock: boolean;
  readonly rep: '' | 'rep' | 'repne';
  /** Low nibble for `+cc` opcodes. */
  readonly cc: number;
  /** Register number of each operand that is one (4..7 | HIGH_BYTE for ah..bh); others are ignored. */
  readonly regs: readonly number[];
  readonly memory: Memory | null;
  /** Values of immediates, in operand order. */
  readonly imms: readonly bigint[];
  readonly rel: number;
  /** A REX prefix without need. */
  readonly rex: boolean;
  /** Segment prefix of instructions with implicit addresses, or 0. */
  readonly segPrefix: number;
  /** Address-size prefix of instructions with implicit addresses. */
  readonly addrPrefix: boolean;
  /** Address of the instruction. */
  readonly at: number;
}

export const HIGH_BYTE = 0x100;

function immediateBytes(s: OperandSpec, opsize: number): number {
  switch (s.size) {
    case 'b':
    case 'bs':
      return 1;
    case 'w':
      return 2;
    case 'd':
      return 4;
    case 'q':
      return 8;
    case 'z':
      return Math.min(opsize, 4);
    case 'v':
      return opsize;
    default:
      throw new Error(`immediate of size "${s.size}"`);
  }
}

function put(out: number[], v: bigint, bytes: number): void {
  for (let i = 0; i < bytes; i++) out.push(Number((v >> BigInt(8 * i)) & 0xffn));
}

/** Does the 66 prefix select this operand size? REX.W: does 8? */
function sizePrefixes(e: Encoding, c: Choice): { p66: boolean; w: boolean } {
  const sizes = e.sizes[c.mode];
  const sized = e.operands.some((o) => o.size === 'v' || o.size === 'z' || o.size === 'bs') || e.attrs.has('v');
  const y = e.operands.some((o) => o.size === 'y') || e.attrs.has('y');
  if (e.attrs.has('w1')) return { p66: false, w: true };
  if (!sized && !y) return { p66: false, w: false };
  if (c.opsize === 2) return { p66: true, w: false };
  const eightByDefault = c.mode === 0 && (e.attrs.has('d64') || e.attrs.has('f64')) && !sizes.includes(4);
  return { p66: false, w: c.opsize === 8 && !eightByDefault };
}

export function encode(e: Encoding, c: Choice): Uint8Array {
  const { p66, w } = sizePrefixes(e, c);
  let rex = w ? 0x48 : 0;
  let noRex = false;
  const useReg = (n: number, bit: number): number => {
    if (n & HIGH_BYTE) {
      noRex = true;
      return n & 7;
    }
    if (n >= 8) rex |= 0x40 | bit;
    return n & 7;
  };
  let reg = Math.max(e.digit, 0);
  let rm = -1;
  let opcode = e.opcode;
  const imms: number[] = [];
  let nextImm = 0;
  let relBytes = 0;
  let moffs = false;
  for (const [i, o] of e.operands.entries()) {
    const n = c.regs[i] ?? -1;
    const byteReg = () => {
      if (o.size === 'b' && n >= 4 && n < 8) rex |= 0x40; // spl bpl sil dil
    };
    switch (o.code) {
      case 'E':
      case 'W':
      case 'Q':
      case 'R':
      case 'U':
      case 'N':
        if (c.memory && 'EWQ'.includes(o.code)) break;
        if (o.code === 'E' || o.code === 'R') byteReg();
        rm = useReg(n, 1);
        break;
      case 'G':
        byteReg();
        reg = useReg(n, 4);
        break;
      case 'V':
      case 'C':
      case 'D':
        reg = useReg(n, 4);
        break;
      case 'P':
      case 'S':
        reg = n & 7;
        break;
      case 'Z':
        byteReg();
        opcode += useReg(n, 1);
        break;
      case 'I':
        put(imms, c.imms[nextImm++], immediateBytes(o, c.opsize));
        break;
      case 'J':
        relBytes = o.size === 'b' ? 1 : o.size === 'd' ? 4 : Math.min(c.opsize, 4);
        break;
      case 'O':
        moffs = true;
        break;
      case 'sti':
        rm = n & 7;
        break;
    }
  }
  if (e.cc) opcode += c.cc;

  // modrm, SIB, displacement
  const tail: number[] = [];
  let ripAt = -1;
  if (e.modrm >= 0) {
    tail.push(e.modrm + (e.modrmSpan > 1 ? Math.max(rm, 0) : 0));
  } else if (e.hasModrm) {
    const m = c.memory;
    if (!m) {
      tail.push(0xc0 | (reg << 3) | Math.max(rm, 0));
    } else if (m.small && c.mode === 1) {
      const mod = m.rm16 === 6 && m.dispSize === 0 ? 0 : [0, 1, 2][m.dispSize];
      tail.push((mod << 6) | (reg << 3) | m.rm16);
      if (mod === 1) put(tail, BigInt(m.disp), 1);
      else if (mod === 2 || m.rm16 === 6) put(tail, BigInt(m.disp), 2);
    } else if (m.rip) {
      tail.push((reg << 3) | 5);
      ripAt = tail.length;
      tail.push(0, 0, 0, 0);
    } else if (m.base < 0) {
      if (m.index < 0 && c.mode === 1 && m.dispSize !== 1) {
        tail.push((reg << 3) | 5);
      } else {
        if (m.index >= 8) rex |= 0x42;
        tail.push((reg << 3) | 4, (m.scale << 6) | ((m.index < 0 ? 4 : m.index & 7) << 3) | 5);
      }
      put(tail, BigInt(m.disp), 4);
    } else {
      if (m.base >= 8) rex |= 0x41;
      if (m.index >= 8) rex |= 0x42;
      let size = m.dispSize;
      if (size === 0 && (m.base & 7) === 5) size = 1;
      const mod = size === 0 ? 0 : size === 1 ? 1 : 2;
      if (m.index >= 0 || (m.base & 7) === 4) {
        tail.push((mod << 6) | (reg << 3) | 4);
        tail.push((m.scale << 6) | ((m.index < 0 ? 4 : m.index & 7) << 3) | (m.base & 7));
      } else tail.push((mod << 6) | (reg << 3) | (m.base & 7));
      put(tail, BigInt(m.disp), size);
    }
  }
  if (moffs && c.memory) {
    const bytes = c.mode === 0 ? (c.memory.small ? 4 : 8) : 4;
    put(tail, c.memory.absolute, bytes);
  }
  if (c.rex && c.mode === 0) rex |= 0x40;
  if (rex && (noRex || c.mode === 1)) throw new Error(`${e.text}: these operands need and forbid REX`);

  const head: number[] = [];
  const seg = c.memory?.seg || c.segPrefix;
  if (seg) head.push(seg);
  if (c.lock) head.push(0xf0);
  if (p66) head.push(0x66);
  if (c.memory?.small || c.addrPrefix) head.push(0x67);
  if (c.rep) head.push(c.rep === 'rep' ? 0xf3 : 0xf2);
  if (e.prefix === '66' || e.prefix === 'F3' || e.prefix === 'F2') head.push(Number.parseInt(e.prefix, 16));
  if (rex) head.push(rex);
  if (e.map) head.push(0x0f);
  if (e.map === 2) head.push(0x38);
  if (e.map === 3) head.push(0x3a);
  head.push(opcode);
  const length = head.length + tail.length + imms.length + relBytes;
  if (ripAt >= 0 && c.memory) {
    const four: number[] = [];
    put(four, BigInt(c.memory.disp - (c.at + length)), 4);
    tail.splice(ripAt, 4, ...four);
  }
  put(imms, BigInt(c.rel), relBytes);
  return Uint8Array.from([...head, ...tail, ...imms]);
}
