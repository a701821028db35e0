/** x87 arithmetic, comparison, transcendental functions (SDM vol. 1 8.3.4-8.3.8). */
import type { Builder, Val } from './builder.ts';
import type { Insn } from './table.ts';
import { compute, fpu, record } from './x87-common.ts';

/** The two-operand operations; the number is the modrm digit, and the helpers' `op`. */
const OPS = { fadd: 0, fmul: 1, fsub: 4, fsubr: 5, fdiv: 6, fdivr: 7 } as const;

const hex = (n: number) => n.toString(16).toUpperCase();

function arith(name: string, op: number): Insn[] {
  // With ST(i) as destination the encodings of sub and subr, div and divr are exchanged.
  const mirrored = op >= 4 ? op ^ 1 : op;
  const direct = hex(0xc0 + op * 8);
  const reverse = hex(0xc0 + mirrored * 8);
  const o = (b: Builder) => b.i32(op);
  const kind = `fp_${op === 1 ? 'mul' : op >= 6 ? 'div' : 'add'}`;
  const zero = (b: Builder) => b.i32(0);
  return [
    fpu(name, `D8 /${op} Md`, (b) => compute(b, `${kind}_f32`, [o(b), b.read(0)])),
    fpu(name, `DC /${op} Mq`, (b) => compute(b, `${kind}_f64`, [o(b), b.read(0)])),
    fpu(name, `D8 =${direct}+i STi`, (b) => compute(b, kind, [o(b), zero(b), b.read(0), zero(b)])),
    fpu(name, `DC =${reverse}+i STi`, (b) => compute(b, kind, [o(b), b.read(0), zero(b), zero(b)])),
    fpu(`${name}p`, `DE =${reverse}+i STi`, (b) => compute(b, kind, [o(b), b.read(0), zero(b), b.i32(1)])),
    fpu(`fi${name.slice(1)}`, [`DA /${op} Md`, `DE /${op} Mw`], (b) => {
      compute(b, 'fp_arith_int', [o(b), b.sx(b.read(0), b.bytes(0))]);
    }),
  ];
}

function compare(name: string, digit: number, pops: number): Insn[] {
  const n = (b: Builder) => b.i32(pops);
  return [
    fpu(name, `D8 /${digit} Md`, (b) => compute(b, 'fp_compare_f32', [b.read(0), n(b)])),
    fpu(name, `DC /${digit} Mq`, (b) => compute(b, 'fp_compare_f64', [b.read(0), n(b)])),
    fpu(`fi${name.slice(1)}`, [`DA /${digit} Md`, `DE /${digit} Mw`], (b) => {
      compute(b, 'fp_compare_int', [b.sx(b.read(0), b.bytes(0)), n(b)]);
    }),
  ];
}

/** A comparison of ST(0) with ST(i) (or with ST(1)); `quiet`: quiet NaNs are not invalid. */
function compareStack(name: string, encodings: string | string[], quiet: number, pops: number): Insn {
  return fpu(name, encodings, (b) => {
    const i = b.form.operands.length ? b.read(0) : b.i32(1);
    compute(b, 'fp_compare', [i, b.i32(quiet), b.i32(pops)]);
  });
}

/** fcomi and its kin: ZF, PF, CF tell the order, OF, SF and AF become 0. */
function compareFlags(name: string, encoding: string, quiet: number, pops: number): Insn {
  return fpu(name, encoding, (b) => {
    const r = b.call('fp_compare_flags', [b.read(0), b.i32(quiet), b.i32(pops)], 'i32');
    const order = b.and(r, b.i32(3));
    const is = (n: number) => b.cmp('eq', order, b.i32(n));
    const unordered = is(3);
    const zero = b.i32(0);
    b.setFlags({
      z: b.or(is(0), unordered),
      p: unordered,
      c: b.or(is(1), unordered),
      a: zero,
      s: zero,
      o: zero,
    });
    record(b, b.and(r, b.i32(4)));
  });
}

/** An instruction without operands that is one helper call. */
function plain(name: string, modrm: string, helper: string, args: (b: Builder) => Val[] = () => []): Insn {
  return fpu(name, `D9 =${modrm}`, (b) => compute(b, helper, args(b)));
}

export const x87Arith: Insn[] = [
  ...Object.entries(OPS).flatMap(([name, op]) => arith(name, op)),

  ...compare('fcom', 2, 0),
  ...compare('fcomp', 3, 1),
  compareStack('fcom', ['D8 =D0+i STi', 'DC =D0+i STi'], 0, 0),
  compareStack('fcomp', ['D8 =D8+i STi', 'DC =D8+i STi', 'DE =D0+i STi'], 0, 1),
  compareStack('fcompp', 'DE =D9', 0, 2),
  compareStack('fucom', 'DD =E0+i STi', 1, 0),
  compareStack('fucomp', 'DD =E8+i STi', 1, 1),
  compareStack('fucompp', 'DA =E9', 1, 2),
  compareFlags('fcomi', 'DB =F0+i STi', 0, 0),
  compareFlags('fcomip', 'DF =F0+i STi', 0, 1),
  compareFlags('fucomi', 'DB =E8+i STi', 1, 0),
  compareFlags('fucomip', 'DF =E8+i STi', 1, 1),
  plain('ftst', 'E4', 'fp_compare_int', (b) => [b.i32(0), b.i32(0)]),
  fpu('fxam', 'D9 =E5', (b) => b.call('fp_examine', [])),

  plain('fchs', 'E0', 'fp_sign', (b) => [b.i32(1)]),
  plain('fabs', 'E1', 'fp_sign', (b) => [b.i32(0)]),
  plain('fsqrt', 'FA', 'fp_sqrt'),
  plain('frndint', 'FC', 'fp_rndint'),
  plain('fscale', 'FD', 'fp_scale'),
  plain('fxtract', 'F4', 'fp_extract'),
  plain('fprem', 'F8', 'fp_prem', (b) => [b.i32(0)]),
  plain('fprem1', 'F5', 'fp_prem', (b) => [b.i32(1)]),

  plain('f2xm1', 'F0', 'fp_2xm1'),
  plain('fyl2x', 'F1', 'fp_yl2x'),
  plain('fptan', 'F2', 'fp_ptan'),
  plain('fpatan', 'F3', 'fp_patan'),
  plain('fyl2xp1', 'F9', 'fp_yl2xp1'),
  plain('fsincos', 'FB', 'fp_sincos'),
  plain('fsin', 'FE', 'fp_sin'),
  plain('fcos', 'FF', 'fp_cos'),
];
