/** Repeated string instructions against a model that goes element by element: overlaps, page ends, faults, chunks. */
import fc from 'fast-check';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CpuState, EXIT, GPR, VEC } from '../../src/engine/state.ts';
import { Sandbox } from './sandbox.ts';

const CODE = 0x400000n;
const DATA = 0x10000000n;
/** Pages mapped at DATA; the last one shows the same frame as the first. */
const PAGES = 4;
const SIZE = PAGES * 4096;
const { off } = CpuState;
const hlt = 0xf4;

let s: Sandbox;
const frames: number[] = [];
beforeAll(() => {
  s = new Sandbox();
  s.map(CODE);
  for (let i = 0; i < PAGES - 1; i++) frames.push(s.map(DATA + BigInt(i * 4096)));
  frames.push(s.map(DATA + BigInt((PAGES - 1) * 4096), undefined, frames[0]));
});
beforeEach(() => s.reset());

/** Offset of a byte of the window in machine memory: what aliases is equal. */
const machine = (offset: number) => frames[offset >> 12] * 4096 + (offset & 4095);

function fillWindow(): void {
  for (let i = 0; i < SIZE - 4096; i++) s.u8[machine(i)] = (i * 31 + (i >> 8)) & 0xff;
}

interface Registers {
  count: number;
  si: number;
  di: number;
}
const STRING = { movs: 0xa4, cmps: 0xa6, stos: 0xaa, lods: 0xac, scas: 0xae } as const;
type Name = keyof typeof STRING;

/** Run `rep name` to its end or fault; the window's registers as offsets. */
function run(name: Name, bytes: number, r: Registers, o: { down?: boolean; rep?: number; prefix?: number[] } = {}) {
  const size = bytes === 1 ? [] : bytes === 2 ? [0x66] : bytes === 8 ? [0x48] : [];
  const rep = o.rep ?? 0xf3;
  const code = [...(o.prefix ?? []), rep, ...size, STRING[name] | (bytes === 1 ? 0 : 1), hlt];
  if (size[0] === 0x66) code.splice(0, 2, 0x66, rep);
  s.poke(CODE, code);
  s.set64('rflags', o.down ? 0x602n : 0x202n);
  s.setGpr(GPR.RCX, BigInt(r.count));
  s.setGpr(GPR.RSI, DATA + BigInt(r.si));
  s.setGpr(GPR.RDI, DATA + BigInt(r.di));
  const exit = s.run(CODE, 100_000);
  const rel = (n: number) => Number(BigInt.asIntN(64, s.gpr(n) - DATA));
  return {
    fault: exit === EXIT.PRIVILEGED ? undefined : Number(BigInt.asIntN(64, s.get64('cr2') - DATA)),
    exit,
    vector: s.get32('exit_vector'),
    count: Number(s.gpr(GPR.RCX)),
    si: rel(GPR.RSI),
    di: rel(GPR.RDI),
  };
}

/** One element's machine addresses, or the first offset outside the window. */
function place(offset: number, bytes: number): number[] | { fault: number } {
  const at: number[] = [];
  for (let i = 0; i < bytes; i++) {
    if (offset + i < 0 || offset + i >= SIZE) return { fault: offset + i < 0 ? offset : Math.max(offset, SIZE) };
    at.push(machine(offset + i));
  }
  return at;
}

function modelMovs(memory: Uint8Array, bytes: number, r: Registers, down: boolean) {
  const step = down ? -bytes : bytes;
  let { count, si, di } = r;
  while (count) {
    const from = place(si, bytes);
    if ('fault' in from) return { fault: from.fault, count, si, di };
    const v = from.map((a) => memory[a]);
    const to = place(di, bytes);
    if ('fault' in to) return { fault: to.fault, count, si, di };
    for (const [i, a] of to.entries()) memory[a] = v[i];
    count--;
    si += step;
    di += step;
  }
  return { fault: undefined, count, si, di };
}

/** The window's frames in another copy of machine memory. */
const contents = (memory: Uint8Array) => Buffer.concat(frames.map((f) => memory.subarray(f * 4096, f * 4096 + 4096)));

