/** MMX and SSE beside arithmetic: alignment, #NM #MF #XM, state images, masked stores, page crossings. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CpuState, EXIT, GPR, SEG, VEC } from '../../src/engine/state.ts';
import { Sandbox } from './sandbox.ts';

const { off } = CpuState;
const CODE = 0x400000n;
const DATA = 0x10000000n;
const DONE = -1;

let s: Sandbox;
beforeEach(() => {
  s = new Sandbox();
  s.map(CODE);
  s.map(DATA);
  s.setGpr(GPR.RSI, DATA);
});

/** Run one instruction; the vector of its exception, or DONE. */
function step(...code: number[]): number {
  s.poke(CODE, [...code, 0x0f, 0x0b]);
  expect(s.run(CODE)).toBe(EXIT.EXCEPTION);
  const vector = s.get32('exit_vector');
  if (s.get64('rip') === CODE + BigInt(code.length) && vector === VEC.UD) return DONE;
  expect(s.get64('rip')).toBe(CODE);
  return vector;
}
const xmm = (n: number, bytes?: number[]): number[] => {
  const at = s.cpu + off.xmm + n * 16;
  if (bytes) s.u8.set(bytes, at);
  return [...s.u8.subarray(at, at + 16)];
};
const count = (first: number) => Array.from({ length: 16 }, (_, i) => first + i);
const set16 = (field: 'fsw' | 'ftop' | 'ftw' | 'fcw', v: number) => s.view.setUint16(s.cpu + off[field], v, true);
const get16 = (field: 'fsw' | 'ftop' | 'ftw' | 'fcw') => s.view.getUint16(s.cpu + off[field], true);

const MOVAPS_LOAD = [0x0f, 0x28, 0x0e]; // movaps xmm1, [rsi]
const MOVAPS_STORE = [0x0f, 0x29, 0x0e];
const MOVUPS_LOAD = [0x0f, 0x10, 0x0e];
const MOVUPS_STORE = [0x0f, 0x11, 0x0e];
const ADDPS_MEM = [0x0f, 0x58, 0x0e];
const ADDSD = [0xf2, 0x0f, 0x58, 0xca]; // addsd xmm1, xmm2
const DIVSD = [0xf2, 0x0f, 0x5e, 0xca];
const PADDB_MMX = [0x0f, 0xfc, 0xca]; // paddb mm1, mm2
const FXSAVE = [0x0f, 0xae, 0x06];
const FXRSTOR = [0x0f, 0xae, 0x0e];
const XSAVE = [0x0f, 0xae, 0x26];
const XRSTOR = [0x0f, 0xae, 0x2e];
const LDMXCSR = [0x0f, 0xae, 0x16];
const MASKMOVDQU = [0x66, 0x0f, 0xf7, 0xca]; // xmm1 under the mask xmm2

describe('16-byte operands', () => {
  it('must be aligned unless the instruction says otherwise', () => {
    s.setGpr(GPR.RSI, DATA + 8n);
    expect(step(...MOVAPS_LOAD)).toBe(VEC.GP);
    expect(step(...MOVAPS_STORE)).toBe(VEC.GP);
    expect(step(...ADDPS_MEM)).toBe(VEC.GP);
    expect(step(...MOVUPS_LOAD)).toBe(DONE);
    expect(step(...MOVUPS_STORE)).toBe(DONE);
  });

  it('cross pages when unaligned, and change nothing when half of one is missing', () => {
    s.setGpr(GPR.RSI, DATA + 0xff9n);
    xmm(1, count(1));
    expect(step(...MOVUPS_STORE)).toBe(VEC.PF);
    expect(s.get64('cr2')).toBe(DATA + 0x1000n);
    expect([...s.peek(DATA + 0xff9n, 7)]).toEqual([0, 0, 0, 0, 0, 0, 0]);
    s.map(DATA + 0x1000n);
    expect(step(...MOVUPS_STORE)).toBe(DONE);
    expect([...s.peek(DATA + 0xff9n, 16)]).toEqual(count(1));
    xmm(1, count(101));
    expect(step(...MOVUPS_LOAD)).toBe(DONE);
    expect(xmm(1)).toEqual(count(1));
  });
});

