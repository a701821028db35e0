/** How V8 is to treat wasm that is made at run time. Elsewhere, and where V8 has other ideas, it is just slower. */
import { setFlagsFromString } from 'node:v8';

const FLAGS = [
  // The translator says which branches are hardly ever taken (slow paths of memory accesses, polls): registers are then
  // not spilled around them.
  '--experimental-wasm-branch-hinting',
  // Loops of a region are long already: turned into more of them they take longer to compile than they save.
  '--no-wasm-loop-unrolling',
  '--no-wasm-loop-peeling',
];

/** To be called before the first module is compiled; it holds for all threads of the process. */
export function tuneV8(): void {
  for (const flag of FLAGS) setFlagsFromString(flag);
}

/** The module, with code for all functions when this returns, instead of at the first call on the thread that wants it. */
export const compileAhead = (wasm: Uint8Array<ArrayBuffer>): WebAssembly.Module =>
  compileWith(wasm, ['no-wasm-lazy-compilation']);

/** As compileAhead, by the optimizing compiler: for code that is known to be hot, on a thread that has the time. */
export const compileOptimized = (wasm: Uint8Array<ArrayBuffer>): WebAssembly.Module =>
  compileWith(wasm, ['no-wasm-lazy-compilation', 'no-liftoff']);

/** Flags are the process's: what other threads compile at this moment may be taken along. */
function compileWith(wasm: Uint8Array<ArrayBuffer>, flags: readonly string[]): WebAssembly.Module {
  for (const flag of flags) setFlagsFromString(`--${flag}`);
  try {
    return new WebAssembly.Module(wasm);
  } finally {
    for (const flag of flags) setFlagsFromString(`--${flag.slice('no-'.length)}`);
  }
}
