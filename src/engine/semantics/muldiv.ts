/**
 * mul imul div idiv (SDM vol. 2). CF = OF = "the product does not fit"; the other flags are undefined and kept, as AMD's
 * processors do. Division changes no flags.
 */
import { CpuState, GPR, VEC } from '../state.ts';
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';

/** CF = OF = v (i32, 0 or 1): bit 63 set, bit 62 = CF xor OF = 0. */
function overflow(b: Builder, v: Val): void {
  b.flags({ c: b.shl(b.to('i64', v), 63) });
}

/** High 64 bits of the unsigned product of two i64, from four 32-bit products. */
function mulHigh(b: Builder, x: Val, y: Val): Val {
  const low = (v: Val) => b.and(v, b.i64(0xffffffffn));
  const x0 = low(x);
  const x1 = b.shrU(x, 32);
  const y0 = low(y);
  const y1 = b.shrU(y, 32);
  const t = b.add(b.mul(x1, y0), b.shrU(b.mul(x0, y0), 32));
  const u = b.add(b.mul(x0, y1), low(t));
  return b.add(b.add(b.mul(x1, y1), b.shrU(t, 32)), b.shrU(u, 32));
}

/** The same for signed numbers. */
function mulHighSigned(b: Builder, x: Val, y: Val): Val {
  const correction = b.add(b.and(b.shrS(x, 63), y), b.and(b.shrS(y, 63), x));
  return b.sub(mulHigh(b, x, y), correction);
}

/** rDX:rAX (AX for bytes) = rAX * operand. */
function wide(b: Builder, signed: boolean): void {
  const n = b.bytes(0);
  if (n === 8) {
    const x = b.reg(GPR.RAX, 8);
    const y = b.read(0);
    const lo = b.mul(x, y);
    const hi = signed ? mulHighSigned(b, x, y) : mulHigh(b, x, y);
    b.setReg(GPR.RAX, 8, lo);
    b.setReg(GPR.RDX, 8, hi);
    overflow(b, b.cmp('ne', hi, signed ? b.shrS(lo, 63) : b.i64(0)));
    return;
  }
  const ext = (v: Val) => (signed ? b.sx64(v, n) : b.zx64(v, n));
  const p = b.mul(ext(b.reg(GPR.RAX, n)), ext(b.read(0)));
  if (n === 1) b.setReg(GPR.RAX, 2, p);
  else {
    b.setReg(GPR.RAX, n, p);
    b.setReg(GPR.RDX, n, b.shrU(p, n * 8));
  }
  overflow(b, b.cmp('ne', p, ext(b.to('i32', p))));
}

/** imul with two or three operands: operand 0 = x * y, cut to its size. */
function narrow(b: Builder, x: Val, y: Val): void {
  const n = b.bytes(0);
  if (n === 8) {
    const r = b.mul(x, y);
    const lost = b.variable(b.i64(0));
    // Factors of 32 bits cannot overflow: the common case.
    const bias = b.i64(0x80000000n);
    const large = b.shrU(b.or(b.add(x, bias), b.add(y, bias)), 32);
    b.if(b.cmp('ne', large, b.i64(0)), () => {
      lost.set(b.xor(mulHighSigned(b, x, y), b.shrS(r, 63)));
    });
    b.write(0, r);
    overflow(b, b.cmp('ne', lost.get(), b.i64(0)));
    return;
  }
  const p = b.mul(b.sx64(x, n), b.sx64(y, n));
  b.write(0, b.to('i32', p));
  overflow(b, b.cmp('ne', p, b.sx(p, n)));
}

/** #DE when the divisor is 0. */
const zeroDivides = (b: Builder, d: Val) => b.raiseIf(b.eqz(d), VEC.DE);

/** Quotient and remainder to rAX and rDX (AL and AH for bytes). */
function quotient(b: Builder, n: number, q: Val, r: Val): void {
  b.setReg(GPR.RAX, n, q);
  if (n === 1) b.set(CpuState.off.gpr + 1, 1, r);
  else b.setReg(GPR.RDX, n, r);
}

/** Dividends of 64 bits and less: one division in i64. */
function divide(b: Builder, n: number, signed: boolean): void {
  const d = signed ? b.sx64(b.read(0), n) : b.zx64(b.read(0), n);
  zeroDivides(b, d);
  const wide = n === 1 ? b.to('i64', b.reg(GPR.RAX, 2)) : pair(b, n);
  const dividend = signed ? b.sx(wide, n * 2) : wide;
  // The one i64 quotient that wasm cannot give: -2^63 / -1. It is out of range here too.
  if (signed && n === 4) {
    const bad = b.and(b.cmp('eq', dividend, b.i64(-(1n << 63n))), b.cmp('eq', d, b.i64(-1)));
    b.raiseIf(bad, VEC.DE);
  }
  const q = b.op(signed ? 'i64.div_s' : 'i64.div_u', 'i64', [dividend, d]);
  const r = b.sub(dividend, b.mul(q, d));
  b.raiseIf(b.cmp('ne', q, signed ? b.sx(q, n) : b.zx(q, n)), VEC.DE);
  quotient(b, n, q, r);
}

/** rDX:rAX of 2 or 4 bytes each as i64, zero-extended. */
function pair(b: Builder, n: number): Val {
  return b.or(b.shl(b.to('i64', b.reg(GPR.RDX, n)), n * 8), b.to('i64', b.reg(GPR.RAX, n)));
}

/** 128 / 64 bits: in i64 when the dividend fits, else the runtime's div128/idiv128 (ret0 = quotient, ret1 = remainder). */
function divide64(b: Builder, signed: boolean): void {
  const d = b.read(0);
  zeroDivides(b, d);
  const lo = b.reg(GPR.RAX, 8);
  const hi = b.reg(GPR.RDX, 8);
  const fits = b.cmp('eq', hi, signed ? b.shrS(lo, 63) : b.i64(0));
  const simple = signed ? b.and(fits, b.cmp('ne', d, b.i64(-1))) : fits;
  b.if(
    simple,
    () => {
      const q = b.op(signed ? 'i64.div_s' : 'i64.div_u', 'i64', [lo, d]);
      const r = b.sub(lo, b.mul(q, d));
      quotient(b, 8, q, r);
    },
    () => {
      const ok = b.call(signed ? 'idiv128' : 'div128', [hi, lo, d], 'i32', { pure: true });
      b.raiseIf(b.eqz(ok), VEC.DE);
      quotient(b, 8, b.get(CpuState.off.ret0, 8), b.get(CpuState.off.ret1, 8));
    },
  );
}

function div(b: Builder, signed: boolean): void {
  const n = b.bytes(0);
  if (n === 8) divide64(b, signed);
  else divide(b, n, signed);
}

export const muldiv: Insn[] = [
  insn('mul', ['F6 /4 Eb', 'F7 /4 Ev'], (b) => wide(b, false)),
  insn('imul', ['F6 /5 Eb', 'F7 /5 Ev'], (b) => wide(b, true)),
  insn('imul', '0F AF Gv,Ev', (b) => narrow(b, b.read(0), b.read(1))),
  insn('imul', ['69 Gv,Ev,Iz', '6B Gv,Ev,Ibs'], (b) => narrow(b, b.read(1), b.read(2))),
  insn('div', ['F6 /6 Eb', 'F7 /6 Ev'], (b) => div(b, false)),
  insn('idiv', ['F6 /7 Eb', 'F7 /7 Ev'], (b) => div(b, true)),
];
