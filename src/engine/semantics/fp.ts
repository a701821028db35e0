/**
 * SSE floating point, exact to the bit and flag (Intel SDM vol. 1 chapters 10 and 11), and fast.
 *
 * An operation is computed with the plain wasm instruction and, beside it, the proof that this is what x86 gives: MXCSR
 * in its usual state (round to nearest, no DAZ or FTZ, all exceptions masked, PE already recorded), operands that raise
 * nothing, and a result that can have raised at most PE. Where the proof fails, a helper of the runtime computes it
 * again with flags (softfloat/sse.ts); it raises #XM if an unmasked exception occurred.
 *
 * `Fmt` names the data as the mnemonics do: ss sd scalar, ps pd packed. Scalars are f32/f64 values, vectors v128.
 */
import {
  CVT_DQ2PS,
  FP_ADD,
  FP_ADDSUB,
  FP_CMP,
  FP_DIV,
  FP_MAX,
  FP_MIN,
  FP_MUL,
  FP_ROUND,
  FP_SQRT,
  FP_SUB,
} from '../fp-ops.ts';
import { CpuState } from '../state.ts';
import type { Builder, Type, Val } from './builder.ts';
import { exactProduct, exactSum } from './fp-exact.ts';
import type { Proof } from './ir.ts';
import { high, low } from './vector.ts';

export type Fmt = 'ss' | 'sd' | 'ps' | 'pd';
export const FMTS: readonly Fmt[] = ['ss', 'sd', 'ps', 'pd'];
export type Arith = 'add' | 'sub' | 'mul' | 'div' | 'addsub';

const SHAPE = { ss: 'f32', sd: 'f64', ps: 'f32x4', pd: 'f64x2' } as const;
const ARITH = { add: FP_ADD, sub: FP_SUB, mul: FP_MUL, div: FP_DIV, addsub: FP_ADDSUB } as const;

/** Smallest normal numbers. */
const MIN_NORMAL = { ss: 2 ** -126, ps: 2 ** -126, sd: 2 ** -1022, pd: 2 ** -1022 } as const;

/** MXCSR: exception flags 5..0, DAZ 6, masks 12..7, rounding 14..13, FTZ 15. */
const PE = 0x20;
const DAZ = 0x40;
const PM = 0x1000;
const RC = 0x6000;

