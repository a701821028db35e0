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
}

/** Magic number, hash of the version, processor's features, hash of the flags. */
const TAG_BYTES = 16;

/** Asked of a module that V8 was told to optimize at once: that it has been. What it has no such code for, V8 aborts at. */
function optimizes(): WebAssembly.Module | undefined {
  const isOptimized = new Function('f', 'return %IsTurboFanFunction(f)') as (f: unknown) => boolean;
  const m = new Module();
  m.optimize = true;
  m.export('f', m.add([], [], new Uint8Array([0, 0x0b])));
  const module = new WebAssembly.Module(m.encode());
  const { exports } = new WebAssembly.Instance(module, {
    env: { memory: new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true }) },
  });
  return isOptimized(exports.f) ? module : undefined;
}

function find(): (Natives & { readonly tag: Uint8Array }) | undefined {
  tuneV8();
  try {
    setFlagsFromString('--allow-natives-syntax');
    const sample = optimizes();
    if (!sample) return undefined;
    const serialize = new Function('m', 'return %SerializeWasmModule(m)') as Natives['serialize'];
    const deserialize = new Function(
      'code',
      'wasm',
      'return %DeserializeWasmModule(code, wasm)',
    ) as Natives['deserialize'];
    return { serialize, deserialize, tag: new Uint8Array(serialize(sample), 0, TAG_BYTES) };
  } catch {
    return undefined; // another engine, or another version's names
  }
}

const natives = find();

/** What code from `codeOf` must have been made by to be taken; empty where there is none. */
export const codeTag = (): Uint8Array => natives?.tag ?? new Uint8Array();

/** The code of a module all of whose functions are optimized (Module.optimize, `compileWhole`). */
export const codeOf = (m: WebAssembly.Module): Uint8Array<ArrayBuffer> | undefined =>
  natives && new Uint8Array(natives.serialize(m));

/** The module that `code` was made from, and `wasm`; undefined if V8 does not take it. */
export function moduleOf(wasm: Uint8Array, code: Uint8Array): WebAssembly.Module | undefined {
  if (!natives || code.length < TAG_BYTES) return undefined;
  if (natives.tag.some((b, i) => code[i] !== b)) return undefined;
  return natives.deserialize(code.slice().buffer as ArrayBuffer, wasm.slice());
}
