/**
 * The instruction set as data: what `insn()` takes, and how an encoding line is read.
 *
 * An encoding is one line, in the manner of the Intel SDM's opcode maps:
 *
 *     [prefix] opcode-bytes [/digit | =XX | =XX+i] [operands] [; attributes]
 *
 *   prefix      NP: none of 66 F2 F3 may be present (mandatory-prefix maps);  66  F3  F2: mandatory prefix;
 *               absent: 66 selects operand size, F2/F3 are ignored (or are rep, with attribute rep)
 *   opcode      one to three hex bytes: `01`, `0F A4`, `0F 38 17`. `50+` takes the register from the low 3 bits (use a
 *               Z operand); `70+cc` stands for sixteen opcodes whose low nibble is `form.cc`
 *   /digit      modrm.reg must be this digit;  =F9: the whole modrm byte;  =C0+i: modrm bytes C0..C7
 *   operands    comma-separated, without spaces; destination first:
 *     E G R M   r/m, modrm.reg, r/m that must be a register, r/m that must be memory (general registers)
 *     Z         register in the opcode's low 3 bits
 *     V W U     xmm in modrm.reg, xmm-or-memory r/m, xmm r/m;   P Q N the same for mmx
 *     I J O     immediate, relative branch target, moffs (memory without modrm). Two immediates: the first in the low,
 *               the second in the high half of Record32.imm
 *     X Y       memory without modrm at DS:rSI (DS may be overridden) and ES:rDI; at most one of them per encoding
 *     S C D     segment, control, debug register in modrm.reg
 *     STi       x87 stack index in modrm.rm (immediate-like: read() gives i32 0..7)
 *     AL CL AX DX rAX   fixed registers (rAX: by operand size);   1: the constant 1
 *   sizes       b w d q = 1 2 4 8 bytes;  v = operand size;  z = operand size for registers, imm16/imm32 sign-extended
 *               for immediates;  y = 4, or 8 with REX.W;  x = 16 bytes (memory must be aligned),  u = 16 bytes unaligned;
 *               ss sd = scalar float/double (values are f32/f64);  bs (immediates) = imm8 sign-extended to operand size.
 *               M without a size: address only.
 *   attributes  i64 (not in 64-bit mode)   o64 (only in 64-bit mode)   d64 (operand size defaults to 8 in 64-bit mode, no 4)
 *               f64 (operand size is 8 in 64-bit mode)   lock (may carry a lock prefix with a memory destination)
 *               rep (F2/F3 are rep prefixes: separate forms with form.rep)   v (has 16/32/64-bit forms though no operand
 *               says so)   y (4, or 8 with REX.W, though no operand says so)   a (address size matters though there is no
 *               memory operand: string instructions, loop, jrcxz)   w1 / w0 (REX.W must be 1 / 0)
 *               mem / reg (only the memory / register form of an E/W/Q operand)
 *               b0 (only without REX.B: 90 is nop, 41 90 is xchg)   r0 / r1 (REX.R must be 0 / 1)   pop (a memory operand based on rSP is addressed with
 *               rSP already incremented by the operand size: pop m)
 */
import type { Builder } from './builder.ts';

export interface InsnOptions {
  /** x87, MMX or SSE: raises #NM when CR0.TS is set (checked by both tiers before the description). */
  readonly fpu?: boolean;
  /** Ends a run of decoded instructions even though the description does not always jump. */
  readonly ends?: boolean;
}

export interface Insn extends InsnOptions {
  readonly name: string;
  readonly encodings: readonly string[];
  readonly describe: (b: Builder) => void;
}

/** One instruction: its name (as in the SDM, lower case), its encodings, its meaning. */
export function insn(
  name: string,
  encodings: string | readonly string[],
  describe: (b: Builder) => void,
  options: InsnOptions = {},
): Insn {
  return { name, encodings: typeof encodings === 'string' ? [encodings] : encodings, describe, ...options };
}

export type SizeCode = 'b' | 'w' | 'd' | 'q' | 'v' | 'z' | 'y' | 'x' | 'u' | 'ss' | 'sd' | 'bs' | '';

export interface OperandSpec {
  /** E G R M Z V W U P Q N I J O X Y S C D, or 'fix' (fixed register), 'one', 'sti'. */
  readonly code: string;
  readonly size: SizeCode;
  /** Register number of a fixed register. */
  readonly fixed: number;
}

