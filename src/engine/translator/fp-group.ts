/**
 * SSE arithmetic, several instructions at a time. Each by itself is followed by its proof (semantics/ir.ts Proof), which takes longer
 * than it does. In a group the plain results are computed one after the other, beside them the extremes of operands and
 * results, by which all are proved at the end; only then registers are changed. If one of them is not
 * proved, or memory not at hand, the group is done again instruction by instruction.
 */
import type { Node, Proof, Val } from '../semantics/ir.ts';
import type { Instruction } from './prepare.ts';
import { crossesPage } from './prepare.ts';
import type { RegionFunc } from './region-func.ts';

/** Fewer proofs are made each by itself. */
const LEAST = 2;
/** Instructions, so that little is done twice. */
const MOST = 48;

/** What changes nothing. */
const PLAIN = new Set(['op', 'regop', 'immop', 'ea', 'load', 'setvar', 'getvar', 'get', 'nextrip', 'length']);

export const proofOf = (i: Instruction): Proof | undefined => {
  for (const n of i.code.nodes) if (n.k === 'if' && n.proof) return n.proof;
  return undefined;
};

const plain = (i: Instruction) => (n: Node) => {
  if (n.k === 'setregop') return ['gpr', 'xmm'].includes(i.form.operands[n.i].kind);
  return PLAIN.has(n.k) || (n.k === 'flags' && !!i.flagsDead) || (n.k === 'if' && !!n.proof);
};

function fits(i: Instruction): boolean {
  return i.ending === 'fall' && !i.wordsFirst && !crossesPage(i) && i.code.nodes.every(plain(i));
}

/** The groups of a block: by the first instruction, how many there are. */
export function fpGroups(instructions: readonly Instruction[]): ReadonlyMap<number, number> {
  const groups = new Map<number, number>();
  // Most blocks have none.
  if (!instructions.some((i) => i.encoding.insn.fpu)) return groups;
  let proofs: number[] = [];
  const close = () => {
    if (proofs.length >= LEAST) groups.set(proofs[0], proofs.at(-1)! - proofs[0] + 1);
    proofs = [];
  };
  for (const [n, i] of instructions.entries()) {
    const more = fits(i);
    if (!more || (proofs.length && n - proofs[0] >= MOST)) close();
    if (more && proofOf(i)) proofs.push(n);
  }
  close();
  return groups;
}

/** The first lane, or all: of which type. */
type Fmt = Proof['fmt'];

/**
 * Lanes are looked at as integers of 32 bits, shifted to the left by one, which leaves out the sign: of a double the upper half. Normal
 * numbers are at least `least`, finite ones at most `most`. The least normal number, to which a result may have been rounded, and doubles
 * just above it count as less.
 */
const RANGES = {
  s: { least: 0x0100_0002, most: 0xfeff_ffff },
  d: { least: 0x0020_0002, most: 0xffdf_ffff },
} as const;
const rangeOf = (fmt: Fmt) => RANGES[fmt[1] as 's' | 'd'];

/** A v128 constant: `v` where the format has something to look at, `other` elsewhere. */
function lanes(fmt: Fmt, v: number, other: number): Uint8Array {
  const there = { ss: [0], ps: [0, 1, 2, 3], sd: [1], pd: [1, 3] }[fmt];
  return new Uint8Array(Uint32Array.from([0, 1, 2, 3], (n) => (there.includes(n) ? v : other)).buffer);
}

/** How values are pushed, as v128: an operand, of which the format's lanes matter, and a result among the other lanes of its register. */
export interface Pushing {
  readonly operand: (v: Val) => void;
  readonly result: (v: Val) => void;
  /** The SSE register that an operand is, or -1. */
  readonly register: (v: Val) => number;
}

/** The locals of a region for what its groups gather, which they use one after the other. */
export class CheckLocals {
  private readonly f: RegionFunc;
  private readonly all = new Map<string, number>();

  constructor(f: RegionFunc) {
    this.f = f;
  }
  get(what: string): number {
    let l = this.all.get(what);
    if (l === undefined) {
      l = this.f.register('v128');
      this.all.set(what, l);
    }
    return l;
  }
}

/** What is gathered of one group: the least and the greatest, by format. */
export class FpChecks {
  private readonly f: RegionFunc;
  private readonly locals: CheckLocals;
  /** Locals, of the formats that there are so far. */
  private readonly least = new Map<Fmt, number>();
  private readonly greatest = new Map<Fmt, number>();
  /** Registers whose numbers are normal or zero, as far as the format goes; if not, the instruction that made them known shows it at the end. */
  private readonly known = new Map<number, Fmt>();

  constructor(f: RegionFunc, locals: CheckLocals) {
    this.f = f;
    this.locals = locals;
  }

  prove(p: Proof, push: Pushing): void {
    const { f } = this;
    const { fmt, kind } = p;
    for (const v of p.a === p.c ? [p.a] : [p.a, p.c]) {
      const n = push.register(v);
      if (n >= 0 && this.knows(n, fmt)) continue;
      // What is not finite shows in the result, and a zero product as not normal. A zero shows as a root's operand, unless it is known: its root is exact.
      push.operand(v);
      const m = f.local('v128');
      f.tee(m).i32(1).op('i32x4.shl');
      if (kind === 'sum') {
        f.get(m)
          .zero('v128')
          .op(fmt[1] === 's' ? 'f32x4.eq' : 'f64x2.eq');
        f.op('v128.or');
      }
      this.gather(this.least, fmt, 'i32x4.min_u');
      if (n >= 0) this.known.set(n, fmt);
    }
    const r = f.local('v128');
    push.result(p.r);
    f.i32(1).op('i32x4.shl').tee(r);
    this.gather(this.greatest, fmt, 'i32x4.max_u');
    // The root of a negative number is a NaN.
    if (kind !== 'product') return;
    f.get(r);
    this.gather(this.least, fmt, 'i32x4.min_u');
  }

  /** A register was written. */
  written(n: number): void {
    this.known.delete(n);
  }

  /** What is in a register is normal or zero, as far as the format goes. */
  learn(n: number, fmt: Fmt): void {
    this.known.set(n, fmt);
  }

  /** What is known of a register, to tell it of another. */
  of(n: number): Fmt | undefined {
    return this.known.get(n);
  }

  private knows(n: number, fmt: Fmt): boolean {
    const k = this.known.get(n);
    return k === fmt || (k === 'pd' && fmt === 'sd') || (k === 'ps' && fmt === 'ss');
  }

  /** What is on the stack is among those of its format. */
  private gather(all: Map<Fmt, number>, fmt: Fmt, op: string): void {
    const { f } = this;
    let l = all.get(fmt);
    if (l !== undefined) f.get(l).op(op);
    else {
      l = this.locals.get(op + fmt);
      all.set(fmt, l);
    }
    f.set(l);
  }

  /** Push whether anything is not proved (i32). */
  failed(): void {
    const { f } = this;
    let some = false;
    const check = (l: number, bound: Uint8Array, op: string) => {
      f.get(l).op('v128.const').body.raw(bound);
      f.op(op);
      if (some) f.op('v128.or');
      some = true;
    };
    for (const [fmt, l] of this.least) check(l, lanes(fmt, rangeOf(fmt).least, 0), 'i32x4.lt_u');
    for (const [fmt, l] of this.greatest) check(l, lanes(fmt, rangeOf(fmt).most, 0xffff_ffff), 'i32x4.gt_u');
    f.op('v128.any_true');
  }
}