/** Wasm operations in one format; conditions are i32 (scalar) or lane masks (packed) until `all`. */
export class Fp {
  readonly b: Builder;
  readonly fmt: Fmt;
  readonly t: Type;
  readonly vector: boolean;
  constructor(b: Builder, fmt: Fmt) {
    this.b = b;
    this.fmt = fmt;
    this.vector = fmt === 'ps' || fmt === 'pd';
    this.t = this.vector ? 'v128' : fmt === 'ss' ? 'f32' : 'f64';
  }
  op(name: string, ...args: Val[]): Val {
    return this.b.op(`${SHAPE[this.fmt]}.${name}`, this.t, args);
  }
  /** eq ne lt gt le ge. */
  cmp(name: string, x: Val, y: Val): Val {
    return this.b.op(`${SHAPE[this.fmt]}.${name}`, this.vector ? 'v128' : 'i32', [x, y]);
  }
  and(x: Val, y: Val): Val {
    return this.vector ? this.b.op('v128.and', 'v128', [x, y]) : this.b.and(x, y);
  }
  or(x: Val, y: Val): Val {
    return this.vector ? this.b.op('v128.or', 'v128', [x, y]) : this.b.or(x, y);
  }
  all(cond: Val): Val {
    return this.vector ? this.b.op(`${this.fmt === 'ps' ? 'i32x4' : 'i64x2'}.all_true`, 'i32', [cond]) : cond;
  }
  num(v: number): Val {
    switch (this.fmt) {
      case 'ss':
        return this.b.f32(v);
      case 'sd':
        return this.b.f64(v);
      case 'ps':
        return this.b.v128([...new Uint8Array(Float32Array.of(v, v, v, v).buffer)]);
      case 'pd':
        return this.b.v128([...new Uint8Array(Float64Array.of(v, v).buffer)]);
    }
  }
  isZero(x: Val): Val {
    return this.cmp('eq', x, this.num(0));
  }
  /** Neither NaN nor denormal: raises nothing by itself, whatever DAZ says. */
  plain(x: Val, isZero = this.isZero(x)): Val {
    return this.or(this.cmp('ge', this.op('abs', x), this.num(MIN_NORMAL[this.fmt])), isZero);
  }
  finite(x: Val): Val {
    return this.cmp('lt', this.op('abs', x), this.num(Number.POSITIVE_INFINITY));
  }
  /** Finite and above the smallest normal number, so rounding it was no underflow or overflow. */
  sound(x: Val): Val {
    const [small, large] = this.soundness(x);
    return this.and(small, large);
  }
  soundness(x: Val): [Val, Val] {
    const m = this.op('abs', x);
    return [this.cmp('gt', m, this.num(MIN_NORMAL[this.fmt])), this.cmp('lt', m, this.num(Number.POSITIVE_INFINITY))];
  }
  /** Neither zero nor denormal nor NaN. */
  normal(x: Val): Val {
    return this.cmp('ge', this.op('abs', x), this.num(MIN_NORMAL[this.fmt]));
  }
  /** The value's raw bits as helper arguments: i32, i64, or two i64. */
  bits(x: Val): Val[] {
    if (x.t === 'f32') return [this.b.op('i32.reinterpret_f32', 'i32', [x])];
    if (x.t === 'f64') return [this.b.op('i64.reinterpret_f64', 'i64', [x])];
    return [low(this.b, x), high(this.b, x)];
  }
  /** Compute with the runtime. Ends the instruction with #XM if it raised an unmasked exception. */
  slow(op: Val, x: Val, y: Val): Val {
    this.b.callFaulting(`fp_${this.fmt}`, [op, ...this.bits(x), ...this.bits(y)]);
    return simdResult(this.b, this.t);
  }
  /** `quick` if `ok` (i32), else what the runtime computes. */
  guarded(ok: Val, quick: Val, op: Val, x: Val, y: Val): Val {
    const r = this.b.variable(quick);
    this.b.if(this.b.eqz(ok), () => r.set(this.slow(op, x, y)));
    return r.get();
  }
  /** The same if `proved`, and either MXCSR is as usual, or all but its PE is and the result is exact. */
  rounded(proved: Val, quick: Val, op: Val, x: Val, y: Val, exact: () => Val, kind: Proof['kind']): Val {
    const { b } = this;
    const r = b.variable(quick);
    const rare = () => {
      const settled = b.cmp('eq', b.and(mxcsr(b), b.i32(0xffc0)), b.i32(0x1f80));
      b.if(b.eqz(b.and(b.and(proved, settled), exact())), () => r.set(this.slow(op, x, y)));
    };
    b.unless([b.and(proved, usualMxcsr(b))], rare, { fmt: this.fmt, kind, a: x, c: y, r: quick });
    return r.get();
  }
}

/** What the last SIMD helper left in CpuState.simd_r. */
export function simdResult(b: Builder, t: Type): Val {
  return b.get(CpuState.off.simd_r, { i32: 4, f32: 4, i64: 8, f64: 8, v128: 16 }[t], t);
}

const mxcsr = (b: Builder): Val => b.get(CpuState.off.mxcsr, 4);

/** Round to nearest, no FTZ or DAZ, everything masked, PE recorded: these bits have that value. */
export const USUAL_MXCSR = { bits: 0xffe0, value: 0x1fa0 } as const;
export function usualMxcsr(b: Builder): Val {
  return b.cmp('eq', b.and(mxcsr(b), b.i32(USUAL_MXCSR.bits)), b.i32(USUAL_MXCSR.value));
}
/** An inexact result changes nothing: PE masked and recorded. `and`: bits that must be clear (DAZ, RC). */
export function peSettled(b: Builder, clear = 0): Val {
  return b.cmp('eq', b.and(mxcsr(b), b.i32(PM | PE | clear)), b.i32(PM | PE));
}

