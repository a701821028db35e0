/** SSE…SSE4.1 floating-point arithmetic, comparison, rounding, logic, horizontal operations (SDM vol. 2). */
import type { Builder, Val } from './builder.ts';
import {
  type Arith,
  FMTS,
  type Fmt,
  fpArith,
  fpCompare,
  fpFlags,
  fpMinMax,
  fpRound,
  fpSqrt,
  simdResult,
} from './fp.ts';
import { type Insn, insn } from './table.ts';
import { FPU, high, imm8, lanes, low, packed, vop } from './vector.ts';

const PREFIX = { ss: 'F3', sd: 'F2', ps: 'NP', pd: '66' } as const;
const OPERANDS = { ss: 'Vss,Wss', sd: 'Vsd,Wsd', ps: 'Vx,Wx', pd: 'Vx,Wx' } as const;

/** One instruction for each format: addss addsd addps addpd. */
function family(name: string, opcode: string, f: (b: Builder, fmt: Fmt, d: Val, s: Val) => Val, fmts = FMTS): Insn[] {
  return fmts.map((fmt) =>
    insn(
      name + fmt,
      `${PREFIX[fmt]} 0F ${opcode} ${OPERANDS[fmt]}`,
      (b) => {
        const s = b.read(1);
        b.write(0, f(b, fmt, b.read(0), s));
      },
      FPU,
    ),
  );
}
const arith = (op: Arith, opcode: string) => family(op, opcode, (b, fmt, d, s) => fpArith(b, op, fmt, d, s));

/** rcpps and rsqrtps raise nothing; the approximation is the runtime's. */
function approximation(name: 'rcp' | 'rsqrt', opcode: string): Insn[] {
  const helper = `f32_${name}`;
  return [
    insn(
      `${name}ss`,
      `F3 0F ${opcode} Vss,Wss`,
      (b) => {
        const x = b.op('i32.reinterpret_f32', 'i32', [b.read(1)]);
        b.write(0, b.op('f32.reinterpret_i32', 'f32', [b.call(helper, [x], 'i32', { pure: true })]));
      },
      FPU,
    ),
    insn(
      `${name}ps`,
      `NP 0F ${opcode} Vx,Wx`,
      (b) => {
        const x = b.read(1);
        let r = x;
        for (let i = 0; i < 4; i++) {
          const lane = b.op('i32x4.extract_lane', 'i32', [x], [i]);
          r = b.op('i32x4.replace_lane', 'v128', [r, b.call(helper, [lane], 'i32', { pure: true })], [i]);
        }
        b.write(0, r);
      },
      FPU,
    ),
  ];
}

/** Lanes 0, 2, … of d then s combined with lanes 1, 3, …. */
function horizontal(op: 'add' | 'sub'): Insn[] {
  const make = (fmt: 'ps' | 'pd', prefix: string, even: number[], odd: number[], w: number) =>
    packed(`h${op}${fmt}`, [`${prefix} 0F ${op === 'add' ? '7C' : '7D'} Vx,Wx`], (b, d, s) =>
      fpArith(b, op, fmt, lanes(b, d, s, w, even), lanes(b, d, s, w, odd)),
    );
  return [make('ps', 'F2', [0, 2, 4, 6], [1, 3, 5, 7], 4), make('pd', '66', [0, 2], [1, 3], 8)];
}

const compareFlags = (name: string, opcode: string, quiet: boolean): Insn[] =>
  (['ss', 'sd'] as const).map((fmt) =>
    insn(
      name + fmt,
      `${fmt === 'ss' ? 'NP' : '66'} 0F ${opcode} ${OPERANDS[fmt]}`,
      (b) => {
        const s = b.read(1);
        fpFlags(b, fmt, b.read(0), s, quiet);
      },
      FPU,
    ),
  );

const logic = (name: string, opcode: string, integer: string, f: (b: Builder, d: Val, s: Val) => Val): Insn[] => [
  packed(`${name}ps`, [`NP 0F ${opcode} Vx,Wx`], f),
  packed(`${name}pd`, [`66 0F ${opcode} Vx,Wx`], f),
  packed(name === 'andn' ? 'pandn' : `p${name}`, [`NP 0F ${integer} Pq,Qq`, `66 0F ${integer} Vx,Wx`], f),
];

export const sseArith: Insn[] = [
  ...arith('add', '58'),
  ...arith('mul', '59'),
  ...arith('sub', '5C'),
  ...arith('div', '5E'),
  ...family('min', '5D', (b, fmt, d, s) => fpMinMax(b, 'min', fmt, d, s)),
  ...family('max', '5F', (b, fmt, d, s) => fpMinMax(b, 'max', fmt, d, s)),
  ...family('sqrt', '51', (b, fmt, _d, s) => fpSqrt(b, fmt, s)),
  ...approximation('rsqrt', '52'),
  ...approximation('rcp', '53'),

  packed('addsubpd', ['66 0F D0 Vx,Wx'], (b, d, s) => fpArith(b, 'addsub', 'pd', d, s)),
  packed('addsubps', ['F2 0F D0 Vx,Wx'], (b, d, s) => fpArith(b, 'addsub', 'ps', d, s)),
  ...horizontal('add'),
  ...horizontal('sub'),

  ...FMTS.map((fmt) =>
    insn(
      `cmp${fmt}`,
      `${PREFIX[fmt]} 0F C2 ${OPERANDS[fmt]},Ib`,
      (b) => {
        const s = b.read(1);
        b.write(0, fpCompare(b, fmt, b.read(0), s, imm8(b, 2)));
      },
      FPU,
    ),
  ),
  ...compareFlags('ucomi', '2E', true),
  ...compareFlags('comi', '2F', false),

  ...FMTS.map((fmt) =>
    insn(
      `round${fmt}`,
      `66 0F 3A ${{ ps: '08', pd: '09', ss: '0A', sd: '0B' }[fmt]} ${OPERANDS[fmt]},Ib`,
      (b) => b.write(0, fpRound(b, fmt, b.read(1), imm8(b, 2))),
      FPU,
    ),
  ),

  // Products of the lanes named by imm8 bits 7..4, summed, to the lanes named by bits 3..0.
  ...(['ps', 'pd'] as const).map((fmt) =>
    insn(
      `dp${fmt}`,
      `66 0F 3A ${fmt === 'ps' ? '40' : '41'} Vx,Wx,Ib`,
      (b) => {
        const s = b.read(1);
        const d = b.read(0);
        b.callFaulting(`fp_dp${fmt}`, [imm8(b, 2), low(b, d), high(b, d), low(b, s), high(b, s)]);
        b.write(0, simdResult(b, 'v128'));
      },
      FPU,
    ),
  ),

  ...logic('and', '54', 'DB', (b, d, s) => vop(b, 'v128.and', d, s)),
  ...logic('andn', '55', 'DF', (b, d, s) => vop(b, 'v128.andnot', s, d)),
  ...logic('or', '56', 'EB', (b, d, s) => vop(b, 'v128.or', d, s)),
  ...logic('xor', '57', 'EF', (b, d, s) => vop(b, 'v128.xor', d, s)),
];
