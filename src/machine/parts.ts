/** Loads what scripts/build.ts made (Node). */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { EngineParts } from '../engine/engine.ts';
import { tuneV8 } from './v8-flags.ts';

const BUILD = new URL('../../build/', import.meta.url);

export interface MachineParts extends EngineParts {
  readonly hypervisor: WebAssembly.Module;
}

tuneV8();

const wasm = (name: string) => new WebAssembly.Module(readFileSync(new URL(name, BUILD)));

/** runtime.wasm, interpreter.wasm and its tables. */
export function loadEngineParts(): EngineParts {
  return {
    runtime: wasm('runtime.wasm'),
    interpreter: wasm('interpreter.wasm'),
    tables: JSON.parse(readFileSync(new URL('interpreter.json', BUILD), 'utf8')),
  };
}

/** All of build/. */
export function loadParts(): MachineParts {
  return { ...loadEngineParts(), hypervisor: wasm('hypervisor.wasm') };
}

/** What translated code depends on: the built modules and the sources of the translator (32 bytes). */
export function engineFingerprint(): Uint8Array {
  const hash = createHash('sha256');
  for (const name of ['runtime.wasm', 'interpreter.wasm']) hash.update(readFileSync(new URL(name, BUILD)));
  for (const dir of ['translator', 'semantics', 'decode', 'wasm']) {
    const from = new URL(`../engine/${dir}/`, import.meta.url);
    for (const name of readdirSync(from).sort()) hash.update(readFileSync(new URL(name, from)));
  }
  return hash.digest();
}

/** Sizes in bytes of the built modules. */
export function partSizes(): { hypervisor: number; runtime: number; interpreter: number } {
  const n = (name: string) => readFileSync(new URL(name, BUILD)).length;
  return { hypervisor: n('hypervisor.wasm'), runtime: n('runtime.wasm'), interpreter: n('interpreter.wasm') };
}
