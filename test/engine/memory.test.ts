/** The interpreter's memory path: TLB fills and flushes, page crossings, faults, dirty bits, self-modifying code. */
import { beforeEach, describe, expect, it } from 'vitest';
import { EXIT, GPR, VEC } from '../../src/engine/state.ts';
import { PTE, Sandbox } from './sandbox.ts';

const CODE = 0x400000n;
const DATA = 0x10000000n;
const UD2 = [0x0f, 0x0b];
/** add [rsi], rax */
const ADD_MEM = [0x48, 0x01, 0x06];
/** add rax, [rsi] */
const ADD_REG = [0x48, 0x03, 0x06];

let s: Sandbox;
beforeEach(() => {
  s = new Sandbox();
  s.map(CODE);
  s.map(CODE + 0x1000n);
  s.map(DATA);
});

/** Run code that ends with ud2; true if it got there. */
function runs(code: number[], at = CODE): boolean {
  s.poke(at, [...code, ...UD2]);
  const r = s.run(at);
  return r === EXIT.EXCEPTION && s.get32('exit_vector') === VEC.UD && s.get64('rip') === at + BigInt(code.length);
}

describe('data accesses', () => {
  it('reads and writes through a mapping, and counts instructions', () => {
    s.poke(DATA, [5]);
    s.setGpr(GPR.RSI, DATA);
    s.setGpr(GPR.RAX, 7n);
    expect(runs([...ADD_MEM, ...ADD_REG])).toBe(true);
    expect(s.peek(DATA, 1)[0]).toBe(12);
    expect(s.gpr(GPR.RAX)).toBe(19n);
    expect(s.get64('icount')).toBe(2n);
  });

  it('sets accessed on a read and dirty on a write', () => {
    s.setGpr(GPR.RSI, DATA);
    expect(s.view.getBigUint64(s.pte(DATA), true) & (PTE.A | PTE.D)).toBe(0n);
    expect(runs(ADD_REG)).toBe(true);
    expect(s.view.getBigUint64(s.pte(DATA), true) & (PTE.A | PTE.D)).toBe(PTE.A);
    expect(runs(ADD_MEM)).toBe(true);
    expect(s.view.getBigUint64(s.pte(DATA), true) & (PTE.A | PTE.D)).toBe(PTE.A | PTE.D);
  });

  it('reads and writes across a page boundary', () => {
    s.map(DATA + 0x1000n);
    const at = DATA + 0xffdn;
    s.poke(at, [1, 2, 3, 4, 5, 6, 7, 8]);
    s.setGpr(GPR.RSI, at);
    s.setGpr(GPR.RAX, 0x0101010101010101n);
    expect(runs(ADD_MEM)).toBe(true);
    expect([...s.peek(at, 8)]).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('writes nothing when the second page of a crossing write is missing', () => {
    const at = DATA + 0xffdn;
    s.poke(at, [1, 2, 3]);
    s.setGpr(GPR.RSI, at);
    s.setGpr(GPR.RAX, -1n);
    expect(runs(ADD_MEM)).toBe(false);
    expect(s.get32('exit_vector')).toBe(VEC.PF);
    expect(s.get64('cr2')).toBe(DATA + 0x1000n);
    expect(s.get32('exit_error')).toBe(6); // user, write, not present
    expect([...s.peek(at, 3)]).toEqual([1, 2, 3]);
    expect(s.get64('rip')).toBe(CODE);
    expect(s.get64('icount')).toBe(0n);
  });

  it.each([
    ['absent page, read', 0n, ADD_REG, 4],
    ['absent page, write', 0n, ADD_MEM, 6],
    ['read-only page, write', PTE.P | PTE.US, ADD_MEM, 7],
    ['supervisor page, read', PTE.P | PTE.RW, ADD_REG, 5],
    ['frame beyond memory', PTE.P | PTE.RW | PTE.US | (1n << 40n), ADD_REG, 13],
  ] as const)('%s: #PF with error code %#', (_n, flags, code, error) => {
    s.view.setBigUint64(s.pte(DATA), flags ? (s.view.getBigUint64(s.pte(DATA), true) & ~7n) | flags : 0n, true);
    s.call('tlb_flush_page', 1, DATA);
    s.setGpr(GPR.RSI, DATA + 8n);
    expect(runs([...code])).toBe(false);
    expect([s.get32('exit_vector'), s.get32('exit_has_error'), s.get32('exit_error')]).toEqual([VEC.PF, 1, error]);
    expect(s.get64('cr2')).toBe(DATA + 8n);
  });

  it('a non-canonical address is #GP(0)', () => {
    s.setGpr(GPR.RSI, 0x8000_0000_0000n);
    expect(runs(ADD_REG)).toBe(false);
    expect([s.get32('exit_vector'), s.get32('exit_error')]).toEqual([VEC.GP, 0]);
  });

  it('a locked operation is the same aligned, unaligned and across pages', () => {
    s.map(DATA + 0x1000n);
    for (const at of [DATA + 8n, DATA + 9n, DATA + 0xffcn]) {
      s.poke(at, [0xff, 0, 0, 0, 0, 0, 0, 0]);
      s.setGpr(GPR.RSI, at);
      s.setGpr(GPR.RAX, 0x100000001n);
      expect(runs([0xf0, ...ADD_MEM])).toBe(true);
      expect([...s.peek(at, 8)]).toEqual([0, 1, 0, 0, 1, 0, 0, 0]);
    }
  });

  it('lock on a register destination or an unlockable instruction is #UD', () => {
    for (const code of [
      [0xf0, 0x48, 0x01, 0xc0],
      [0xf0, 0x48, 0x39, 0x06],
    ]) {
      s.poke(CODE, code);
      expect(s.run(CODE)).toBe(EXIT.EXCEPTION);
      expect([s.get32('exit_vector'), s.get64('rip')]).toEqual([VEC.UD, CODE]);
    }
  });
});

describe('TLB', () => {
  it('a page that became read-only is caught once its write tag is dropped', () => {
    s.setGpr(GPR.RSI, DATA);
    expect(runs(ADD_MEM)).toBe(true);
    const e = s.view.getBigUint64(s.pte(DATA), true);
    s.view.setBigUint64(s.pte(DATA), e & ~PTE.RW, true);
    // Stale, as on hardware, until something flushes.
    expect(runs(ADD_MEM)).toBe(true);
    s.call('tlb_drop_writable', Number((e >> 12n) & 0xffffffn));
    expect(runs(ADD_MEM)).toBe(false);
    expect(s.get32('exit_vector')).toBe(VEC.PF);
    expect(runs(ADD_REG)).toBe(true);
  });

  it('drops the write tag of a frame mapped at several places, and after the entry was reused', () => {
    const f = s.map(DATA);
    const second = DATA + 0x5000n;
    s.map(second, undefined, f);
    for (const va of [DATA, second]) {
      s.setGpr(GPR.RSI, va);
      expect(runs(ADD_MEM)).toBe(true);
      s.view.setBigUint64(s.pte(va), s.view.getBigUint64(s.pte(va), true) & ~PTE.RW, true);
    }
    s.call('tlb_drop_writable', f);
    for (const va of [DATA, second]) {
      s.setGpr(GPR.RSI, va);
      expect(runs(ADD_MEM)).toBe(false);
    }
  });

  it('keeps several address spaces apart, and drops a dormant one whose domain changed a table', () => {
    const root2 = s.allocate() * 4096;
    s.u8.copyWithin(root2, s.root, s.root + 4096);
    s.poke(DATA, [1]);
    s.setGpr(GPR.RSI, DATA);
    s.setGpr(GPR.RAX, 0n);
    expect(runs(ADD_REG)).toBe(true);
    s.call('tlb_switch', s.cpu, root2, 1);
    expect(runs(ADD_REG)).toBe(true);
    expect(s.gpr(GPR.RAX)).toBe(2n);
    s.view.setBigUint64(s.pte(DATA), 0n, true);
    // Same generation: the dormant context still has it (as a tagged TLB would).
    s.call('tlb_switch', s.cpu, s.root, 0);
    expect(runs(ADD_REG)).toBe(true);
    s.call('tlb_switch', s.cpu, root2, 1);
    s.call('tlb_switch', s.cpu, s.root, 2);
    expect(runs(ADD_REG)).toBe(false);
    expect(s.get32('exit_vector')).toBe(VEC.PF);
  });
});

describe('instruction fetch', () => {
  it('runs instructions that cross into the next page, and faults when that page is missing', () => {
    const at = CODE + 0xffen;
    s.setGpr(GPR.RAX, 1n);
    // add rax, 0x11223344 straddles; then ud2 in the second page.
    expect(runs([0x48, 0x05, 0x44, 0x33, 0x22, 0x11], at)).toBe(true);
    expect(s.gpr(GPR.RAX)).toBe(0x11223345n);
    // Known by now.
    s.setGpr(GPR.RAX, 2n);
    expect(s.run(at)).toBe(EXIT.EXCEPTION);
    expect(s.gpr(GPR.RAX)).toBe(0x11223346n);
    s.setGpr(GPR.RAX, 0x11223345n);
    // Its second half changes.
    s.poke(CODE + 0x1000n, [0x01, 0, 0, 0]);
    expect(s.run(at)).toBe(EXIT.EXCEPTION);
    expect(s.gpr(GPR.RAX)).toBe(0x11223346n);
    s.unmap(CODE + 0x1000n);
    expect(s.run(at)).toBe(EXIT.EXCEPTION);
    expect([s.get32('exit_vector'), s.get32('exit_error')]).toEqual([VEC.PF, 0x14]);
    expect(s.get64('cr2')).toBe(CODE + 0x1000n);
    expect(s.get64('rip')).toBe(at);
  });

  it('an execute-disabled page is #PF with the fetch bit', () => {
    s.map(DATA, PTE.P | PTE.US | PTE.RW | PTE.NX);
    expect(s.run(DATA)).toBe(EXIT.EXCEPTION);
    expect([s.get32('exit_vector'), s.get32('exit_error')]).toEqual([VEC.PF, 0x15]);
  });

  it('sees code that the guest has rewritten, and data beside code stays writable', () => {
    s.setGpr(GPR.RAX, 0n);
    s.setGpr(GPR.RCX, 0n);
    s.setGpr(GPR.RSI, CODE + 0x13n);
    // add rax, 5 … then add dword [rsi], 1 changes the immediate of the add at CODE+0x10 for the next time.
    const code = [0x48, 0x83, 0xc0, 0x05, 0x83, 0x06, 0x01, 0x90 - 0x90 + 0x48, 0x31, 0xc9];
    while (code.length < 0x10) code.push(...[0x48, 0x31, 0xc9].slice(0, 3));
    s.poke(CODE, [...code.slice(0, 0x10), 0x48, 0x83, 0xc0, 0x10, ...UD2]);
    expect(s.run(CODE)).toBe(EXIT.EXCEPTION);
    expect(s.gpr(GPR.RAX)).toBe(5n + 0x11n);
    expect(s.run(CODE)).toBe(EXIT.EXCEPTION);
    expect(s.gpr(GPR.RAX)).toBe(5n + 0x11n + 5n + 0x12n);
    s.setGpr(GPR.RSI, CODE + 0x800n);
    for (let i = 0; i < 200; i++) expect(s.run(CODE)).toBe(EXIT.EXCEPTION);
    expect(s.peek(CODE + 0x800n, 1)[0]).toBe(200);
  });

  it('too long an instruction is #GP', () => {
    s.poke(CODE, [...Array(15).fill(0x66), 0x48, 0x01, 0xc0]);
    expect(s.run(CODE)).toBe(EXIT.EXCEPTION);
    expect([s.get32('exit_vector'), s.get64('rip')]).toEqual([VEC.GP, CODE]);
  });
});

describe('leaving guest code', () => {
  it('stops at a taken branch or page end when fuel is used up or pending is set', () => {
    s.set32('pending', 1);
    expect(s.run(CODE)).toBe(EXIT.PREEMPT);
    expect(s.get64('rip')).toBe(CODE);
  });
});
