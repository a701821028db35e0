/** Near control transfer (SDM vol. 2): jmp jcc call ret loop jrcxz, and setcc cmovcc which share the conditions. */
import { GPR, VEC } from '../state.ts';
import type { Builder, Val } from './builder.ts';
import { push, top } from './stack.ts';
import { type Insn, insn } from './table.ts';

/** Take the direct branch. With 2-byte operand size (compatibility mode only) the target is cut to 16 bits. */
function take(b: Builder): void {
  if (b.size === 2) b.jump(b.zx(b.target(), 2));
  else b.branch();
}

const jumpTo = (b: Builder, v: Val): void => b.jump(b.to('i64', v));

/** In 64-bit mode a non-canonical target faults at the branch, before anything has changed. */
function checkTarget(b: Builder, target: Val): void {
  if (!b.long || target.t !== 'i64') return;
  const extended = b.shrS(b.shl(target, 16), 16);
  b.raiseIf(b.cmp('ne', extended, target), VEC.GP, 0);
}

function call(b: Builder): void {
  push(b, b.nextRip());
  take(b);
}

function callIndirect(b: Builder): void {
  const target = b.read(0);
  // The stack is looked at first.
  push(b, b.nextRip(), b.size, () => checkTarget(b, target));
  jumpTo(b, target);
}

function ret(b: Builder, extra?: Val): void {
  const t = top(b);
  checkTarget(b, t.v);
  t.done(extra);
  jumpTo(b, t.v);
}

/** rCX by address size, counted down; the result. */
function countDown(b: Builder): Val {
  const bytes = b.form.addrsize;
  const n = b.sub(b.reg(GPR.RCX, bytes), b.c(b.ty(bytes), 1));
  b.setReg(GPR.RCX, bytes, n);
  return n;
}

/** loop loope loopne: `zf` is what ZF must be to go on. */
function loop(b: Builder, zf?: boolean): void {
  const n = countDown(b);
  const left = b.cmp('ne', n, b.c(n.t, 0));
  const go = zf === undefined ? left : b.and(left, b.cond(zf ? 4 : 5));
  b.if(go, () => take(b));
}

export const control: Insn[] = [
  insn('jmp', ['EB Jb ; v f64', 'E9 Jz ; f64'], take),
  insn('jmp', 'FF /4 Ev ; f64', (b) => {
    const target = b.read(0);
    checkTarget(b, target);
    jumpTo(b, target);
  }),
  insn('jcc', ['70+cc Jb ; v f64', '0F 80+cc Jz ; f64'], (b) => b.if(b.cond(b.form.cc), () => take(b))),
  insn('call', 'E8 Jz ; f64', call),
  insn('call', 'FF /2 Ev ; f64', callIndirect),
  insn('ret', 'C3 ; v f64', (b) => ret(b)),
  insn('ret', 'C2 Iw ; v f64', (b) => ret(b, b.zx64(b.read(0), 2))),
  insn('loopne', 'E0 Jb ; a v f64', (b) => loop(b, false)),
  insn('loope', 'E1 Jb ; a v f64', (b) => loop(b, true)),
  insn('loop', 'E2 Jb ; a v f64', (b) => loop(b)),
  insn('jrcxz', 'E3 Jb ; a v f64', (b) => b.if(b.eqz(b.reg(GPR.RCX, b.form.addrsize)), () => take(b))),
  insn('setcc', '0F 90+cc Eb', (b) => b.write(0, b.cond(b.form.cc))),
  // The source is read, and a 4-byte destination's upper half cleared, whatever the condition.
  insn('cmovcc', '0F 40+cc Gv,Ev', (b) => {
    const s = b.read(1);
    b.write(0, b.select(b.cond(b.form.cc), s, b.read(0)));
  }),
];
