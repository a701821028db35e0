/** Functions of several modules in one. */
import { expect, it } from 'vitest';
import { type Linked, link } from '../../src/engine/wasm/link.ts';
import { Func, Module } from '../../src/engine/wasm/module.ts';
import { CASES, translate } from './pinned-code.ts';
import { functionText } from './wasm-text.ts';

const I32 = { params: ['i32'], results: ['i32'] } as const;
const own = (i: { name: string }, n: number) => `${i.name}.${n}`;
const linked = (of: readonly Linked[]) => link(of, own);

/** A module of one function, `build`s code, that imports `names` of `host` in this order, and a global. */
function made(
  names: readonly string[],
  build: (f: Func, imported: readonly number[], global: number) => void,
): Uint8Array {
  const m = new Module();
  m.memory = { min: 16, max: 65536, shared: true };
  m.importTable('engine', 'table');
  const global = m.importGlobal('env', 'cell');
  const imported = names.map((name) => m.import('host', name, I32.params, I32.results));
  const f = new Func(I32);
  build(f, imported, global);
  m.export('0', m.add(I32.params, I32.results, f.encode(), f.hints()));
  return m.encode();
}

const memory = new WebAssembly.Memory({ initial: 16, maximum: 65536, shared: true });
const table = new WebAssembly.Table({ element: 'anyfunc', initial: 1 });

function instance(wasm: Uint8Array<ArrayBuffer>, cells: readonly number[]): WebAssembly.Exports {
  const env: WebAssembly.ModuleImports = { memory };
  for (const [n, v] of cells.entries()) env[`cell.${n}`] = new WebAssembly.Global({ value: 'i32', mutable: true }, v);
  const host = { double: (x: number) => x * 2, negate: (x: number) => -x, add7: (x: number) => x + 7 };
  return new WebAssembly.Instance(new WebAssembly.Module(wasm), { env, host, engine: { table } }).exports;
}

const one = made(['negate', 'double'], (f, [, double], global) => {
  f.get(0).call(double).op('global.get').body.u32(global);
  f.op('i32.add');
});
const two = made(['double', 'add7'], (f, [, add7], global) => {
  f.get(0).op('global.get').body.u32(global);
  f.op('i32.mul').get(0).i32(100).op('i32.gt_s').unlikely().if().get(0).returnCall(add7).end();
});

it('call what they called, and each has its own globals', () => {
  const wasm = linked([
    { wasm: one, index: 0 },
    { wasm: two, index: 0 },
    { wasm: one, index: 0 },
  ]);
  const f = instance(wasm, [1000, 3, 2000]) as Record<string, (x: number) => number>;
  expect(Object.keys(f)).toEqual(['0', '1', '2']);
  expect([f[0](5), f[1](5), f[1](200), f[2](5)]).toEqual([1010, 15, 207, 2010]);
  // What none of them needs is not imported, what several need once.
  const imports = WebAssembly.Module.imports(new WebAssembly.Module(wasm)).filter((i) => i.kind === 'function');
  expect(imports.map((i) => i.name)).toEqual(['double', 'add7']);
});

it('can be taken out again, and put together in another order', () => {
  const both = linked([
    { wasm: one, index: 0 },
    { wasm: two, index: 0 },
  ]);
  const back = link(
    [
      { wasm: both, index: 1 },
      { wasm: both, index: 0 },
    ],
    (i, n) => `${i.name.split('.')[0]}.${n}`,
  );
  const f = instance(back, [3, 1000]) as Record<string, (x: number) => number>;
  expect([f[0](5), f[0](200), f[1](5)]).toEqual([15, 207, 1010]);
});

it('keep which branches are likely and which are not', () => {
  const wasm = made([], (f) => {
    f.block().get(0).likely().brIf(0).get(0).unlikely().brIf(0).end().get(0);
  });
  /** In the section: each hint's length and value. */
  const values = (m: Uint8Array) => {
    const at = Buffer.from(m).indexOf('metadata.code.branch_hint') + 25;
    return [m.subarray(at + 4, at + 6), m.subarray(at + 7, at + 9)].map((x) => [...x]);
  };
  expect(values(wasm)).toEqual([
    [1, 1],
    [1, 0],
  ]);
  expect(values(linked([{ wasm, index: 0 }]))).toEqual(values(wasm));
});

it('keep which branches are unlikely, where they come to stand', () => {
  // The call's number takes two bytes, and one when it is the only import.
  const names = Array.from({ length: 130 }, (_, n) => `f${n}`);
  const many = made(names, (f, imported) => {
    f.get(0).call(imported[129]).unlikely().if().end().get(0);
  });
  // One function that has hints: its number, how many, the first one's place.
  const place = (wasm: Uint8Array) =>
    wasm[Buffer.from(wasm).indexOf('metadata.code.branch_hint') + 25 + 2 + index(wasm)];
  const index = (wasm: Uint8Array) => (wasm.length > 500 ? 2 : 1);
  expect(place(many)).toBe(1 + 2 + 3);
  expect(place(linked([{ wasm: many, index: 0 }]))).toBe(1 + 2 + 2);
});

it('are refused if they are not there, call each other, or are no module', () => {
  expect(() => linked([{ wasm: one, index: 1 }])).toThrow('no function 1');
  const m = new Module();
  const f = new Func(I32);
  const inner = m.add(I32.params, I32.results, new Func(I32).get(0).encode());
  m.export('0', m.add(I32.params, I32.results, f.get(0).call(inner).encode()));
  expect(() => linked([{ wasm: m.encode(), index: 0 }])).toThrow('is not imported');
  for (const n of [3, 20, one.length - 5]) expect(() => linked([{ wasm: one.subarray(0, n), index: 0 }])).toThrow();
});

it.each(CASES)('%s has the same code, but for numbers', (_, code) => {
  const wasm = translate(code);
  const text = (w: Uint8Array) => functionText(w).replaceAll(/(call|call_indirect|global\.[gs]et) \d+/g, '$1');
  const packed = link([...CASES.map(([, c]) => ({ wasm: translate(c), index: 0 })), { wasm, index: 0 }], own);
  expect(WebAssembly.validate(packed)).toBe(true);
  expect(text(link([{ wasm: packed, index: CASES.length }], own))).toBe(text(wasm));
});