describe('rep movs', () => {
  const offset = fc.oneof(fc.integer({ min: 0, max: SIZE }), fc.integer({ min: 4096 - 12, max: 4096 + 12 }));
  const distance = fc.oneof(fc.integer({ min: -20, max: 20 }), fc.integer({ min: -5000, max: 5000 }));
  it('equals copying one element at a time', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(1, 2, 4, 8),
        fc.boolean(),
        offset,
        fc.oneof(distance, fc.constant(3 * 4096), fc.constant(3 * 4096 - 3), fc.constant(-3 * 4096 + 5)),
        fc.integer({ min: 0, max: 3000 }),
        (bytes, down, si, d, count) => {
          fillWindow();
          const r = { count, si, di: si + d };
          const whole = s.u8.slice(0, (Math.max(...frames) + 1) * 4096);
          const want = modelMovs(whole, bytes, r, down);
          const got = run('movs', bytes, r, { down });
          expect(got).toMatchObject(want);
          expect(Buffer.compare(contents(s.u8), contents(whole))).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });
  it('goes on after more than one chunk', () => {
    const big = DATA + 0x100000n;
    for (let i = 0n; i < 40n; i++) s.map(big + i * 4096n, undefined, frames[1]);
    s.poke(CODE, [0xf3, 0xa4, hlt]);
    s.setGpr(GPR.RCX, 40n * 4096n - 5n);
    s.setGpr(GPR.RSI, big);
    s.setGpr(GPR.RDI, big + 1n);
    s.u8[frames[1] * 4096] = 0x77;
    expect(s.run(CODE, 100)).toBe(EXIT.PRIVILEGED);
    expect(s.gpr(GPR.RCX)).toBe(0n);
    expect(s.gpr(GPR.RDI)).toBe(big + 40n * 4096n - 4n);
    expect(s.u8.subarray(frames[1] * 4096, frames[1] * 4096 + 4096).every((b) => b === 0x77)).toBe(true);
  });
  it('leaves for `pending` between chunks, and resumes', () => {
    const big = DATA + 0x100000n;
    s.poke(CODE, [0xf3, 0xaa, hlt]);
    s.setGpr(GPR.RCX, 40n * 4096n);
    s.setGpr(GPR.RDI, big);
    s.set64('rip', CODE);
    s.set32('fuel', 3200);
    s.set32('pending', 0);
    // One record's worth of fuel: the first chunk uses it up.
    expect(s.run(CODE, 1)).toBe(EXIT.PREEMPT);
    expect(s.get64('rip')).toBe(CODE);
    const left = s.gpr(GPR.RCX);
    expect(left).toBeLessThan(40n * 4096n);
    expect(s.gpr(GPR.RDI)).toBe(big + 40n * 4096n - left);
    expect(s.run(CODE, 1000)).toBe(EXIT.PRIVILEGED);
    expect(s.gpr(GPR.RCX)).toBe(0n);
  });
  it('truncates with 32-bit addresses, and leaves registers alone when there is nothing to do', () => {
    s.poke(CODE, [0x67, 0xf3, 0xa4, hlt]);
    s.setGpr(GPR.RCX, 0xffff_ffff_0000_0002n);
    s.setGpr(GPR.RSI, 0x1_0000_0000n | DATA);
    s.setGpr(GPR.RDI, 0x2_0000_0000n | (DATA + 64n));
    s.run(CODE);
    expect([s.gpr(GPR.RCX), s.gpr(GPR.RSI), s.gpr(GPR.RDI)]).toEqual([0n, DATA + 2n, DATA + 66n]);
    s.setGpr(GPR.RCX, 0xffff_ffff_0000_0000n);
    s.setGpr(GPR.RSI, 0x1_0000_0000n | DATA);
    s.run(CODE);
    expect([s.gpr(GPR.RCX), s.gpr(GPR.RSI)]).toEqual([0xffff_ffff_0000_0000n, 0x1_0000_0000n | DATA]);
  });
  it('reads through fs', () => {
    fillWindow();
    s.view.setBigUint64(s.cpu + off.segbase + 4 * 8, 0x123n, true);
    run('movs', 1, { count: 3, si: 8192 - 0x123, di: 0 }, { prefix: [0x64] });
    expect(s.u8[machine(0)]).toBe(s.u8[machine(8192)]);
  });
  it('into code drops what was decoded', () => {
    // rep movsb over the nop that follows it: becomes inc eax
    s.poke(CODE, [0xf3, 0xa4, 0x90, 0x90, hlt]);
    s.poke(DATA, [0xff, 0xc0]);
    s.setGpr(GPR.RAX, 1n);
    s.setGpr(GPR.RSI, DATA);
    s.setGpr(GPR.RDI, CODE + 2n);
    s.setGpr(GPR.RCX, 0n);
    s.run(CODE);
    s.setGpr(GPR.RCX, 2n);
    s.run(CODE);
    expect(s.gpr(GPR.RAX)).toBe(2n);
  });
});

