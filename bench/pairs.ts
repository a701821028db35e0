/**
 * What follows what: boots a kernel on a profiling build of the interpreter and prints the pairs of handlers that ran one
 * after the other most often, as the source of src/engine/interpreter/fusion.ts.
 *
 * Usage: node bench/pairs.ts [--write] [number of pairs] (default 256)
 */
import { writeFileSync } from 'node:fs';
import { Host } from '../src/dom0/host.ts';
import { ARENA_SIZE, areaLayout } from '../src/engine/area.ts';
import { PAIR_SPAN } from '../src/engine/interpreter/emit.ts';
import { generateInterpreter } from '../src/engine/interpreter/generate.ts';
import { allEncodings } from '../src/engine/semantics/index.ts';
import { AREA_BASE } from '../src/machine/layout.ts';
import { loadParts } from '../src/machine/parts.ts';
import { Cache } from '../src/start/cache.ts';
import { loadImages } from '../src/start/images.ts';
import { parseOptions } from '../src/start/options.ts';

const write = process.argv.includes('--write');
const wanted = Number(process.argv.slice(2).find((a) => /^\d+$/.test(a)) ?? 256);
const options = parseOptions([]);
const frames = options.machineMemory * 256;
// Where Machine.create will put the reserved memory: behind the areas of one pCPU and of dom0's thread.
let at = AREA_BASE;
for (const size of [ARENA_SIZE, 1 << 16]) at += areaLayout(at, frames, size).size;
const i = generateInterpreter(allEncodings(), { pairs: [] }, at);
if (i.handlers > PAIR_SPAN) throw new Error(`${i.handlers} handlers, PAIR_SPAN is ${PAIR_SPAN}`);
const parts = { ...loadParts(), interpreter: new WebAssembly.Module(i.wasm), tables: i.tables };
const images = await loadImages(options, process.cwd(), new Cache(), (l) => console.error(l));
const host = await Host.create({
  memoryMiB: options.machineMemory,
  pcpus: 1,
  parts,
  reserve: PAIR_SPAN * PAIR_SPAN * 4,
});
if (host.machine.reserved !== at) throw new Error('the machine is laid out otherwise than this script thinks');
const domain = host.toolstack.create({
  name: 'pairs',
  memoryMiB: options.memory,
  vcpus: 1,
  kernel: images.elf,
  kernelName: images.kernelName,
  ramdisk: images.ramdisk,
  cmdline: options.append,
});
let text = '';
const atShell = new Promise<void>((resolve) => {
  domain.console.attach({
    paces: false,
    write: (bytes: Uint8Array) => {
      text += new TextDecoder().decode(bytes);
      if (/~# /.test(text)) resolve();
      return true;
    },
  } as never);
});
domain.unpause();
await atShell;
const counts = new Uint32Array(host.machine.memory.buffer, at, PAIR_SPAN * PAIR_SPAN);
const found: [number, string, string][] = [];
let total = 0;
for (const [a, nameA] of i.names) {
  for (const [b, nameB] of i.names) {
    const n = counts[a * PAIR_SPAN + b];
    total += n;
    if (n) found.push([n, nameA, nameB]);
  }
}
found.sort((x, y) => y[0] - x[0]);
let sum = 0;
const lines = found.slice(0, wanted).map(([n, a, b]) => {
  sum += n;
  return `    ['${a}', '${b}'],`;
});
console.error(`${found.length} pairs, ${total} in all; the first ${wanted} are ${((100 * sum) / total).toFixed(1)} %`);
for (const [n, a, b] of found.slice(0, 40))
  console.error(`${((100 * n) / total).toFixed(2).padStart(6)} %  ${a}  +  ${b}`);
if (write) {
  writeFileSync(
    new URL('../src/engine/interpreter/fusion.ts', import.meta.url),
    `/**
 * Which pairs of handlers become superinstructions: the pairs that a boot of Debian's cloud kernel runs most often (names
 * as \`handlerName\` gives them). One dispatch saved per pair. Written by bench/pairs.ts.
 */
import type { FusionPlan } from './generate.ts';

export const FUSION_PLAN: FusionPlan = {
  pairs: [
${lines.join('\n')}
  ],
};
`,
  );
}
await host.stop();
process.exit(0);
