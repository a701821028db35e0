/** Software binary32 and binary64 (runtime/softfloat) against the host's arithmetic and the recorded CPU. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, test } from 'vitest';
import { CpuState, VEC } from '../../src/engine/state.ts';
import { random } from '../cpu/x87/cases.ts';
import { EDGES_F32, EDGES_F64 } from '../cpu/x87/sse-cases.ts';
import { CPU, floatRuntime, type Runtime } from './x87-machine.ts';

let rt: Runtime;
beforeAll(async () => {
  rt = await floatRuntime();
});

const setMxcsr = (v: number) => rt.view.setUint32(CPU + CpuState.off.mxcsr, v, true);
const getMxcsr = () => rt.view.getUint32(CPU + CpuState.off.mxcsr, true);
/** All masked, round to nearest: with PE sticky the fast paths run, without it the exact ones. */
const EXACT = 0x1f80;
const FAST = 0x1fa0;

const scratch = new DataView(new ArrayBuffer(8));
/** Bit patterns and numbers. */
const toF64 = (bits: bigint): number => {
  scratch.setBigUint64(0, bits);
  return scratch.getFloat64(0);
};
const fromF64 = (v: number): bigint => {
  scratch.setFloat64(0, v);
  return scratch.getBigUint64(0);
};
const toF32 = (bits: bigint): number => {
  scratch.setUint32(0, Number(bits));
  return scratch.getFloat32(0);
};
const fromF32 = (v: number): bigint => {
  scratch.setFloat32(0, v);
  return BigInt(scratch.getUint32(0));
};

/** Calls a helper, with a constant argument after a colon in the name; bit patterns in and out. */
function call(name: string, a: bigint, b: bigint): bigint {
  const [fn, constant] = name.split(':');
  const single = (n: string) => n === 'f32' || n === 'i32';
  const [from, to] = [fn.slice(0, 3), /_to_(...)/.exec(fn)?.[1] ?? fn.slice(0, 3)];
  const arg = (v: bigint) => (single(from) ? Number(BigInt.asIntN(32, v)) : BigInt.asIntN(64, v));
  const args: (number | bigint)[] = [arg(a)];
  if (/add|sub|mul|div|min|max|compare/.test(fn)) args.push(arg(b));
  if (constant !== undefined) args.push(Number(constant));
  const r = BigInt(rt.fn[fn](CPU, ...args));
  return BigInt.asUintN(single(to) && !fn.endsWith('compare') ? 32 : 64, r);
}

const OPS: Record<string, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  sqrt: (a) => Math.sqrt(a),
};

describe.each([
  ['f32', EDGES_F32, 32, toF32, fromF32],
  ['f64', EDGES_F64, 64, toF64, fromF64],
] as const)('%s', (format, edges, width, decode, encode) => {
  /** Pairs: all edges with each other, and random bits, alone and of like exponents. */
  const pairs: [bigint, bigint][] = edges.flatMap((a) => edges.map((b) => [a, b] as [bigint, bigint]));
  const r = random(42);
  for (let k = 0; k < 20000; k++) {
    const a = BigInt.asUintN(width, r.bits());
    let b = BigInt.asUintN(width, r.bits());
    if (k & 1) b = a ^ (b & ((1n << BigInt(width === 32 ? 26 : 55)) - 1n)) ^ (BigInt(k & 2) << BigInt(width - 2));
    pairs.push([a, b]);
  }

  test.each(Object.keys(OPS))('%s equals the host', (op) => {
    const wrong: string[] = [];
    for (const mxcsr of [EXACT, FAST]) {
      for (const [a, b] of pairs) {
        setMxcsr(mxcsr);
        const got = call(`${format}_${op}`, a, b);
        // Rounding a binary64 result again to binary32 is harmless for these operations.
        const want = OPS[op](decode(a), decode(b));
        if (Number.isNaN(want) ? !Number.isNaN(decode(got)) : encode(want) !== got)
          wrong.push(`${a.toString(16)} ${b.toString(16)}: ${got.toString(16)}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('compare equals the host', () => {
    for (const [a, b] of pairs) {
      const [x, y] = [decode(a), decode(b)];
      const want = x === y ? 0 : x < y ? 1 : x > y ? 2 : 3;
      setMxcsr(EXACT);
      expect(call(`${format}_compare:1`, a, b)).toBe(BigInt(want));
    }
  });
});

test('conversions equal the host', () => {
  for (const a of EDGES_F64) {
    const v = toF64(a);
    if (Number.isNaN(v)) continue;
    setMxcsr(EXACT);
    expect(call('f64_to_f32', a, 0n)).toBe(fromF32(v));
    const whole = BigInt.asUintN(32, Math.abs(v) < 2 ** 31 || v === -(2 ** 31) ? BigInt(Math.trunc(v)) : 1n << 31n);
    expect(call('f64_to_i32:1', a, 0n)).toBe(whole);
  }
  for (const a of EDGES_F32) {
    if (!Number.isNaN(toF32(a))) expect(call('f32_to_f64', a, 0n)).toBe(fromF64(toF32(a)));
  }
});

test('results, MXCSR flags and #XM are those of the recorded CPU', () => {
  const file = join(import.meta.dirname, '../cpu/x87/sse.txt.gz');
  const lines = gunzipSync(readFileSync(file)).toString().trim().split('\n');
  const wrong: string[] = [];
  rt.view.setBigUint64(CPU + CpuState.off.cr4, 0x400n, true);
  for (const line of lines) {
    const [name, mxcsr, a, b, , r, flags, trapped] = line.split(' ');
    setMxcsr(Number.parseInt(mxcsr, 16));
    let got = call(name, BigInt(`0x${a}`), BigInt(`0x${b}`));
    if (name.includes('compare')) got = [0x40n, 1n, 0n, 0x45n][Number(got)];
    const fine = rt.fn.sse_check(CPU);
    const now = `${fine ? got.toString(16) : '-'} ${getMxcsr().toString(16)} ${fine ? 0 : 1}`;
    const want = `${trapped === '1' ? '-' : r} ${flags} ${trapped}`;
    if (now !== want) wrong.push(`${line}: ${now}`);
  }
  expect(lines.length).toBeGreaterThan(2000);
  expect(wrong).toEqual([]);
});

test('an unmasked exception is #XM, or #UD without CR4.OSXMMEXCPT; masked ones do not stop', () => {
  const vector = () => rt.view.getUint32(CPU + CpuState.off.exit_vector, true);
  const cr4 = (v: bigint) => rt.view.setBigUint64(CPU + CpuState.off.cr4, v, true);
  const divide = () => call('f64_div', fromF64(1), fromF64(0));
  setMxcsr(0x1d80);
  cr4(0x400n);
  divide();
  expect(rt.fn.sse_check(CPU)).toBe(0);
  expect(vector()).toBe(VEC.XM);
  expect(getMxcsr()).toBe(0x1d84);
  // The flag left sticky does not raise again.
  expect(rt.fn.sse_check(CPU)).toBe(1);
  call('f64_add', fromF64(1), fromF64(2));
  expect(rt.fn.sse_check(CPU)).toBe(1);
  cr4(0n);
  divide();
  expect(rt.fn.sse_check(CPU)).toBe(0);
  expect(vector()).toBe(VEC.UD);
  setMxcsr(0x1f80);
  divide();
  expect(rt.fn.sse_check(CPU)).toBe(1);
});
