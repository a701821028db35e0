/**
 * Where the interpreter goes on, as it has found it before: the near table of a page of code, and links of direct branches to
 * other pages. Both must forget what is overwritten, and hold for the page that is mapped.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { EXIT, FAR, GPR, NEAR, OFFSETS_BYTES, Record32, XTLB_ENTRIES, XtlbEntry } from '../../src/engine/state.ts';
import { Sandbox } from './sandbox.ts';

const A = 0x400000n;
const B = 0x500000n;
/** Where frame B can be written to as data. */
const ALIAS = 0x900000n;
/** mov eax, n (5 bytes); ud2 */
const mov = (n: number) => [0xb8, n, 0, 0, 0, 0x0f, 0x0b];
const imm32 = (n: number) => [n & 0xff, (n >> 8) & 0xff, (n >> 16) & 0xff, (n >> 24) & 0xff];
const DISTANCE = Number(B - A);
/** At the start of a page: to the same place of the page DISTANCE on. */
const branches: [string, number[]][] = [
  ['jmp', [0xe9, ...imm32(DISTANCE - 5)]],
  ['jcc', [0x31, 0xc0, 0x0f, 0x84, ...imm32(DISTANCE - 8)]], // xor eax, eax; jz
  ['cmp and jcc', [0x48, 0x39, 0x43, 0x10, 0x0f, 0x84, ...imm32(DISTANCE - 10)]], // cmp [rbx+16], rax; jz: one superinstruction
  ['call', [0xe8, ...imm32(DISTANCE - 5)]],
];

let s: Sandbox;
beforeEach(() => {
  s = new Sandbox({ translationMiB: 0 });
  for (const at of [A, B, 0x7000n]) s.map(at);
  s.map(ALIAS, undefined, mfn(B));
});

const mfn = (va: bigint) => Number((s.view.getBigUint64(s.pte(va), true) >> 12n) & 0xfffffn);
/** Runs to the ud2; what is in rax then. */
const run = (at: bigint) => {
  s.setGpr(GPR.RSP, 0x7800n);
  s.setGpr(GPR.RBX, 0x7000n);
  s.setGpr(GPR.RAX, 0n);
  s.run(at);
  return Number(s.gpr(GPR.RAX));
};
const table = (va: bigint) => {
  const e = s.get32('xtlb') + Number((va >> 12n) & BigInt(XTLB_ENTRIES - 1)) * XtlbEntry.size;
  return s.view.getUint32(e + XtlbEntry.off.code, true);
};
/** The record decoded at an address. */
const record = (va: bigint) => s.view.getUint32(table(va) + Number(va & 0xfffn) * 4, true);
const near = (va: bigint) =>
  s.view.getUint32(table(va) + OFFSETS_BYTES + Math.floor(Number(va & 0xfffn) / NEAR) * 4, true);

describe.each(branches)('%s to another page', (_, code) => {
  beforeEach(() => {
    s.poke(A, code);
    s.poke(B, mov(1));
    expect([run(A), run(A), run(A)]).toEqual([1, 1, 1]);
  });

  it('is linked', () => {
    // Of several that run as one, the last.
    const linked = record(A) + (code.length > 5 ? Record32.size : 0);
    expect(s.view.getUint32(linked + FAR.rec, true)).toBe(record(B));
    expect(s.view.getUint32(linked + FAR.code, true)).toBe(table(B));
  });

  it('leads to what was written there', () => {
    s.poke(B, mov(2));
    expect([run(A), run(A)]).toEqual([2, 2]);
    s.poke(B + 1n, [3]);
    expect([run(A), run(A)]).toEqual([3, 3]);
  });

  it('leads to what is mapped there', () => {
    const before = mfn(B);
    s.map(B);
    s.poke(B, mov(4));
    expect([run(A), run(A)]).toEqual([4, 4]);
    s.map(B, undefined, before);
    expect([run(A), run(A)]).toEqual([1, 1]);
    // Gone as a whole.
    s.call('code_forget', mfn(B));
    s.poke(B, mov(5));
    expect([run(A), run(A)]).toEqual([5, 5]);
    s.unmap(B);
    run(A);
    expect(s.get64('cr2')).toBe(B);
  });

  it('leads elsewhere from another address of the same code', () => {
    const there = A + 0x10000n;
    s.map(there, undefined, mfn(A));
    s.map(there + BigInt(DISTANCE));
    s.poke(there + BigInt(DISTANCE), mov(6));
    expect([run(there), run(A), run(there), run(A)]).toEqual([6, 1, 6, 1]);
  });

  it('polls', () => {
    s.setGpr(GPR.RAX, 0n);
    expect(s.run(A, code.length > 5 ? 2 : 1)).toBe(EXIT.PREEMPT);
    expect(s.get64('rip')).toBe(B);
  });
});

describe('places near each other', () => {
  const places = [B + 0x20n, B + 0x28n];
  /** push rcx; ret */
  const go = (to: bigint) => {
    s.setGpr(GPR.RCX, to);
    return run(A);
  };
  beforeEach(() => {
    s.poke(A, [0x51, 0xc3]);
    for (const [n, at] of places.entries()) s.poke(at, mov(n + 1));
    expect(places.map(go)).toEqual([1, 2]);
  });

  it('are each found', () => {
    for (const [n, at] of [...places, ...places].entries()) {
      expect(go(at)).toBe((n % 2) + 1);
      expect(near(at)).toBe(record(at));
    }
    // Page offset 0 is a place as others are.
    s.poke(B, mov(9));
    expect([go(B), go(B)]).toEqual([9, 9]);
    expect(near(B)).toBe(record(B));
  });

  it('are forgotten when they are written over', () => {
    s.poke(places[0] + 1n, [7]);
    expect([go(places[0]), go(places[1]), go(places[0])]).toEqual([7, 2, 7]);
    // The guest does it, through another address.
    s.poke(A + 0x100n, [0xc6, 0x07, 8, 0x51, 0xc3]); // mov byte [rdi], 8; push rcx; ret
    s.setGpr(GPR.RDI, ALIAS + 0x29n);
    s.setGpr(GPR.RCX, places[1]);
    expect(run(A + 0x100n)).toBe(8);
    expect(places.map(go)).toEqual([7, 8]);
    s.call('code_forget', mfn(B));
    s.poke(places[1] + 1n, [5]);
    expect(places.map(go)).toEqual([7, 5]);
  });

  it('are those of the page that is mapped', () => {
    const before = mfn(B);
    s.map(B);
    s.poke(places[0], mov(3));
    expect(go(places[0])).toBe(3);
    s.map(B, undefined, before);
    expect(places.map(go)).toEqual([1, 2]);
  });
});
