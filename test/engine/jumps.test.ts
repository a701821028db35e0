/** Jumps from region to region through the jump cache (src/engine/jump-cache.ts): never to what is no longer there. */
import { describe, expect, it } from 'vitest';
import { GPR, JUMP_PAGES, JUMPS_PER_PAGE, JumpEntry, XTLB_ENTRIES } from '../../src/engine/state.ts';
import { Sandbox } from './sandbox.ts';

const CODE = 0x400000n;
const FAR = 0x500000n;
const STACK = 0x7fff0000n;
const FRAME = 0xfffffff000n;
const hex = (s: string) => [...Buffer.from(s.replaceAll(' ', ''), 'hex')];

// l: call rbx; dec ecx; jnz l; ud2
const CALLER = hex('ffd3 ffc9 75fa 0f0b');
// inc eax; ret, and the like with other registers
const INC_EAX = hex('ffc0 c3');
const INC_EDX = hex('ffc2 c3');

/** A caller at CODE and what it calls at FAR, each translated by itself. */
function prepare(): Sandbox {
  const s = new Sandbox();
  for (const va of [CODE, FAR, STACK]) s.map(va);
  s.poke(CODE, CALLER);
  s.poke(FAR, INC_EAX);
  turn(s, 2);
  for (const va of [CODE, FAR]) {
    s.set64('rip', va);
    expect(s.engine.translator!.translateNow(s.cpu)).toBe(true);
  }
  return s;
}

/** Call it so often. */
function turn(s: Sandbox, times: number, to = FAR): Sandbox {
  for (const r of [GPR.RAX, GPR.RDX]) s.setGpr(r, 0n);
  s.setGpr(GPR.RBX, to);
  s.setGpr(GPR.RCX, BigInt(times));
  s.setGpr(GPR.RSP, STACK + 0x800n);
  s.touch(STACK);
  s.run(CODE);
  return s;
}

/** Entries of the active context's jump cache that lead somewhere: their targets. */
function known(s: Sandbox): bigint[] {
  const from = s.get32('jumps');
  const all = Array.from({ length: JUMP_PAGES * JUMPS_PER_PAGE }, (_, n) => from + n * JumpEntry.size);
  return all
    .filter((e) => s.view.getUint32(e + JumpEntry.off.handler, true) !== 0)
    .map((e) => s.view.getBigUint64(e + JumpEntry.off.target, true))
    .sort();
}

describe('the jump cache', () => {
  it('knows where regions have led', () => {
    const s = turn(prepare(), 20);
    expect(s.gpr(GPR.RAX)).toBe(20n);
    expect(known(s)).toEqual([CODE + 2n, FAR]);
  });

  it('forgets a region whose code is written over', () => {
    const s = turn(prepare(), 20);
    s.poke(FAR, INC_EDX);
    turn(s, 20);
    expect([s.gpr(GPR.RAX), s.gpr(GPR.RDX)]).toEqual([0n, 20n]);
  });

  it('forgets it in the midst of the code that writes', () => {
    const s = prepare();
    // The frame once more, to be written at. l: call rbx; mov byte [rsi+1],0xc2; dec ecx; jnz l; ud2
    s.map(0x600000n, undefined, Number((s.view.getBigUint64(s.pte(FAR), true) & FRAME) >> 12n));
    s.poke(CODE, hex('ffd3 c64601c2 ffc9 75f6 0f0b'));
    turn(s, 1);
    s.poke(FAR, INC_EAX);
    s.set64('rip', CODE);
    expect(s.engine.translator!.translateNow(s.cpu)).toBe(true);
    s.setGpr(GPR.RSI, 0x600000n);
    turn(s, 5);
    expect([s.gpr(GPR.RAX), s.gpr(GPR.RDX)]).toEqual([1n, 4n]);
  });

  it.each([
    ['the page', (s: Sandbox) => s.call('tlb_flush_page', s.get32('domain'), FAR)],
    ['the context', (s: Sandbox) => s.call('tlb_flush_current', s.cpu)],
    ['the domain', (s: Sandbox) => s.call('tlb_flush_domain', s.get32('domain'))],
    ['all', (s: Sandbox) => s.call('tlb_reset')],
  ])('forgets a page with its translation: a flush of %s', (_what, flush) => {
    const s = turn(prepare(), 20);
    const other = 0x700000n;
    s.map(other);
    s.poke(other, INC_EDX);
    s.view.setBigUint64(s.pte(FAR), s.view.getBigUint64(s.pte(other), true), true);
    flush(s);
    turn(s, 20);
    expect([s.gpr(GPR.RAX), s.gpr(GPR.RDX)]).toEqual([0n, 20n]);
  });

  it('forgets a page whose place in the execute TLB another one takes', () => {
    const s = turn(prepare(), 20);
    const alias = FAR + BigInt(XTLB_ENTRIES) * 4096n;
    s.map(alias);
    s.poke(alias, INC_EDX);
    turn(s, 20, alias);
    expect([s.gpr(GPR.RAX), s.gpr(GPR.RDX)]).toEqual([0n, 20n]);
    expect(known(s)).not.toContain(FAR);
    turn(s, 20);
    expect([s.gpr(GPR.RAX), s.gpr(GPR.RDX)]).toEqual([20n, 0n]);
    expect(known(s)).toContain(FAR);
  });

  it('leads nowhere from an empty entry, whatever the address', () => {
    const odd = [0n, 1n, 0x40n, 0xffffffffffffffffn, 0x8000000000000000n, 0x8080808080808080n, 1n << 47n];
    for (const to of odd) {
      const ends = [false, true].map((translated) => {
        const s = new Sandbox();
        for (const va of [CODE, STACK]) s.map(va);
        s.poke(CODE, CALLER);
        if (translated) {
          turn(s, 1, CODE + 6n);
          s.set64('rip', CODE);
          expect(s.engine.translator!.translateNow(s.cpu)).toBe(true);
        }
        turn(s, 3, to);
        return [s.get32('exit_reason'), s.get32('exit_vector'), s.get32('exit_error'), s.get64('rip'), s.get64('cr2')];
      });
      expect(ends[1]).toEqual(ends[0]);
    }
  });
});