describe('rep stos and lods', () => {
  it('fill with every element size', () => {
    for (const bytes of [1, 2, 4, 8]) {
      for (const down of [false, true]) {
        fillWindow();
        s.setGpr(GPR.RAX, 0x1122334455667788n);
        const start = down ? 9001 : 4090;
        const got = run('stos', bytes, { count: 300, si: 0, di: start }, { down });
        expect(got).toMatchObject({ count: 0, di: start + (down ? -1 : 1) * 300 * bytes });
        for (let i = 0; i < 300; i++) {
          const at = start + (down ? -1 : 1) * i * bytes;
          expect(s.u8[machine(at)]).toBe(0x88);
          expect(s.u8[machine(at + bytes - 1)]).toBe(Number((0x1122334455667788n >> BigInt(8 * (bytes - 1))) & 0xffn));
        }
      }
    }
  });
  it('fault at the first element that cannot be written', () => {
    s.setGpr(GPR.RAX, 0n);
    expect(run('stos', 8, { count: 1000, si: 0, di: SIZE - 803 })).toMatchObject({
      fault: SIZE,
      vector: VEC.PF,
      count: 900,
      di: SIZE - 3,
    });
  });
  it('load the last element', () => {
    fillWindow();
    s.setGpr(GPR.RAX, -1n);
    expect(run('lods', 4, { count: 1500, si: 100, di: 0 })).toMatchObject({ count: 0, si: 6100 });
    expect(s.gpr(GPR.RAX)).toBe(BigInt(s.view.getUint32(machine(6096), true)));
    expect(run('lods', 2, { count: 2, si: 4093, di: 0 }, { down: true })).toMatchObject({ count: 0, si: 4089 });
  });
});

describe('repe and repne', () => {
  const flags = () => Number(s.call('rflags_get', s.cpu) as bigint) & 0x8d5;
  it('scas finds a byte, with the flags of the comparison that ended it', () => {
    for (let i = 0; i < SIZE - 4096; i++) s.u8[machine(i)] = 0x55;
    s.u8[machine(9000)] = 0;
    s.setGpr(GPR.RAX, 0x5500n);
    expect(run('scas', 1, { count: 20000, si: 0, di: 3 }, { rep: 0xf2 })).toMatchObject({
      count: 20000 - 8998,
      di: 9001,
    });
    expect(flags()).toBe(0x44);
  });
  it('scas ends by count', () => {
    s.setGpr(GPR.RAX, 0x54n);
    expect(run('scas', 1, { count: 10, si: 0, di: 3 }, { rep: 0xf2 })).toMatchObject({ count: 0, di: 13 });
    expect(flags() & 0x40).toBe(0);
  });
  it('cmps stops at the first difference, in both directions', () => {
    fillWindow();
    for (let i = 0; i < 4096; i++) s.u8[machine(4096 + i)] = s.u8[machine(i)];
    s.u8[machine(4096 + 4001)] ^= 1;
    expect(run('cmps', 4, { count: 1024, si: 0, di: 4096 })).toMatchObject({ count: 23, si: 4004, di: 8100 });
    expect(flags() & 0x40).toBe(0);
    expect(run('cmps', 1, { count: 4096, si: 4095, di: 8191 }, { down: true })).toMatchObject({ si: 4000, di: 8096 });
    expect(run('cmps', 2, { count: 100, si: 0, di: 4096 })).toMatchObject({ count: 0, si: 200 });
    expect(flags() & 0x40).toBe(0x40);
  });
});

