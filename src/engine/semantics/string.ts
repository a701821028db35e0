/**
 * String instructions (SDM vol. 2): movs cmps stos lods scas. The repeated forms are runtime helpers (runtime/string.ts)
 * that do a bounded chunk, keep rCX rSI rDI exact, and return 0 for a fault, 1 when done, 2 when there is more to do.
 */
import { CpuState, GPR, SEG } from '../state.ts';
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';

/** Linear address of ES:rDI. */
function destination(b: Builder): Val {
  if (b.long) return b.to('i64', b.reg(GPR.RDI, b.form.addrsize));
  const offset = b.to('i64', b.reg(GPR.RDI, b.form.addrsize));
  return b.zx(b.add(offset, b.get(CpuState.off.segbase + SEG.ES * 8, 8)), 4);
}

/** Move rSI and rDI by one element of n bytes, forwards or, with DF, backwards. */
function advance(b: Builder, n: number, ...regs: number[]): void {
  const bytes = b.form.addrsize;
  // rflags bit 10 (DF) as 2n or 0.
  const back = b.and(b.shrU(b.get(CpuState.off.rflags, 4), 10 - Math.log2(2 * n)), b.i32(2 * n));
  const delta = b.sub(b.i32(n), back);
  for (const r of regs) {
    if (bytes === 8) b.setReg(r, 8, b.add(b.reg(r, 8), b.op('i64.extend_i32_s', 'i64', [delta])));
    else b.setReg(r, bytes, b.add(b.reg(r, bytes), delta));
  }
}

/** One chunk of a repeated form. */
function repeat(b: Builder, helper: string, n: number, ...args: Val[]): void {
  const status = b.callFaulting(helper, [b.i32(n), b.i32(b.form.addrsize), ...args]);
  b.if(b.cmp('eq', status, b.i32(2)), () => b.again());
}

/** Whether a compare loop goes on while the elements differ. */
const whileDifferent = (b: Builder) => b.i32(b.form.rep === 'repne' ? 1 : 0);

function movs(b: Builder): void {
  const n = b.bytes(0);
  if (b.form.rep) {
    repeat(b, 'rep_movs', n, b.segbase(0));
    return;
  }
  b.store(destination(b), n, b.read(0));
  advance(b, n, GPR.RSI, GPR.RDI);
}

function cmps(b: Builder): void {
  const n = b.bytes(0);
  if (b.form.rep) {
    repeat(b, 'rep_cmps', n, b.segbase(0), whileDifferent(b));
    return;
  }
  // ES:rDI first: it is the one that faults when both would.
  const y = b.load(destination(b), n);
  const x = b.read(0);
  b.flagsSub(x, y, b.sub(x, y), n);
  advance(b, n, GPR.RSI, GPR.RDI);
}

function stos(b: Builder): void {
  const n = b.bytes(0);
  if (b.form.rep) {
    repeat(b, 'rep_stos', n);
    return;
  }
  b.store(destination(b), n, b.read(0));
  advance(b, n, GPR.RDI);
}

function lods(b: Builder): void {
  const n = b.bytes(0);
  if (b.form.rep) {
    repeat(b, 'rep_lods', n, b.segbase(0));
    return;
  }
  b.setReg(GPR.RAX, n, b.read(0));
  advance(b, n, GPR.RSI);
}

function scas(b: Builder): void {
  const n = b.bytes(0);
  if (b.form.rep) {
    repeat(b, 'rep_scas', n, whileDifferent(b));
    return;
  }
  const x = b.read(0);
  const y = b.load(destination(b), n);
  b.flagsSub(x, y, b.sub(x, y), n);
  advance(b, n, GPR.RDI);
}

export const strings: Insn[] = [
  insn('movs', ['A4 Xb ; a rep', 'A5 Xv ; a rep'], movs),
  insn('cmps', ['A6 Xb ; a rep', 'A7 Xv ; a rep'], cmps),
  insn('stos', ['AA AL ; a rep', 'AB rAX ; a rep'], stos),
  insn('lods', ['AC Xb ; a rep', 'AD Xv ; a rep'], lods),
  insn('scas', ['AE AL ; a rep', 'AF rAX ; a rep'], scas),
];
