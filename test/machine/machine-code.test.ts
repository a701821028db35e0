/** Machine code as bytes: what a later process, here a thread, takes of it. */
import { Session } from 'node:inspector';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { FUSION_PLAN } from '../../src/engine/interpreter/fusion.ts';
import { generateInterpreter } from '../../src/engine/interpreter/generate.ts';
import { USUAL } from '../../src/engine/interpreter/usual.ts';
import { allEncodings } from '../../src/engine/semantics/index.ts';
import { Module } from '../../src/engine/wasm/module.ts';
import { codeOf, codeTag, moduleOf } from '../../src/machine/machine-code.ts';
import { loadModule } from '../../src/machine/parts.ts';
import { compileWhole } from '../../src/machine/v8-flags.ts';

/** f() is `value`: V8 knows modules by their bytes. */
function sample(optimize: boolean, value = 42): Uint8Array<ArrayBuffer> {
  const m = new Module();
  m.optimize = optimize;
  m.export('f', m.add([], ['i32'], new Uint8Array([0, 0x41, value, 0x0b])));
  return m.encode();
}

function call(module: WebAssembly.Module): unknown {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  return (new WebAssembly.Instance(module, { env: { memory } }).exports.f as () => unknown)();
}

const isOptimized = new Function('f', 'return %IsTurboFanFunction(f)') as (f: unknown) => boolean;

// Without it all of this is slower and nothing else; on the Node that the project brings it is there.
it('is there', () => expect(codeTag()).toHaveLength(16));

it.each([
  ['that asks for it', () => new WebAssembly.Module(sample(true)), sample(true)],
  ['compiled as a whole', () => compileWhole(sample(false)), sample(false)],
])('makes the module again, %s', (_, compile, wasm) => {
  const code = codeOf(compile())!;
  const shared = (bytes: Uint8Array) => {
    const copy = new Uint8Array(new SharedArrayBuffer(bytes.length + 1)).subarray(1);
    copy.set(bytes);
    return copy;
  };
  expect(call(moduleOf(shared(wasm), shared(code))!)).toBe(42);
});

it('is of those functions that are hot; the others are compiled when they are called', () => {
  const m = new Module();
  const hot = m.add([], ['i32'], new Uint8Array([0, 0x41, 7, 0x0b]));
  m.export('f', hot);
  m.export('cold', m.add([], ['i32'], new Uint8Array([0, 0x41, 8, 0x0b])));
  m.optimize = new Set([hot]);
  const wasm = m.encode();
  const module = moduleOf(wasm, codeOf(new WebAssembly.Module(wasm))!)!;
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  const { f, cold } = new WebAssembly.Instance(module, { env: { memory } }).exports as Record<string, () => number>;
  expect([isOptimized(f), isOptimized(cold)]).toEqual([true, false]);
  expect([f(), cold()]).toEqual([7, 8]);
});

it('is there for the interpreter’s usual handlers, and for no others', () => {
  const { names } = generateInterpreter(allEncodings(), FUSION_PLAN);
  const slots = new Map([...names].map(([slot, name]) => [name, slot]));
  expect(USUAL.filter((name) => !slots.has(name))).toEqual([]);
  const module = loadModule('interpreter.wasm');
  const imports: Record<string, WebAssembly.ModuleImports> = {};
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 65536, shared: true });
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    imports[from] ??= {};
    imports[from][name] = kind === 'memory' ? memory : () => 0;
  }
  const table = new WebAssembly.Instance(module, imports).exports.table as WebAssembly.Table;
  expect(USUAL.filter((name) => !isOptimized(table.get(slots.get(name)!)))).toEqual([]);
  const optimized = [...names].filter(([slot]) => isOptimized(table.get(slot)));
  expect(optimized.length).toBeLessThan(USUAL.length * 1.2);
});

it('is not taken from another version, or with other flags', () => {
  const code = codeOf(new WebAssembly.Module(sample(true)))!;
  for (let at = 0; at < 16; at++) {
    const other = code.slice();
    other[at] ^= 1;
    expect(moduleOf(sample(true), other)).toBeUndefined();
  }
  expect(moduleOf(sample(true), new Uint8Array())).toBeUndefined();
  expect(moduleOf(sample(true), code.subarray(0, 12))).toBeUndefined();
});

it('is the same to other threads', async () => {
  const code = codeOf(new WebAssembly.Module(sample(true)))!;
  const url = new URL('../../src/machine/machine-code.ts', import.meta.url).href;
  const script = `const { parentPort, workerData: [wasm, code, url] } = require('node:worker_threads');
    import(url).then(({ moduleOf }) => parentPort.postMessage(moduleOf(wasm, code) !== undefined));`;
  const worker = new Worker(script, { eval: true, workerData: [sample(true), code, url] });
  expect(await new Promise((resolve) => worker.once('message', resolve))).toBe(true);
  await worker.terminate();
});

// The last, as V8 is not as it was after that.
it('is not asked of a module that is not optimized, nor while a debugger is attached', () => {
  expect(codeOf(new WebAssembly.Module(sample(false, 1)))).toBeUndefined();
  const before = new WebAssembly.Module(sample(true, 2));
  const session = new Session();
  session.connect();
  session.post('Debugger.enable');
  try {
    expect(codeOf(before)).toBeUndefined();
    expect(codeOf(new WebAssembly.Module(sample(true, 3)))).toBeUndefined();
  } finally {
    session.disconnect();
  }
});