export interface Encoding {
  readonly insn: Insn;
  readonly text: string;
  readonly prefix: '' | 'NP' | '66' | 'F3' | 'F2';
  /** 0: one byte; 1: 0F; 2: 0F 38; 3: 0F 3A. */
  readonly map: number;
  readonly opcode: number;
  /** How many consecutive opcodes: 1, 8 (`+`) or 16 (`+cc`). */
  readonly span: number;
  readonly cc: boolean;
  readonly digit: number;
  /** Exact modrm (with span 8 for +i), or -1. */
  readonly modrm: number;
  readonly modrmSpan: number;
  readonly operands: readonly OperandSpec[];
  readonly attrs: ReadonlySet<string>;
  readonly hasModrm: boolean;
  /** Operand sizes in bytes this encoding has forms for in (64-bit, compatibility) mode. */
  readonly sizes: readonly [readonly number[], readonly number[]];
}

const FIXED: Record<string, [number, SizeCode]> = {
  AL: [0, 'b'],
  CL: [1, 'b'],
  AX: [0, 'w'],
  DX: [2, 'w'],
  rAX: [0, 'v'],
};

function parseOperand(s: string, line: string): OperandSpec {
  if (s === '1') return { code: 'one', size: 'b', fixed: 0 };
  if (s === 'STi') return { code: 'sti', size: 'b', fixed: 0 };
  const f = FIXED[s];
  if (f) return { code: 'fix', size: f[1], fixed: f[0] };
  const m = /^([EGRMZVWUPQNIJOXYSCD])(ss|sd|bs|[bwdqvzyxu])?$/.exec(s);
  if (!m) throw new Error(`encoding "${line}": operand ${s}?`);
  return { code: m[1], size: (m[2] ?? '') as SizeCode, fixed: 0 };
}

/** Read one encoding line. */
export function parseEncoding(owner: Insn, text: string): Encoding {
  const [main, attrText = ''] = text.split(';');
  const attrs = new Set(attrText.trim().split(/\s+/).filter(Boolean));
  const words = main.trim().split(/\s+/);
  let prefix: Encoding['prefix'] = '';
  if (
    words[0] === 'NP' ||
    ((words[0] === '66' || words[0] === 'F3' || words[0] === 'F2') && words.length > 1 && words[1] === '0F')
  ) {
    prefix = words.shift() as Encoding['prefix'];
  }
  const bytes: number[] = [];
  let span = 1;
  let cc = false;
  while (words.length && /^[0-9A-F]{2}(\+cc|\+)?$/.test(words[0])) {
    const w = words.shift()!;
    bytes.push(Number.parseInt(w.slice(0, 2), 16));
    if (w.endsWith('+cc')) {
      span = 16;
      cc = true;
    } else if (w.endsWith('+')) span = 8;
  }
  const opcode = bytes.pop();
  const map = ['', '0f', '0f38', '0f3a'].indexOf(bytes.map((x) => x.toString(16).padStart(2, '0')).join(''));
  if (opcode === undefined || map < 0) throw new Error(`encoding "${text}": opcode?`);
  let digit = -1;
  let modrm = -1;
  let modrmSpan = 1;
  if (words[0]?.startsWith('/')) {
    const w = words.shift()!;
    if (w !== '/r') digit = Number.parseInt(w.slice(1), 10);
  } else if (words[0]?.startsWith('=')) {
    const w = words.shift()!;
    modrm = Number.parseInt(w.slice(1, 3), 16);
    if (w.endsWith('+i')) modrmSpan = 8;
  }
  const operands = words.length
    ? words
        .join('')
        .split(',')
        .map((s) => parseOperand(s, text))
    : [];
  const has = (codes: string) => operands.some((o) => o.code.length === 1 && codes.includes(o.code));
  const hasModrm = digit >= 0 || modrm >= 0 || has('EGRMVWUPQNSCD');
  const anyV = operands.some((o) => o.size === 'v' || o.size === 'z' || o.size === 'bs') || attrs.has('v');
  const anyY = operands.some((o) => o.size === 'y') || attrs.has('y');
  const byteOnly = operands.length > 0 && operands[0].size === 'b' && !has('VWUPQN');
  let long: number[];
  let compat: number[];
  if (anyV) {
    long = attrs.has('f64') ? [8] : attrs.has('d64') ? [2, 8] : [2, 4, 8];
    compat = [2, 4];
    if (prefix === '66' || prefix === 'NP') {
      long = long.filter((n) => n !== 2);
      compat = [4];
    }
  } else if (anyY) {
    long = attrs.has('f64') ? [8] : [4, 8];
    compat = [4];
  } else {
    long = compat = [byteOnly ? 1 : attrs.has('f64') || attrs.has('d64') ? 8 : 4];
    if (attrs.has('f64') || attrs.has('d64')) compat = [4];
  }
  if (attrs.has('w1')) {
    long = [8];
    compat = [];
  }
  if (attrs.has('i64')) long = [];
  if (attrs.has('o64')) compat = [];
  return {
    insn: owner,
    text,
    prefix,
    map,
    opcode,
    span,
    cc,
    digit,
    modrm,
    modrmSpan,
    operands,
    attrs,
    hasModrm,
    sizes: [long, compat],
  };
}
