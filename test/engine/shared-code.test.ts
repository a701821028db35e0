/** Frames with the same bytes have their decoded code in common, until one of them is written to. Both tiers. */
import { beforeEach, describe, expect, it } from 'vitest';
import { EXIT, GPR } from '../../src/engine/state.ts';
import { Sandbox } from './sandbox.ts';

const A = 0x400000n;
const B = 0x500000n;
/** Where frame A can be written to as data. */
const ALIAS = 0x900000n;
const LATER = 0x800n;
/** mov eax, n; ud2 */
const mov = (n: number) => [0xb8, n, 0, 0, 0, 0x0f, 0x0b];
/** mov byte [rdi], n (3 bytes) */
const put = (n: number) => [0xc6, 0x07, n];
/** lea eax, [rcx+n]; dec ecx; jnz $-2: a loop worth translating; ud2 */
const loop = (n: number) => [0x8d, 0x41, n, 0xff, 0xc9, 0x75, 0xfc, 0x83, 0xc0, n, 0x0f, 0x0b];

let s: Sandbox;

describe.each([
  ['interpreted', false],
  ['translated', true],
])('%s', (_, translated) => {
  beforeEach(() => {
    s = new Sandbox({ translationMiB: translated ? 16 : 0 });
    for (const at of [A, B]) s.map(at);
    s.map(ALIAS, undefined, mfn(A));
  });

  const mfn = (va: bigint) => Number((s.view.getBigUint64(s.pte(va), true) >> 12n) & 0xfffffn);
  const both = (offset: bigint, code: number[]) => {
    for (const at of [A, B]) s.poke(at + offset, code);
  };
  /** Runs to the ud2; what is in rax then. */
  const run = (at: bigint) => {
    s.setGpr(GPR.RCX, 5n);
    if (translated) {
      s.set64('rip', at);
      s.engine.translator!.translateNow(s.cpu);
    }
    expect(s.run(at)).toBe(EXIT.EXCEPTION);
    return Number(s.gpr(GPR.RAX));
  };
  const decoded = () => s.engine.cache.stats.decoded;

  it('the second decodes nothing', () => {
    both(0n, loop(7));
    const r = run(A);
    const n = decoded();
    expect(run(B)).toBe(r);
    expect(decoded()).toBe(n);
    expect(s.engine.cache.stats['pages shared']).toBe(1);
  });

  it('a guest writes over the code of one: the other keeps its own', () => {
    both(0n, mov(1));
    both(0x100n, put(2).concat([0x0f, 0x0b]));
    expect([run(A), run(B)]).toEqual([1, 1]);
    s.setGpr(GPR.RDI, ALIAS + 1n);
    run(A + 0x100n);
    expect([run(A), run(B)]).toEqual([2, 1]);
    // And the other is written to in its turn.
    s.setGpr(GPR.RDI, B + 1n);
    s.poke(B + 0x100n, put(3));
    s.call('code_written', mfn(B), 0x100, 3);
    run(B + 0x100n);
    expect([run(A), run(B)]).toEqual([2, 3]);
  });

  it('an instruction writes over the one behind it, in a page that is in common', () => {
    both(0n, [...put(9), ...mov(1)]);
    s.setGpr(GPR.RDI, ALIAS + 0x900n);
    expect([run(A), run(B)]).toEqual([1, 1]);
    both(0x40n, [...put(9), ...mov(1)]);
    for (const at of [A, B]) s.call('code_forget', mfn(at));
    // Both are decoded as one before the immediate byte is written to.
    s.setGpr(GPR.RDI, ALIAS + 0x900n);
    expect([run(A + 0x40n), run(B + 0x40n)]).toEqual([1, 1]);
    s.setGpr(GPR.RDI, A + 0x44n);
    expect(run(A + 0x40n)).toBe(9);
    s.setGpr(GPR.RDI, B + 0x900n);
    expect(run(B + 0x40n)).toBe(1);
  });

  it('bytes that nobody has executed yet change in one: each then runs its own', () => {
    both(0n, mov(1));
    both(LATER, mov(4));
    expect([run(A), run(B)]).toEqual([1, 1]);
    s.poke(A + LATER, mov(5));
    s.call('code_written', mfn(A), Number(LATER), 8);
    expect([run(B + LATER), run(A + LATER), run(B), run(A)]).toEqual([4, 5, 1, 1]);
  });

  it('one is given to somebody else: the other loses nothing', () => {
    both(0n, loop(7));
    const r = run(A);
    expect(run(B)).toBe(r);
    const n = decoded();
    s.call('code_forget', mfn(A));
    expect(run(B)).toBe(r);
    expect(decoded()).toBe(n);
    s.poke(A, mov(3));
    expect(run(A)).toBe(3);
    expect(run(B)).toBe(r);
    s.call('code_forget', mfn(B));
    s.poke(B, mov(6));
    expect([run(A), run(B)]).toEqual([3, 6]);
  });
});
