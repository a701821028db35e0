/**
 * Stack instructions (SDM vol. 2): push pop pusha popa pushf popf enter leave. In compatibility mode the stack is flat
 * and esp is used; SS's base is not added.
 */
import { RFLAGS } from '../flags.ts';
import { CpuState, GPR, PENDING } from '../state.ts';
import type { Builder, Val } from './builder.ts';
import { type Insn, insn } from './table.ts';

const RSP = CpuState.off.gpr + GPR.RSP * 8;

/** The stack pointer (i64), as an address. */
export const stackPointer = (b: Builder): Val => (b.long ? b.get(RSP, 8) : b.get(RSP, 4, 'i64'));

/** Stack address `delta` bytes away from sp. */
export function stackAt(b: Builder, sp: Val, delta: number | bigint | Val): Val {
  const d = typeof delta === 'object' ? delta : b.i64(delta);
  const a = b.add(sp, d);
  return b.long ? a : b.zx(a, 4);
}

/** rsp = a stack address. */
export const setStackPointer = (b: Builder, a: Val): void => b.set(RSP, 8, a);

/** Push a value of `bytes`; everything else that can fault must have come before, or be in `check`. */
export function push(b: Builder, v: Val, bytes = b.size, check?: () => void): void {
  const at = stackAt(b, stackPointer(b), -bytes);
  const p = b.probe(at, bytes);
  check?.();
  b.pstore(p, 0, bytes, v);
  b.commit(p);
  setStackPointer(b, at);
}

/** Read the value on top of the stack; `done()` removes it, after whatever else can fault. */
export function top(b: Builder, bytes = b.size): { v: Val; done(extra?: Val): void } {
  const sp = stackPointer(b);
  const v = b.load(sp, bytes);
  return {
    v,
    done: (extra) => {
      const next = extra ? b.add(extra, b.i64(bytes)) : bytes;
      setStackPointer(b, stackAt(b, sp, next));
    },
  };
}

function pop(b: Builder): void {
  const t = top(b);
  b.probeOperand(0);
  // rsp first: pop rsp loads it.
  t.done();
  b.write(0, t.v);
}

const ALL = [GPR.RAX, GPR.RCX, GPR.RDX, GPR.RBX, GPR.RSP, GPR.RBP, GPR.RSI, GPR.RDI];

function pusha(b: Builder): void {
  const n = b.size;
  const sp = stackPointer(b);
  // Slot by slot, so that a fault names the first that cannot be written.
  const slots = ALL.map((_, i) => b.probe(stackAt(b, sp, -(i + 1) * n), n));
  for (const [i, r] of ALL.entries()) {
    b.pstore(slots[i], 0, n, b.reg(r, n));
    b.commit(slots[i]);
  }
  setStackPointer(b, stackAt(b, sp, -8 * n));
}

function popa(b: Builder): void {
  const n = b.size;
  const sp = stackPointer(b);
  // rDI is on top; rSP's slot is skipped.
  const loaded = ALL.toReversed().flatMap((r, i) =>
    r === GPR.RSP ? [] : [{ r, v: b.load(stackAt(b, sp, i * n), n) }],
  );
  setStackPointer(b, stackAt(b, sp, 8 * n));
  for (const { r, v } of loaded) b.setReg(r, n, v);
}

/** IF may have been set: if the hypervisor waits for that, guest code is left at the next taken branch. */
export function lookForInterrupts(b: Builder): void {
  b.if(b.get(CpuState.off.irq_wanted, 4), () => b.set(CpuState.off.pending, 4, b.i32(PENDING)));
}

/** Flags that popf changes at any CPL (IF only with sufficient IOPL, IOPL at CPL 0; VM never; RF, VIF and VIP become 0). */
const POPF = RFLAGS.STATUS | RFLAGS.TF | RFLAGS.DF | RFLAGS.NT | RFLAGS.AC | RFLAGS.ID;
const POPF_CLEAR = RFLAGS.RF | RFLAGS.VIF | RFLAGS.VIP;

/** i32: CPL <= IOPL. */
export function iopl(b: Builder): Val {
  const level = b.and(b.shrU(b.get(CpuState.off.rflags, 4), 12), b.i32(3));
  return b.cmp('le_u', b.get(CpuState.off.cpl, 4), level);
}

function popf(b: Builder): void {
  const t = top(b);
  const v = b.to('i64', t.v);
  const mask = (m: number) => BigInt(b.size === 2 ? m & 0xffff : m);
  const level = b.shl(b.to('i64', b.eqz(b.get(CpuState.off.cpl, 4))), 12);
  const allowed = b.or(b.or(b.i64(mask(POPF)), b.shl(b.to('i64', iopl(b)), 9)), b.mul(level, b.i64(3)));
  const old = b.call('rflags_get', [], 'i64', { pure: true });
  const kept = b.and(b.and(old, b.not(allowed)), b.i64(~mask(POPF_CLEAR)));
  t.done();
  b.call('rflags_set', [b.or(kept, b.and(v, allowed))]);
  lookForInterrupts(b);
  // The trap flag may be set now.
  b.set(CpuState.off.rip, 8, b.nextRip());
  b.resync();
}

function enter(b: Builder): void {
  const n = b.size;
  const size = b.zx64(b.read(0), 2);
  const level = b.and(b.read(1), b.i32(31));
  const sp = stackPointer(b);
  b.if(
    level,
    () => {
      b.callFaulting('enter', [b.i32(n), size, level]);
    },
    () => {
      const at = stackAt(b, sp, -n);
      // The new top must be writable too; the push is looked at first, and probed last because it is written.
      b.probe(at, n);
      b.probe(stackAt(b, at, b.neg(size)), n);
      const p = b.probe(at, n);
      b.pstore(p, 0, n, b.reg(GPR.RBP, n));
      b.commit(p);
      setStackPointer(b, stackAt(b, at, b.neg(size)));
      b.setReg(GPR.RBP, n === 2 ? 2 : 8, at);
    },
  );
}

export const stack: Insn[] = [
  insn('push', ['50+ Zv ; d64', 'FF /6 Ev ; d64', '68 Iz ; d64', '6A Ibs ; d64'], (b) => push(b, b.read(0))),
  insn('pop', ['58+ Zv ; d64', '8F /0 Ev ; d64 pop'], pop),
  insn('pusha', '60 ; i64 v', pusha),
  insn('popa', '61 ; i64 v', popa),
  insn('pushf', '9C ; v d64', (b) => {
    const v = b.and(b.call('rflags_get', [], 'i64', { pure: true }), b.i64(~BigInt(RFLAGS.VM | RFLAGS.RF)));
    push(b, v);
  }),
  insn('popf', '9D ; v d64', popf),
  insn('enter', 'C8 Iw,Ib ; v d64', enter),
  insn('leave', 'C9 ; v d64', (b) => {
    const bp = b.long ? b.reg(GPR.RBP, 8) : b.reg(GPR.RBP, 4);
    const a = b.to('i64', bp);
    const v = b.load(a, b.size);
    setStackPointer(b, stackAt(b, a, b.size));
    b.setReg(GPR.RBP, b.size, v);
  }),
];