describe('16-bit addresses, in compatibility mode', () => {
  const HIGH = 0xabcd_0000n;
  const lowest = () => [s.map(0n), s.map(0xf000n)].map((f) => f * 4096);
  /** Registers with something in their upper halves; those halves and the lower ones afterwards. */
  function short(code: number[], cx: number, si: number, di: number): number[] {
    s.reset(1);
    s.poke(CODE, [...code, hlt]);
    for (const [n, v] of [
      [GPR.RCX, cx],
      [GPR.RSI, si],
      [GPR.RDI, di],
    ])
      s.setGpr(n, HIGH | BigInt(v));
    expect(s.run(CODE)).toBe(EXIT.PRIVILEGED);
    return [GPR.RCX, GPR.RSI, GPR.RDI].map((n) => Number(s.gpr(n) - HIGH));
  }
  it('strings use cx, si and di, wrap at 64 KiB, and keep the upper halves', () => {
    const [low, high] = lowest();
    s.u8.set([1, 2, 3, 4], high + 0xffc);
    s.u8.set([5, 6, 7, 8], low);
    expect(short([0x67, 0xf3, 0xa4], 8, 0xfffc, 0x100)).toEqual([0, 4, 0x108]);
    expect([...s.u8.subarray(low + 0x100, low + 0x108)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(short([0x67, 0xa5], 8, 0xfffc, 0x200)).toEqual([8, 0, 0x204]);
    expect(s.view.getUint32(low + 0x200, true)).toBe(0x04030201);
    s.u8[low + 0x108] = 9;
    expect(short([0x67, 0xf3, 0xa6], 20, 0xfffc, 0x100)).toEqual([11, 5, 0x109]);
    expect(short([0xfd, 0x67, 0xf3, 0xaa], 3, 0, 0x001)).toEqual([0, 0, 0xfffe]);
    expect(short([0xfd, 0x67, 0xac], 3, 0, 0x001)).toEqual([3, 0xffff, 1]);
    expect(short([0x67, 0xf3, 0xa4], 0, 7, 9)).toEqual([0, 7, 9]);
  });
  it('loop and jcxz look at cx', () => {
    lowest();
    expect(short([0x67, 0xe2, 0xfd], 5, 1, 2)).toEqual([0, 1, 2]);
    expect(short([0x67, 0xe2, 0x01, hlt, 0x90], 1, 1, 2)).toEqual([0, 1, 2]);
    expect(s.get64('rip')).toBe(CODE + 3n);
    expect(short([0x67, 0xe3, 0x01, hlt, 0x90], 0, 1, 2)).toEqual([0, 1, 2]);
    expect(s.get64('rip')).toBe(CODE + 5n);
    expect(short([0xe3, 0x01, hlt, 0x90], 0, 1, 2)).toEqual([0, 1, 2]);
    expect(s.get64('rip')).toBe(CODE + 2n);
  });
  it('xlat and the bit strings wrap at 64 KiB', () => {
    const [low, high] = lowest();
    s.u8[low + 1] = 0x5a;
    s.setGpr(GPR.RAX, 0x11n);
    s.setGpr(GPR.RBX, HIGH | 0xfff0n);
    s.set32('mode', 1);
    s.poke(CODE, [0x67, 0xd7, hlt]);
    expect(s.run(CODE)).toBe(EXIT.PRIVILEGED);
    expect(s.gpr(GPR.RAX)).toBe(0x5an);
    // bts word [si], ax: bit 33 from 0xfffc is bit 1 at 0
    s.u8[low] = 0;
    s.u8[high + 0xffc] = 0;
    s.setGpr(GPR.RAX, 33n);
    s.setGpr(GPR.RSI, HIGH | 0xfffcn);
    s.poke(CODE, [0x66, 0x67, 0x0f, 0xab, 0x04, hlt]);
    expect(s.run(CODE)).toBe(EXIT.PRIVILEGED);
    expect(s.u8[low]).toBe(2);
  });
});
