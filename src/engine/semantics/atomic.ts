/** Compare-and-exchange and exchange-and-add: cmpxchg cmpxchg8b cmpxchg16b xadd (SDM vol. 2). */
import { CpuState, GPR } from '../state.ts';
import type { Builder } from './builder.ts';
import { type Insn, insn } from './table.ts';

function cmpxchg(b: Builder): void {
  const bytes = b.bytes(0);
  const acc = b.reg(GPR.RAX, bytes);
  const s = b.read(1);
  if (b.form.lock) {
    const d = b.cmpxchg(0, acc, s);
    b.flagsSub(acc, d, b.sub(acc, d), bytes);
    b.if(b.cmp('ne', acc, d), () => b.setReg(GPR.RAX, bytes, d));
    return;
  }
  const d = b.rmw(0);
  b.flagsSub(acc, d, b.sub(acc, d), bytes);
  // Only the register that gets a new value has its upper half cleared.
  b.if(
    b.cmp('eq', acc, d),
    () => b.write(0, s),
    () => {
      if (b.isMem(0)) b.write(0, d);
      b.setReg(GPR.RAX, bytes, d);
    },
  );
}

function cmpxchg8b(b: Builder): void {
  const pair = (high: number, low: number) => b.or(b.shl(b.to('i64', b.reg(high, 4)), 32), b.to('i64', b.reg(low, 4)));
  const expected = pair(GPR.RDX, GPR.RAX);
  const replacement = pair(GPR.RCX, GPR.RBX);
  const d = b.form.lock ? b.cmpxchg(0, expected, replacement) : b.rmw(0);
  if (!b.form.lock) b.write(0, b.select(b.cmp('eq', d, expected), replacement, d));
  // ZF alone changes.
  b.flags({ z: b.xor(d, expected) });
  b.if(b.cmp('ne', d, expected), () => {
    b.setReg(GPR.RAX, 4, d);
    b.setReg(GPR.RDX, 4, b.shrU(d, 32));
  });
}

function xadd(b: Builder): void {
  const bytes = b.bytes(0);
  const s = b.read(1);
  const d = b.form.lock ? b.atomic('add', 0, s) : b.rmw(0);
  const r = b.add(d, s);
  b.write(1, d);
  if (!b.form.lock) b.write(0, r);
  b.flagsAdd(d, s, r, bytes);
}

export const atomics: Insn[] = [
  insn('cmpxchg', ['0F B0 Eb,Gb ; lock', '0F B1 Ev,Gv ; lock'], cmpxchg),
  insn('cmpxchg8b', '0F C7 /1 Mq ; lock w0', cmpxchg8b),
  insn('cmpxchg16b', '0F C7 /1 Mx ; lock w1', (b) => {
    // wasm has no 16-byte atomics: the runtime makes it exclusive.
    b.callFaulting(b.form.lock ? 'cmpxchg16b_locked' : 'cmpxchg16b', [b.ea(0)]);
    b.flags({ z: b.get(CpuState.off.ret0, 8) });
  }),
  insn('xadd', ['0F C0 Eb,Gb ; lock', '0F C1 Ev,Gv ; lock'], xadd),
];
