/**
 * Instructions whose interesting inputs are not just any: divisions that do not overflow, string instructions whose
 * registers point somewhere, returns that find an address on the stack. One row a rule; the first that matches applies.
 */
import type { FormOf } from '../../src/engine/semantics/forms.ts';
import type { Encoding } from '../../src/engine/semantics/table.ts';
import type { Rng } from './rng.ts';
import { CODE, CODE_SIZE, DEFAULT_SP, WINDOW, WINDOW_SIZE } from './state.ts';
import { int64 } from './values.ts';

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RBX = 3;
const RSP = 4;
const RBP = 5;
const RSI = 6;
const RDI = 7;

export interface Context {
  readonly r: Rng;
  readonly e: Encoding;
  readonly f: FormOf;
  readonly long: boolean;
  /** Registers that addressing must leave alone. */
  readonly reserved: Set<number>;
  readonly regs: number[];
  readonly imms: bigint[];
  setReg(n: number, v: bigint): void;
  setField(name: string, text: string): void;
  /** Called with the linear address of the memory operand once it is known (only if there is one). */
  onMemory: (address: bigint) => void;
  /** Write memory; addresses outside the window are ignored. */
  poke(address: bigint, v: bigint, bytes: number): void;
  pokeBytes(address: bigint, bytes: Uint8Array): void;
  /** Force the alignment of the memory operand most of the time. */
  align: number;
  /** The address of the memory operand, if it must be a certain one. */
  address?: bigint;
  segments: boolean;
}

/** An address where a branch may go: int3 there, mostly; now and then unmapped or not canonical. */
export function codeTarget(c: Context): bigint {
  const at = BigInt(CODE + c.r.pick([c.r.below(0x7f00), 0x8100 + c.r.below(0x7e00), 0x7fff]));
  if (!c.r.oneIn(8)) return at;
  if (!c.long) return BigInt(c.r.pick([CODE + CODE_SIZE, 0x30000000, WINDOW - 0x100]));
  return c.r.pick([BigInt(CODE + CODE_SIZE), 0x3000_0000n, 0x8000_0000_0000n, 0x1234_5678_9abc_def0n]);
}

/** Differs from any FCW in its first byte, so that an image's start shows in what has changed. */
const NO_FCW = 0xa5a5_a5a5_a5a5_a5a5n;

const bits = (n: number) => (1n << BigInt(n * 8)) - 1n;

function division(c: Context, signed: boolean): void {
  const n = c.f.opsize;
  c.reserved.add(RAX);
  c.reserved.add(RDX);
  const W = BigInt(n * 8);
  let d = int64(c.r) & bits(n);
  if (c.r.oneIn(3)) d &= 0xffn;
  const sd = signed ? BigInt.asIntN(n * 8, d) : d;
  let dividend: bigint;
  if (d === 0n || c.r.oneIn(6)) dividend = (c.r.u64() << 64n) | c.r.u64();
  else {
    // quotient at and around its limits, remainder below the divisor
    let q = c.r.pick([int64(c.r), 0n, -1n, 1n << (W - 1n), (1n << (W - 1n)) - 1n, (1n << W) - 1n]);
    q = signed ? BigInt.asIntN(n * 8, q) : BigInt.asUintN(n * 8, q);
    const abs = sd < 0n ? -sd : sd;
    let rem = int64(c.r) % abs;
    if (rem < 0n) rem = -rem;
    if (signed && q * sd < 0n) rem = -rem;
    dividend = q * sd + rem;
    if (c.r.oneIn(8)) dividend += sd; // perhaps just too much
  }
  if (n === 1) c.setReg(RAX, (int64(c.r) & ~0xffffn) | (dividend & 0xffffn));
  else {
    const keep = n === 2 ? 0xffff_ffff_ffff_0000n : 0n;
    c.setReg(RAX, (int64(c.r) & keep) | (dividend & bits(n)));
    c.setReg(RDX, (int64(c.r) & keep) | ((dividend >> W) & bits(n)));
  }
  const reg = c.regs[0];
  if (c.f.memory) c.onMemory = (a) => c.poke(a, d, n);
  else if (reg >= 0 && !(reg & 0x100) && !c.reserved.has(reg)) c.setReg(reg, d);
}

