/**
 * The machine code of compiled wasm, as bytes that a later process takes instead of compiling: V8's own serializer, which Node
 * gives no other way to than the functions that V8 has for its tests. Where they are missing, everything is compiled.
 *
 * V8 takes only what the same version has made with the same flags for the same kind of processor (`codeTag`), and believes
 * the rest: these bytes are to be trusted as a program is.
 */
import { setFlagsFromString } from 'node:v8';
import { Module } from '../engine/wasm/module.ts';
import { tuneV8 } from './v8-flags.ts';

interface Natives {
  readonly serialize: (m: WebAssembly.Module) => ArrayBuffer;
  readonly deserialize: (code: ArrayBuffer, wasm: Uint8Array) => WebAssembly.Module | undefined;
  readonly isOptimized: IsOptimized;
  readonly tag: Uint8Array;
}

/** Magic number, hash of the version, processor's features, hash of the flags. */
const TAG_BYTES = 16;

/** Of a module whose exported functions are all hot: whether they are compiled by the optimizing compiler. */
type IsOptimized = (m: WebAssembly.Module) => boolean;

function optimizedTest(): IsOptimized {
  const isOptimized = new Function('f', 'return %IsTurboFanFunction(f)') as (f: unknown) => boolean;
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 65536, shared: true });
  const stand = {
    memory: () => memory,
    table: () => new WebAssembly.Table({ element: 'anyfunc', initial: 0 }),
    global: () => new WebAssembly.Global({ value: 'i32', mutable: true }, 0),
    function: () => () => 0,
    tag: () => undefined,
  };
  return (m) => {
    const imports: Record<string, WebAssembly.ModuleImports> = {};
    for (const { module, name, kind } of WebAssembly.Module.imports(m)) {
      imports[module] ??= {};
      imports[module][name] = stand[kind]() as WebAssembly.ImportValue;
    }
    const { exports } = new WebAssembly.Instance(m, imports);
    const f = Object.values(exports).find((x) => typeof x === 'function');
    return f !== undefined && isOptimized(f);
  };
}

function find(): Natives | undefined {
  tuneV8();
  try {
    setFlagsFromString('--allow-natives-syntax');
    const isOptimized = optimizedTest();
    const m = new Module();
    m.optimize = true;
    m.export('f', m.add([], [], new Uint8Array([0, 0x0b])));
    const sample = new WebAssembly.Module(m.encode());
    if (!isOptimized(sample)) return undefined;
    const serialize = new Function('m', 'return %SerializeWasmModule(m)') as Natives['serialize'];
    const deserialize = new Function(
      'code',
      'wasm',
      'return %DeserializeWasmModule(code, wasm)',
    ) as Natives['deserialize'];
    return { serialize, deserialize, isOptimized, tag: new Uint8Array(serialize(sample), 0, TAG_BYTES) };
  } catch {
    return undefined; // another engine, or another version's names
  }
}

const natives = find();

/** What code from `codeOf` must have been made by to be taken; empty where there is none. */
export const codeTag = (): Uint8Array => natives?.tag ?? new Uint8Array();

/** Did V8 make it as it is now? */
const fits = (code: Uint8Array): boolean =>
  code.length >= TAG_BYTES && natives?.tag.every((b, i) => code[i] === b) === true;

/**
 * The code of a module whose functions are to be optimized (`compileWhole`; Module.optimize: of those functions). Undefined if they are not, or
 * flags have changed: a debugger that is attached sees to that, and V8 ends the process when asked for what there is not.
 */
export function codeOf(m: WebAssembly.Module): Uint8Array<ArrayBuffer> | undefined {
  if (!natives?.isOptimized(m)) return undefined;
  const code = new Uint8Array(natives.serialize(m));
  return fits(code) ? code : undefined;
}

/** All of an ArrayBuffer, copied if the bytes are not: a part of a file, say, in shared memory. V8 takes nothing with more behind it. */
function whole(bytes: Uint8Array): ArrayBuffer {
  const { buffer, byteLength } = bytes;
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? buffer : bytes.slice().buffer;
}

/** Where wasm is copied to that is in shared memory; used again, as new memory for each of hundreds costs page faults of the host. */
let scratch = new Uint8Array();

function unshared(bytes: Uint8Array): Uint8Array {
  if (bytes.buffer instanceof ArrayBuffer) return bytes;
  if (scratch.length < bytes.length) scratch = new Uint8Array(bytes.length);
  scratch.set(bytes);
  return scratch.subarray(0, bytes.length);
}

/** The module that `code` was made from, and `wasm`; undefined if V8 does not take it. */
export function moduleOf(wasm: Uint8Array, code: Uint8Array): WebAssembly.Module | undefined {
  if (!natives || !fits(code)) return undefined;
  return natives.deserialize(whole(code), unshared(wasm));
}
