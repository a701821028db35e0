/** Loads what scripts/build.ts made (Node). */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { EngineParts } from '../engine/engine.ts';
import { codeOf, codeTag, moduleOf } from './machine-code.ts';
import { compileWhole } from './v8-flags.ts';

const BUILD = new URL('../../build/', import.meta.url);

export interface MachineParts extends EngineParts {
  readonly hypervisor: WebAssembly.Module;
}

const codeFile = (name: string): string => name.replace(/wasm$/, 'code');

/** The bytes that machine code is of: those that say of which functions (others are compiled when they are called), or all of the module's. */
function codeSource(name: string): { bytes: Uint8Array<ArrayBuffer>; hinted: boolean } {
  const hinted = new URL(name.replace(/wasm$/, 'hinted'), BUILD);
  const found = existsSync(hinted);
  return { bytes: readFileSync(found ? hinted : new URL(name, BUILD)), hinted: found };
}

/** The module with the machine code that the build made, if this V8 takes it; else functions are compiled as they are called. */
export function loadModule(name: string): WebAssembly.Module {
  const code = new URL(codeFile(name), BUILD);
  const made = existsSync(code) && moduleOf(codeSource(name).bytes, readFileSync(code));
  return made || new WebAssembly.Module(readFileSync(new URL(name, BUILD)));
}

/** For the build: a built module's machine code, and its file in build/. Empty where V8 gives none. */
export function machineCode(name: string): { file: string; code: Uint8Array } {
  const { bytes, hinted } = codeSource(name);
  const module = hinted ? new WebAssembly.Module(bytes) : compileWhole(bytes);
  return { file: codeFile(name), code: codeOf(module) ?? new Uint8Array() };
}

/** runtime.wasm, interpreter.wasm and the decoder's tables. */
export function loadEngineParts(): EngineParts {
  return {
    runtime: loadModule('runtime.wasm'),
    interpreter: loadModule('interpreter.wasm'),
    decoder: readFileSync(new URL('decoder.bin', BUILD)),
  };
}

/** All of build/. */
export function loadParts(): MachineParts {
  return { ...loadEngineParts(), hypervisor: loadModule('hypervisor.wasm') };
}

/** Where the build leaves what `engineSources` said, since reading and hashing them takes 20 ms of each start. */
const FINGERPRINT = 'fingerprint';

/** What translated code depends on: the built modules, the sources of the translator, and V8 (32 bytes). */
export function engineFingerprint(): Uint8Array {
  const kept = new URL(FINGERPRINT, BUILD);
  const sources = existsSync(kept) ? readFileSync(kept) : engineSources();
  return createHash('sha256').update(sources).update(codeTag()).digest();
}

/** For the build: the name of a file in build/, and its content. */
export const sourcesFingerprint = (): { file: string; content: Uint8Array } => ({
  file: FINGERPRINT,
  content: engineSources(),
});

function engineSources(): Uint8Array {
  const hash = createHash('sha256');
  for (const name of ['runtime.wasm', 'interpreter.wasm']) hash.update(readFileSync(new URL(name, BUILD)));
  for (const dir of ['', 'translator/', 'semantics/', 'decode/', 'wasm/']) {
    const from = new URL(`../engine/${dir}`, import.meta.url);
    const files = readdirSync(from, { withFileTypes: true }).filter((e) => e.isFile());
    for (const name of files.map((e) => e.name).sort()) hash.update(readFileSync(new URL(name, from)));
  }
  return hash.digest();
}

/** Sizes in bytes of the built modules. */
export function partSizes(): { hypervisor: number; runtime: number; interpreter: number } {
  const n = (name: string) => readFileSync(new URL(name, BUILD)).length;
  return { hypervisor: n('hypervisor.wasm'), runtime: n('runtime.wasm'), interpreter: n('interpreter.wasm') };
}
