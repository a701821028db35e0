/** Decimal adjustment and bound, in compatibility mode only (SDM vol. 2): daa das aaa aas aam aad bound. */
import { CpuState, GPR, VEC } from '../state.ts';
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';

/** SF ZF PF of AL, CF and AF as given (i32, 0 or 1), OF = 0. */
function adjustFlags(b: Builder, al: Val, cf?: Val, af?: Val): void {
  const v = b.sx64(al, 1);
  // Bits 63 and 62 alike: CF with OF = 0.
  const c = cf ? b.shrS(b.shl(b.to('i64', cf), 63), 1) : b.i64(0);
  b.flags({ z: v, s: v, c, x: af ? b.xor(v, b.shl(b.to('i64', af), 4)) : v });
}

/** The low digit is above 9, or AF is set. */
const adjustLow = (b: Builder, al: Val) => b.or(b.cmp('gt_u', b.and(al, b.i32(15)), b.i32(9)), b.flag('a'));
const when = (b: Builder, cond: Val, v: number) => b.select(cond, b.i32(v), b.i32(0));

function decimal(b: Builder, op: 'add' | 'sub'): void {
  const al = b.reg(GPR.RAX, 1);
  const oldCarry = b.flag('c');
  const low = adjustLow(b, al);
  const high = b.or(b.cmp('gt_u', al, b.i32(0x99)), oldCarry);
  const r = b[op](b[op](al, when(b, low, 6)), when(b, high, 0x60));
  // das: a borrow of the low step counts even when the high step is not taken.
  const cf = op === 'add' ? high : b.or(high, b.and(low, b.cmp('lt_u', al, b.i32(6))));
  b.setReg(GPR.RAX, 1, r);
  adjustFlags(b, r, cf, low);
}

function ascii(b: Builder, op: 'add' | 'sub'): void {
  const ax = b.reg(GPR.RAX, 2);
  const low = adjustLow(b, ax);
  const r = b.and(b[op](ax, when(b, low, 0x106)), b.i32(0xff0f));
  b.setReg(GPR.RAX, 2, r);
  adjustFlags(b, r, low, low);
}

function bound(b: Builder): void {
  const n = b.size;
  const i = b.sx(b.read(0), n);
  const at = b.ea(1);
  const lower = b.load(at, n, { signed: true });
  const upper = b.load(b.zx(b.add(at, b.i64(n)), 4), n, { signed: true });
  b.raiseIf(b.or(b.cmp('lt_s', i, lower), b.cmp('gt_s', i, upper)), VEC.BR);
}

export const bcd: Insn[] = [
  insn('daa', '27 ; i64', (b) => decimal(b, 'add')),
  insn('das', '2F ; i64', (b) => decimal(b, 'sub')),
  insn('aaa', '37 ; i64', (b) => ascii(b, 'add')),
  insn('aas', '3F ; i64', (b) => ascii(b, 'sub')),
  insn('aam', 'D4 Ib ; i64', (b) => {
    const base = b.zx(b.read(0), 1);
    b.raiseIf(b.eqz(base), VEC.DE);
    const al = b.reg(GPR.RAX, 1);
    const q = b.op('i32.div_u', 'i32', [al, base]);
    const r = b.sub(al, b.mul(q, base));
    b.setReg(GPR.RAX, 2, b.or(b.shl(q, 8), r));
    adjustFlags(b, r);
  }),
  insn('aad', 'D5 Ib ; i64', (b) => {
    const ah = b.get(CpuState.off.gpr + 1, 1);
    const r = b.zx(b.add(b.reg(GPR.RAX, 1), b.mul(ah, b.zx(b.read(0), 1))), 1);
    b.setReg(GPR.RAX, 2, r);
    adjustFlags(b, r);
  }),
  insn('bound', '62 Gv,M ; i64', bound),
];