/** a op c, in the instruction's operand order (the first operand's NaN wins). */
export function fpArith(b: Builder, op: Arith, fmt: Fmt, a: Val, c: Val): Val {
  const f = new Fp(b, fmt);
  let r: Val;
  if (op === 'addsub') {
    // Negating the addend of the even lanes only differs for NaNs, which are not proved.
    const signs = fmt === 'ps' ? [0, 0, 0, 0x80, 0, 0, 0, 0] : [0, 0, 0, 0, 0, 0, 0, 0x80];
    const even = fmt === 'ps' ? [...signs, ...signs] : [...signs, ...new Array(8).fill(0)];
    r = f.op('add', a, b.op('v128.xor', 'v128', [c, b.v128(even)]));
  } else {
    r = f.op(op, a, c);
  }
  // Vectors have zeros in some lane too often.
  if (f.vector) return roundedArith(f, op, a, c, r);
  // Normal numbers and a normal result, or a sum: what nearly all are, told by few instructions.
  const product = op === 'mul' || op === 'div';
  const usual = [f.normal(a), f.normal(c), ...(product ? f.soundness(r) : [f.finite(r)])];
  const v = b.variable(r);
  const proof: Proof = { fmt, kind: product ? 'product' : 'sum', a, c, r };
  b.unless([...usual, usualMxcsr(b)], () => v.set(roundedArith(f, op, a, c, r)), proof);
  return v.get();
}

/** r, which is a op c as wasm has it, if that is proved to be right; else by the runtime. */
function roundedArith(f: Fp, op: Arith, a: Val, c: Val, r: Val): Val {
  const { b } = f;
  const az = f.isZero(a);
  const cz = f.isZero(c);
  let ok = f.and(f.plain(a, az), f.plain(c, cz));
  if (op === 'mul' || op === 'div') {
    // A zero is exact if an operand (the dividend) is; anything else that small may be an underflow.
    const exactZero = f.and(f.isZero(r), op === 'mul' ? f.or(az, cz) : az);
    ok = f.and(ok, f.or(f.sound(r), exactZero));
  } else {
    // Sums are exact wherever they are small.
    ok = f.and(ok, f.finite(r));
  }
  const proved = f.all(ok);
  const code = b.i32(ARITH[op]);
  if (op === 'addsub') return f.guarded(b.and(proved, usualMxcsr(b)), r, code, a, c);
  const exact = () => {
    if (op === 'mul') return exactProduct(f, a, c, r);
    if (op === 'div') return b.and(exactProduct(f, r, c, a), f.all(f.cmp('eq', f.op('mul', r, c), a)));
    return exactSum(f, op, a, c, r);
  };
  return f.rounded(proved, r, code, a, c, exact, op === 'mul' || op === 'div' ? 'product' : 'sum');
}

export function fpSqrt(b: Builder, fmt: Fmt, x: Val): Val {
  const f = new Fp(b, fmt);
  const r = f.op('sqrt', x);
  const positive = [f.cmp('ge', x, f.num(MIN_NORMAL[fmt])), f.cmp('lt', x, f.num(Number.POSITIVE_INFINITY))] as const;
  const rounded = () => {
    const ok = f.all(f.or(f.and(...positive), f.isZero(x)));
    const exact = () => b.and(exactProduct(f, r, r, x), f.all(f.cmp('eq', f.op('mul', r, r), x)));
    return f.rounded(ok, r, b.i32(FP_SQRT), x, x, exact, 'root');
  };
  if (f.vector) return rounded();
  const v = b.variable(r);
  b.unless([...positive, usualMxcsr(b)], () => v.set(rounded()), { fmt, kind: 'root', a: x, c: x, r });
  return v.get();
}

/** min/max give the second operand when equal or unordered; they never round, so MXCSR does not matter. */
export function fpMinMax(b: Builder, op: 'min' | 'max', fmt: Fmt, a: Val, c: Val): Val {
  const f = new Fp(b, fmt);
  const r = f.vector ? f.op(`p${op}`, c, a) : b.select(f.cmp(op === 'min' ? 'lt' : 'gt', a, c), a, c);
  const ok = f.and(f.plain(a), f.plain(c));
  return f.guarded(f.all(ok), r, b.i32(op === 'min' ? FP_MIN : FP_MAX), a, c);
}