function stringRegisters(c: Context): void {
  const n = c.f.opsize;
  const wild = c.f.form.addrsize === 4 && c.long ? BigInt(c.r.u32()) << 32n : 0n;
  const spot = () =>
    c.r.oneIn(7)
      ? c.r.pick([
          WINDOW + WINDOW_SIZE - c.r.below(4 * n + 1),
          WINDOW + c.r.below(4 * n),
          WINDOW - n,
          WINDOW + WINDOW_SIZE,
        ])
      : c.r.oneIn(5)
        ? WINDOW + 0x1000 + c.r.range(-40, 40)
        : WINDOW + c.r.range(256, WINDOW_SIZE - 512);
  const si = spot();
  let di = spot();
  if (c.r.oneIn(4)) di = si + c.r.range(-9, 9); // overlapping
  if (/^(movs|cmps|lods)/.test(c.e.insn.name)) {
    let offset = BigInt(si);
    if (c.segments) offset -= BigInt(WINDOW + 0xc00);
    c.setReg(RSI, c.f.form.addrsize === 4 ? wild | (offset & 0xffff_ffffn) : BigInt.asUintN(64, offset));
  }
  if (/^(movs|cmps|stos|scas)/.test(c.e.insn.name)) c.setReg(RDI, wild | BigInt(di));
  if (c.f.rep) c.setReg(RCX, wild | BigInt(c.r.pick([0, 1, 2, c.r.below(10), c.r.below(40), c.r.below(300)])));
  if (/^(scas|cmps)/.test(c.e.insn.name) && c.r.oneIn(2)) {
    // something equal
    const same = c.r.below(256);
    const v = BigInt(same) * 0x0101_0101_0101_0101n;
    c.setReg(RAX, v);
    const fill = new Uint8Array(48).fill(same);
    c.pokeBytes(BigInt(si - 8), fill);
    c.pokeBytes(BigInt(di - 8), fill);
  }
  if (c.r.oneIn(3)) c.setField('f', (0x202 | (c.r.u32() & 0x8d5) | 0x400).toString(16));
}

function stackPointer(c: Context): void {
  c.reserved.add(RSP);
  if (c.r.oneIn(8))
    c.setReg(
      RSP,
      BigInt(
        c.r.pick([
          WINDOW,
          WINDOW + 4,
          WINDOW + WINDOW_SIZE,
          WINDOW + WINDOW_SIZE - 4,
          WINDOW + 0x1002,
          WINDOW + 0x1004,
        ]),
      ),
    );
}

/** The value at the top of the stack. */
function onStack(c: Context, v: bigint): void {
  c.reserved.add(RSP);
  const sp = DEFAULT_SP + c.r.pick([0, 0, 0, 8, -16, -0x804]);
  c.setReg(RSP, BigInt(sp));
  c.poke(BigInt(sp), v, 8);
}

function explicitTarget(c: Context): void {
  const t = codeTarget(c);
  if (c.f.memory) c.onMemory = (a) => c.poke(a, t, 8);
  else c.setReg(c.regs[0], t);
}

/** What segment registers may be loaded with, and what not: null, user data, user code, beyond the GDT, no LDT. */
const selector = (c: Context): bigint => BigInt(c.r.pick([0, 1, 2, 3, 0x2b, 0x28, 0x33, 0x1003, 0x2f]));
/** pop into a segment register: 07 17 1F 0F A1 0F A9. */
const popsSegment = (c: Context): boolean => c.e.operands.length === 0 && (c.e.map === 1 || c.e.opcode < 0x20);