describe('exceptions', () => {
  it('#NM with CR0.TS, for MMX and SSE but not for movnti, fences and crc32', () => {
    s.set64('cr0', s.get64('cr0') | 8n);
    expect(step(...ADDSD)).toBe(VEC.NM);
    expect(step(...PADDB_MMX)).toBe(VEC.NM);
    expect(step(...FXSAVE)).toBe(VEC.NM);
    expect(step(...LDMXCSR)).toBe(VEC.NM);
    expect(step(0x0f, 0xc3, 0x06)).toBe(DONE);
    expect(step(0x0f, 0xae, 0xf0)).toBe(DONE);
    expect(step(0xf2, 0x0f, 0x38, 0xf1, 0xc1)).toBe(DONE);
  });

  it('#MF at the next MMX instruction when an x87 exception is pending; SSE does not care', () => {
    set16('fsw', 0x8081);
    expect(step(...PADDB_MMX)).toBe(VEC.MF);
    expect(get16('fsw')).toBe(0x8081);
    expect(step(0x0f, 0x77)).toBe(VEC.MF);
    expect(step(...ADDSD)).toBe(DONE);
  });

  it('#XM for an unmasked exception, #UD without OSXMMEXCPT, with the flag recorded and the destination kept', () => {
    const one = [0, 0, 0, 0, 0, 0, 0xf0, 0x3f];
    xmm(1, [...one, ...one]);
    s.set32('mxcsr', 0x1f80 & ~0x200);
    expect(step(...DIVSD)).toBe(VEC.XM);
    expect(s.get32('mxcsr')).toBe((0x1f80 & ~0x200) | 4);
    expect(xmm(1)).toEqual([...one, ...one]);
    s.set64('cr4', s.get64('cr4') & ~0x400n);
    s.poke(CODE, DIVSD);
    expect(s.run(CODE)).toBe(EXIT.EXCEPTION);
    expect([s.get32('exit_vector'), s.get64('rip')]).toEqual([VEC.UD, CODE]);
    s.set32('mxcsr', 0x1f80);
    expect(step(...DIVSD)).toBe(DONE);
    expect(xmm(1).slice(0, 8)).toEqual([0, 0, 0, 0, 0, 0, 0xf0, 0x7f]);
    expect(s.get32('mxcsr')).toBe(0x1f84);
  });

  it('ldmxcsr refuses bits that do not exist', () => {
    s.poke(DATA, [0x80, 0x1f, 1, 0]);
    expect(step(...LDMXCSR)).toBe(VEC.GP);
    s.poke(DATA, [0xbf, 0xff, 0, 0]);
    expect(step(...LDMXCSR)).toBe(DONE);
    expect(s.get32('mxcsr')).toBe(0xffbf);
  });
});

describe('MMX registers', () => {
  it('alias the x87 significands: TOP becomes 0, all registers valid, exponents of written ones all ones', () => {
    set16('ftop', 5);
    set16('ftw', 0x20);
    const st = (n: number) => s.cpu + off.st + n * 16;
    s.u8.set([250, 1, 2, 3, 4, 5, 6, 7], st(1));
    s.u8.set([10, 10, 10, 10, 10, 10, 10, 10], st(2));
    expect(step(...PADDB_MMX)).toBe(DONE);
    expect([...s.u8.subarray(st(1), st(1) + 10)]).toEqual([4, 11, 12, 13, 14, 15, 16, 17, 0xff, 0xff]);
    expect([...s.u8.subarray(st(2) + 8, st(2) + 10)]).toEqual([0, 0]);
    expect([get16('ftop'), get16('ftw')]).toEqual([0, 0xff]);
    expect(step(0x0f, 0x77)).toBe(DONE);
    expect(get16('ftw')).toBe(0);
  });
});

describe('maskmovdqu', () => {
  const sign = (bits: number) => Array.from({ length: 16 }, (_, i) => ((bits >> i) & 1 ? 0x80 : 0x7f));
  it('stores the selected bytes at DS:rDI, or at an overriding segment', () => {
    xmm(1, count(1));
    xmm(2, sign(0b1000000000000101));
    s.setGpr(GPR.RDI, DATA + 0x20n);
    expect(step(...MASKMOVDQU)).toBe(DONE);
    const want = [1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16];
    expect([...s.peek(DATA + 0x20n, 16)]).toEqual(want);
    s.view.setBigUint64(s.cpu + off.segbase + SEG.FS * 8, DATA + 0x100n, true);
    s.setGpr(GPR.RDI, 0x40n);
    s.setGpr(GPR.RSI, 0x123456789an);
    expect(step(0x64, ...MASKMOVDQU)).toBe(DONE);
    expect([...s.peek(DATA + 0x140n, 16)]).toEqual(want);
    s.setGpr(GPR.RDI, 0xdead00000050n);
    expect(step(0x67, 0x64, ...MASKMOVDQU)).toBe(DONE);
    expect([...s.peek(DATA + 0x150n, 16)]).toEqual(want);
  });

  it('touches no page without a selected byte', () => {
    xmm(1, count(1));
    s.setGpr(GPR.RDI, DATA + 0xff8n);
    xmm(2, sign(0x0080));
    expect(step(...MASKMOVDQU)).toBe(DONE);
    expect(s.peek(DATA + 0xfffn, 1)[0]).toBe(8);
    xmm(2, sign(0x0180));
    expect(step(...MASKMOVDQU)).toBe(VEC.PF);
    xmm(2, sign(0));
    s.setGpr(GPR.RDI, 0n);
    expect(step(...MASKMOVDQU)).toBe(DONE);
  });
});