/** cmpps and its kin: all ones or zeros (scalars: as a float). `imm`: the imm8, of which bits 2..0 count. */
export function fpCompare(b: Builder, fmt: Fmt, a: Val, c: Val, imm: Val): Val {
  const f = new Fp(b, fmt);
  const p = b.and(imm, b.i32(3));
  const is = (n: number) => b.cmp('eq', p, b.i32(n));
  const invert = b.neg(b.and(b.shrU(imm, 2), b.i32(1)));
  // Proved only without NaNs, where "unordered" (3) is false.
  const eq = f.cmp('eq', a, c);
  const lt = f.cmp('lt', a, c);
  const le = f.cmp('le', a, c);
  const none = f.vector ? b.v128(new Array(16).fill(0)) : b.i32(0);
  const truth = b.select(is(0), eq, b.select(is(1), lt, b.select(is(2), le, none)));
  let r: Val;
  if (f.vector) r = b.op('v128.xor', 'v128', [truth, b.op('i32x4.splat', 'v128', [invert])]);
  else {
    const mask = b.xor(b.neg(truth), invert);
    r =
      fmt === 'ss' ? b.op('f32.reinterpret_i32', 'f32', [mask]) : b.op('f64.reinterpret_i64', 'f64', [b.sx64(mask, 4)]);
  }
  const ok = f.and(f.plain(a), f.plain(c));
  return f.guarded(f.all(ok), r, b.add(b.i32(FP_CMP), b.and(imm, b.i32(7))), a, c);
}

/** roundps and its kin. imm8: bits 1..0 rounding, bit 2 use MXCSR's, bit 3 no PE. */
export function fpRound(b: Builder, fmt: Fmt, x: Val, imm: Val): Val {
  const f = new Fp(b, fmt);
  const mode = b.select(b.and(imm, b.i32(4)), b.and(b.shrU(mxcsr(b), 13), b.i32(3)), b.and(imm, b.i32(3)));
  const r = b.variable(x);
  const by = (n: number, op: string, otherwise?: () => void) =>
    b.if(b.cmp('eq', mode, b.i32(n)), () => r.set(f.op(op, x)), otherwise);
  by(0, 'nearest', () => by(1, 'floor', () => by(2, 'ceil', () => r.set(f.op('trunc', x)))));
  const v = r.get();
  // Exact results raise nothing; the others PE, unless suppressed. Under DAZ a denormal is an exact zero.
  const exact = f.all(f.cmp('eq', v, x));
  const ordered = f.all(f.cmp('eq', x, x));
  const suppressed = b.and(b.shrU(imm, 3), b.i32(1));
  const noDaz = b.eqz(b.and(mxcsr(b), b.i32(DAZ)));
  const ok = b.or(exact, b.and(b.and(ordered, noDaz), b.or(suppressed, peSettled(b))));
  b.if(b.eqz(ok), () => r.set(f.slow(b.add(b.i32(FP_ROUND), b.and(imm, b.i32(15))), x, x)));
  return r.get();
}

/** comiss, ucomiss …: ZF PF CF = 111 unordered, 000 greater, 001 less, 100 equal; OF SF AF = 0. */
export function fpFlags(b: Builder, fmt: 'ss' | 'sd', a: Val, c: Val, quiet: boolean): void {
  const f = new Fp(b, fmt);
  const ok = f.and(f.plain(a), f.plain(c));
  // 0 equal, 1 less, 2 greater, 3 unordered.
  const code = b.variable(b.or(b.shl(f.cmp('gt', a, c), 1), f.cmp('lt', a, c)));
  b.if(b.eqz(ok), () => {
    const args = [...f.bits(a), ...f.bits(c), b.i32(quiet ? 1 : 0)];
    code.set(b.call(fmt === 'ss' ? 'f32_compare' : 'f64_compare', args, 'i32', { pure: true }));
    b.callFaulting('sse_check', []);
  });
  const v = code.get();
  const cf = b.to('i64', b.and(v, b.i32(1)));
  const s = b.to('i64', b.cmp('ne', v, b.i32(3)));
  b.flags({
    z: b.to('i64', b.and(b.add(v, b.i32(1)), b.i32(2))),
    s,
    c: b.mul(cf, b.i64(-(1n << 62n))),
    x: s,
  });
}

/** Scalar f32 ↔ f64. */
export function fpWiden(b: Builder, x: Val): Val {
  const f = new Fp(b, 'ss');
  return soft(b, f.plain(x), b.op('f64.promote_f32', 'f64', [x]), 'f32_to_f64', f.bits(x));
}
export function fpNarrow(b: Builder, x: Val): Val {
  const f = new Fp(b, 'sd');
  const g = new Fp(b, 'ss');
  const xz = f.isZero(x);
  const r = b.op('f32.demote_f64', 'f32', [x]);
  const ok = b.and(b.or(g.sound(r), xz), usualMxcsr(b));
  return soft(b, ok, r, 'f64_to_f32', f.bits(x));
}