const codeSelector = (c: Context): bigint =>
  BigInt(c.r.pick([0x33, 0x33, 0x33, 0x30, 0x23, 0x23, 0x20, 0x2b, 0, 3, 0x1003, 0x37]));

/** A far pointer in memory: offset, then selector. */
function farPointer(c: Context, sel: bigint, offset: bigint): void {
  const n = c.f.opsize;
  c.onMemory = (a) => {
    c.poke(a, offset, n);
    c.poke(a + BigInt(n), sel, 2);
  };
}

/** Words on top of the stack, each of operand size. */
function frame(c: Context, words: readonly bigint[]): void {
  c.reserved.add(RSP);
  const sp = DEFAULT_SP + c.r.pick([0, 0, 8, -16, -0x804]);
  c.setReg(RSP, BigInt(sp));
  for (const [i, w] of words.entries()) c.poke(BigInt(sp + i * c.f.opsize), w, c.f.opsize);
}

/** Flags that a case may load: not TF, NT, RF, AC, ID, VM, VIF, VIP. */
const anyFlags = (c: Context): bigint => BigInt(c.r.u32()) & 0x3ed5n;

const any = (_: Context) => {};

const RULES: readonly (readonly [RegExp, (c: Context) => void])[] = [
  [/^div$/, (c) => division(c, false)],
  [/^idiv$/, (c) => division(c, true)],
  [/^(movs|cmps|stos|lods|scas)[bwdq]?$/, stringRegisters],
  [
    /^call$/,
    (c) => {
      stackPointer(c);
      if (c.e.operands[0]?.code !== 'J') explicitTarget(c);
    },
  ],
  [/^jmp$/, (c) => (c.e.operands[0]?.code === 'J' ? any(c) : explicitTarget(c))],
  [/^ret$/, (c) => onStack(c, codeTarget(c))],
  [
    /^popf[dq]?$/,
    (c) => {
      onStack(c, anyFlags(c));
    },
  ],
  [/^(push|pushf[dq]?|pusha[d]?)$/, stackPointer],
  [/^pop$/, (c) => (popsSegment(c) ? onStack(c, selector(c)) : stackPointer(c))],
  [/^popa[d]?$/, stackPointer],
  [
    /^enter$/,
    (c) => {
      c.imms.push(BigInt(c.r.pick([0, 1, 8, 16, 40, 200, 0x7ff, 0x2000])));
      c.imms.push(BigInt(c.r.pick([0, 0, 1, 2, 3, 5, 31, 33])));
      if (c.r.oneIn(6)) stackPointer(c);
      c.setReg(RBP, BigInt(c.r.oneIn(8) ? WINDOW + 16 : DEFAULT_SP + c.r.range(-8, 8) * 8));
    },
  ],
  [/^leave$/, (c) => c.setReg(RBP, BigInt(c.r.oneIn(8) ? WINDOW + WINDOW_SIZE - 4 : DEFAULT_SP + c.r.range(-64, 64)))],
  [
    /^(loop|loopn?[ez]|loopn?z|jr?e?cxz|jrcxz|jecxz|jcxz)$/,
    (c) => {
      const low = BigInt(c.r.pick([0, 0, 1, 1, 2, 3, 0x10000]));
      c.setReg(RCX, c.long && c.r.oneIn(2) ? (BigInt(c.r.u32()) << 32n) | low : low);
    },
  ],
  [
    /^(rol|ror|rcl|rcr|shl|shr|sar|sal|shld|shrd)$/,
    (c) => {
      if (c.e.operands.some((o) => o.code === 'fix')) {
        c.reserved.add(RCX);
        const count = BigInt(c.r.pick([0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, c.r.below(256)]));
        c.setReg(RCX, (int64(c.r) & ~0xffn) | count);
      }
      if (c.e.operands.some((o) => o.code === 'I'))
        c.imms.push(BigInt(c.r.pick([0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, c.r.below(256)])));
    },
  ],
  [
    /^bt[src]?$/,
    (c) => {
      if (c.f.memory && c.e.operands[1].code === 'G') {
        const g = c.regs[1];
        c.reserved.add(g);
        c.setReg(g, BigInt(c.r.pick([0, 1, 7, 15, 31, 63, c.r.range(-3000, 3000), c.r.range(-3000, 3000)])));
        if (!c.r.oneIn(4)) c.address = BigInt(WINDOW + 0x800 + c.r.below(256) * 8);
      }
    },
  ],
  [
    /^cmpxchg$/,
    (c) => {
      c.reserved.add(RAX);
      if (c.r.oneIn(2)) return;
      const v = int64(c.r);
      c.setReg(RAX, v);
      if (c.f.memory) c.onMemory = (a) => c.poke(a, v, c.f.opsize);
      else if (!(c.regs[0] & 0x100)) c.setReg(c.regs[0], v);
    },
  ],
  [
    /^cmpxchg(8|16)b$/,
    (c) => {
      const n = c.e.insn.name === 'cmpxchg16b' ? 8 : 4;
      for (const x of [RAX, RCX, RDX, RBX]) c.reserved.add(x);
      if (n === 8) c.align = 16;
      const lo = int64(c.r);
      const hi = int64(c.r);
      c.setReg(RAX, lo);
      c.setReg(RDX, hi);
      if (c.r.oneIn(2)) return;
      c.onMemory = (a) => {
        c.poke(a, lo, n);
        c.poke(a + BigInt(n), hi, n);
      };
    },
  ],
  [
    /^xlat$|^xlatb$/,
    (c) =>
      c.setReg(
        RBX,
        BigInt(c.r.oneIn(6) ? WINDOW + WINDOW_SIZE - 100 : WINDOW + c.r.below(0x1800)) -
          (c.segments ? BigInt(WINDOW + 0xc00) : 0n),
      ),
  ],
  [
    /^maskmov/,
    // not near the end: which of the masked-out bytes fault is up to the implementation
    (c) => c.setReg(RDI, BigInt(WINDOW + c.r.below(0x1f00)) - (c.segments ? BigInt(WINDOW + 0xc00) : 0n)),
  ],
  [
    /^pcmpestr/,
    (c) => {
      for (const x of [RAX, RDX]) {
        c.reserved.add(x);
        if (!c.r.oneIn(4)) c.setReg(x, BigInt.asUintN(64, BigInt(c.r.range(-20, 20))));
      }
    },
  ],
  [
    /^ldmxcsr$/,
    (c) => {
      const v = c.r.oneIn(6) ? 1n << BigInt(c.r.pick([16, 18, 24, 31])) : BigInt(c.r.u32() & 0xffff);
      c.onMemory = (a) => c.poke(a, v, 4);
    },
  ],
  [
    /^fldcw$/,
    (c) => {
      const v = BigInt(c.r.oneIn(2) ? 0x37f | (c.r.below(16) << 8) : c.r.u32() & 0xffff);
      c.onMemory = (a) => c.poke(a, v, 2);
    },
  ],
  [
    /^fxrstor(64)?$/,
    (c) => {
      c.align = 16;
      const valid = !c.r.oneIn(6);
      const mxcsr = BigInt(c.r.u32() & 0xffff);
      c.address = BigInt(WINDOW + 0x400 + c.r.below(64) * 16 + (c.r.oneIn(10) ? 8 : 0));
      c.onMemory = (a) => {
        c.poke(a + 24n, valid ? mxcsr : mxcsr | 0x100_0000n, 4);
        c.poke(a + 4n, c.r.u64() & 0xffn, 2);
      };
    },
  ],
  [
    /^fxsave(64)?$/,
    (c) => {
      c.align = 16;
      c.address = BigInt(WINDOW + 0x400 + c.r.below(64) * 16 + (c.r.oneIn(10) ? 8 : 0));
      if (c.r.oneIn(12)) c.address = BigInt(WINDOW + WINDOW_SIZE - 256);
      c.onMemory = (a) => c.poke(a, NO_FCW, 8);
    },
  ],
  [/^(fnsave|fnstenv)$/, (c) => (c.onMemory = (a) => c.poke(a, NO_FCW, 8))],
  [
    /^(fldenv|frstor)$/,
    (c) => {
      c.onMemory = (a) => {
        const w = c.f.opsize === 2 ? 2 : 4;
        c.poke(a, BigInt(c.r.oneIn(3) ? c.r.u32() & 0xffff : 0x37f | (c.r.below(4) << 10)), 2);
        c.poke(a + BigInt(w), BigInt(c.r.oneIn(3) ? c.r.u32() & 0x7fff : c.r.below(8) << 11), 2);
      };
    },
  ],
  [
    /^fbld$/,
    (c) => {
      c.onMemory = (a) => {
        const digits = Uint8Array.from({ length: 10 }, () => c.r.below(10) | (c.r.below(10) << 4));
        digits[9] = c.r.below(2) << 7;
        c.pokeBytes(a, digits);
      };
    },
  ],
  [
    /^bound$/,
    (c) => {
      const n = c.f.opsize;
      c.reserved.add(c.regs[0]);
      if (c.regs[0] !== 4) c.setReg(c.regs[0], BigInt(c.r.below(100)));
      const lo = BigInt(c.r.below(60));
      c.onMemory = (a) => {
        c.poke(a, lo, n);
        c.poke(a + BigInt(n), lo + BigInt(c.r.below(60)), n);
      };
    },
  ],
  [
    /^(jmpf|callf)$/,
    (c) => {
      const offset = codeTarget(c);
      const sel = codeSelector(c);
      if (c.f.memory) farPointer(c, sel, offset);
      else c.imms.push(offset, sel);
      if (c.r.oneIn(6)) stackPointer(c);
    },
  ],
  [
    /^retf$/,
    (c) => {
      frame(c, [codeTarget(c), codeSelector(c)]);
      c.imms.push(BigInt(c.r.below(0x200)));
    },
  ],
  [
    /^iret$/,
    (c) => {
      const sp = BigInt(WINDOW + 0x800 + c.r.below(0x400));
      frame(c, [
        codeTarget(c),
        codeSelector(c),
        anyFlags(c),
        sp,
        BigInt(c.r.pick([0x2b, 0x2b, 0x2b, 0x28, 0, 0x33, 0x1003])),
      ]);
    },
  ],
  [/^l[defgs]s$/, (c) => farPointer(c, selector(c), int64(c.r))],
  [
    /^(lar|lsl|verr|verw)$/,
    (c) => {
      const v = BigInt(c.r.pick([0, 3, 0x2b, 0x28, 0x33, 0x23, 0x1003, 0x2f]));
      const source = c.e.operands.findIndex((o) => o.code === 'E');
      if (c.f.memory) c.onMemory = (a) => c.poke(a, v, 2);
      else c.setReg(c.regs[source], v);
    },
  ],
  [/^int$/, (c) => c.imms.push(BigInt(c.r.pick([3, 4, 0, 1, 6, 13, 0x20, 0x81, 0x82, 0xff])))],
  [
    /^(wrfsbase|wrgsbase)$/,
    (c) => {
      if (c.r.oneIn(2))
        c.setReg(c.regs[0], c.r.pick([0n, 0x1234n, 0x7fff_ffff_ffffn, 0xffff_8000_0000_0000n, 0x8000_0000_0000n]));
    },
  ],
  [
    /^mov$/,
    (c) => {
      if (c.e.opcode !== 0x8e) return;
      const v = selector(c);
      const source = c.e.operands.findIndex((o) => o.code === 'E');
      if (c.f.memory) c.onMemory = (a) => c.poke(a, v, 2);
      else c.setReg(c.regs[source], v);
    },
  ],
];

export function prepare(c: Context): void {
  const rule = RULES.find(([name]) => name.test(c.e.insn.name));
  rule?.[1](c);
}