describe('state images', () => {
  const u64 = (at: bigint) => new DataView(s.peek(at, 8).buffer).getBigUint64(0, true);
  const poke64 = (at: bigint, v: bigint) => s.poke(at, [...new Uint8Array(BigUint64Array.of(v).buffer)]);

  it('fxsave and fxrstor are inverse, need 16-byte alignment and all of their 512 bytes', () => {
    for (let i = 0; i < 16; i++) xmm(i, count(i * 4));
    for (let i = 0; i < 8; i++) s.u8.set(count(100 + i).slice(0, 10), s.cpu + off.st + i * 16);
    set16('ftop', 3);
    set16('ftw', 0x5a);
    set16('fcw', 0x27f);
    s.set32('mxcsr', 0x3f81);
    const image = s.u8.slice(s.cpu, s.cpu + CpuState.size);
    expect(step(0x48, ...FXSAVE)).toBe(DONE);
    expect([...s.peek(DATA, 5)]).toEqual([0x7f, 2, 0, 0x18, 0x5a]);
    expect([...s.peek(DATA + 24n, 8)]).toEqual([0x81, 0x3f, 0, 0, 0xff, 0xff, 0, 0]);
    // ST(0) is physical register 3.
    expect([...s.peek(DATA + 32n, 10)]).toEqual(count(103).slice(0, 10));
    s.reset();
    s.setGpr(GPR.RSI, DATA);
    expect(step(0x48, ...FXRSTOR)).toBe(DONE);
    for (const [field, n] of [
      ['fcw', 6],
      ['ftop', 2],
      ['mxcsr', 4],
      ['xmm', 256],
    ] as const) {
      expect([...s.u8.subarray(s.cpu + off[field], s.cpu + off[field] + n)], field).toEqual([
        ...image.subarray(off[field], off[field] + n),
      ]);
    }
    for (let i = 0; i < 8; i++) {
      expect([...s.u8.subarray(s.cpu + off.st + i * 16, s.cpu + off.st + i * 16 + 10)]).toEqual(
        count(100 + i).slice(0, 10),
      );
    }
    s.setGpr(GPR.RSI, DATA + 8n);
    expect(step(...FXSAVE)).toBe(VEC.GP);
    expect(step(...FXRSTOR)).toBe(VEC.GP);
    s.setGpr(GPR.RSI, DATA + 0xe10n);
    s.set32('mxcsr', 0x1f80);
    expect(step(...FXRSTOR)).toBe(VEC.PF);
    expect(step(...FXSAVE)).toBe(VEC.PF);
    expect([...s.peek(DATA + 0xe10n, 0x1f0)].every((v) => v === 0)).toBe(true);
    s.map(DATA + 0x1000n);
    expect(step(...FXSAVE)).toBe(DONE);
    s.poke(DATA + 0xe10n + 24n, [0x80, 0x1f, 1, 0]);
    expect(step(...FXRSTOR)).toBe(VEC.GP);
  });

  it('compatibility mode has eight xmm registers', () => {
    s.reset(1);
    s.setGpr(GPR.RSI, DATA);
    for (let i = 0; i < 16; i++) xmm(i, count(i + 1));
    expect(step(...FXSAVE)).toBe(DONE);
    expect([...s.peek(DATA + 160n + 7n * 16n, 16)]).toEqual(count(8));
    expect([...s.peek(DATA + 160n + 8n * 16n, 16)]).toEqual(new Array(16).fill(0));
    expect(step(...FXRSTOR)).toBe(DONE);
    expect(xmm(8)).toEqual(count(9));
  });

  it('xsave writes the requested components and marks those in use; xrstor takes the rest from reset', () => {
    expect(step(...XSAVE)).toBe(VEC.UD);
    s.set64('cr4', s.get64('cr4') | 0x40000n);
    xmm(3, count(1));
    s.setGpr(GPR.RAX, 2n);
    s.setGpr(GPR.RDX, 0n);
    poke64(DATA + 512n, 5n);
    s.poke(DATA, [0x55]);
    expect(step(...XSAVE)).toBe(DONE);
    expect(u64(DATA + 512n)).toBe(7n);
    expect(s.peek(DATA, 1)[0]).toBe(0x55);
    expect([...s.peek(DATA + 160n + 48n, 16)]).toEqual(count(1));
    // Component 2 is not enabled.
    expect(step(...XRSTOR)).toBe(VEC.GP);
    poke64(DATA + 512n, 0n);
    s.poke(DATA + 24n, [0xc0, 0x1f, 0, 0]);
    expect(step(...XRSTOR)).toBe(DONE);
    expect(xmm(3)).toEqual(new Array(16).fill(0));
    expect(s.get32('mxcsr')).toBe(0x1fc0);
    for (const at of [520n, 528n]) {
      poke64(DATA + at, 1n);
      expect(step(...XRSTOR)).toBe(VEC.GP);
      poke64(DATA + at, 0n);
    }
    s.setGpr(GPR.RSI, DATA + 32n);
    expect(step(...XSAVE)).toBe(VEC.GP);
    expect(step(...XRSTOR)).toBe(VEC.GP);
  });
});
