/** How V8 is to treat wasm that is made at run time. Elsewhere, and where V8 has other ideas, it is just slower. */
import { setFlagsFromString } from 'node:v8';

const FLAGS = [
  // The translator says which branches are hardly ever taken (slow paths of memory accesses, polls): registers are then
  // not spilled around them.
  '--experimental-wasm-branch-hinting',
  // Loops of a region are long already: turned into more of them they take longer to compile than they save.
  '--no-wasm-loop-unrolling',
  '--no-wasm-loop-peeling',
  // The translator says that its functions are to be optimized at once: they are known to be hot.
  '--experimental-wasm-compilation-hints',
];

/** To be called before the first module is compiled; it holds for all threads of the process. */
export function tuneV8(): void {
  for (const flag of FLAGS) setFlagsFromString(flag);
}

/** The module, with all of its functions optimized, which takes a while. Flags are the process's: no other thread may compile now. */
export function compileWhole(wasm: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  const flags = ['no-wasm-lazy-compilation', 'no-liftoff'];
  for (const flag of flags) setFlagsFromString(`--${flag}`);
  try {
    return new WebAssembly.Module(wasm);
  } finally {
    for (const flag of flags) setFlagsFromString(`--${flag.slice('no-'.length)}`);
  }
}