/** `quick` if ok, else the soft-float function of that name, of raw bits. */
function soft(b: Builder, ok: Val, quick: Val, name: string, args: Val[]): Val {
  const r = b.variable(quick);
  b.if(b.eqz(ok), () => {
    const t = quick.t;
    const raw = b.call(name, args, t === 'f32' ? 'i32' : t === 'f64' ? 'i64' : t, { pure: true });
    b.callFaulting('sse_check', []);
    if (t === 'f32') r.set(b.op('f32.reinterpret_i32', 'f32', [raw]));
    else if (t === 'f64') r.set(b.op('f64.reinterpret_i64', 'f64', [raw]));
    else r.set(raw);
  });
  return r.get();
}

/** Signed i32 or i64 to f32 or f64. */
export function fpFromInt(b: Builder, x: Val, t: 'f32' | 'f64'): Val {
  const quick = b.op(`${t}.convert_${x.t}_s`, t, [x]);
  if (x.t === 'i32' && t === 'f64') return quick;
  // Exact within the significand, under any rounding.
  const half = t === 'f32' ? 1n << 24n : 1n << 53n;
  const exact = b.cmp('le_u', b.add(x, b.c(x.t, half)), b.c(x.t, half * 2n));
  return soft(b, b.or(exact, usualMxcsr(b)), quick, `${x.t}_to_${t}`, [x]);
}

/** f32 or f64 to signed i32 or i64: rounded as MXCSR says, or truncated. Invalid: the integer indefinite. */
export function fpToInt(b: Builder, x: Val, t: 'i32' | 'i64', truncate: boolean): Val {
  const f = new Fp(b, x.t === 'f32' ? 'ss' : 'sd');
  const whole = f.op('trunc', x);
  const rounded = truncate ? whole : f.op('nearest', x);
  const limit = t === 'i32' ? 2 ** 31 : 2 ** 63;
  const fits = f.cmp('lt', f.op('abs', rounded), f.num(limit));
  const inexact = peSettled(b, truncate ? DAZ : DAZ | RC);
  const ok = b.and(fits, b.or(f.cmp('eq', whole, x), inexact));
  const quick = b.op(`${t}.trunc_sat_${x.t}_s`, t, [rounded]);
  return soft(b, ok, quick, `${x.t}_to_${t}`, [...f.bits(x), b.i32(truncate ? 1 : 0)]);
}

/** Packed conversion: `quick` if ok, else the runtime's (CVT_*) of the whole vector. */
export function fpConvert(b: Builder, ok: Val, quick: Val, op: number, x: Val): Val {
  const r = b.variable(quick);
  b.if(b.eqz(ok), () => {
    b.callFaulting('fp_convert', [b.i32(op), low(b, x), high(b, x)]);
    r.set(simdResult(b, 'v128'));
  });
  return r.get();
}

/** Packed i32 to f32: exact within 24 bits, else rounded. */
export function fpFromInts(b: Builder, x: Val, op = CVT_DQ2PS): Val {
  const quick = b.op('f32x4.convert_i32x4_s', 'v128', [x]);
  const limit = b.op('i32x4.splat', 'v128', [b.i32((1 << 24) + 1)]);
  const small = b.op('i32x4.all_true', 'i32', [b.op('i32x4.lt_u', 'v128', [b.op('i32x4.abs', 'v128', [x]), limit])]);
  return fpConvert(b, b.or(small, usualMxcsr(b)), quick, op, x);
}

/** Packed f32 or f64 to i32, rounded as MXCSR says or truncated; f64 gives two results and two zeros. */
export function fpToInts(b: Builder, fmt: 'ps' | 'pd', x: Val, truncate: boolean, op: number): Val {
  const f = new Fp(b, fmt);
  const whole = f.op('trunc', x);
  const rounded = truncate ? whole : f.op('nearest', x);
  const fits = f.all(f.cmp('lt', f.op('abs', rounded), f.num(2 ** 31)));
  const exact = f.all(f.cmp('eq', whole, x));
  const ok = b.and(fits, b.or(exact, peSettled(b, truncate ? DAZ : DAZ | RC)));
  const quick = b.op(fmt === 'ps' ? 'i32x4.trunc_sat_f32x4_s' : 'i32x4.trunc_sat_f64x2_s_zero', 'v128', [rounded]);
  return fpConvert(b, ok, quick, op, x);
}
