/**
 * What a boot runs: boots a kernel on a profiling build of the interpreter and finds the sequences of handlers that ran most
 * often one after the other: the source of src/engine/interpreter/fusion.ts.
 *
 * Usage: node bench/sequences.ts [--write] [sequences of each length] (default 300)
 */
import { writeFileSync } from 'node:fs';
import { Host } from '../src/dom0/host.ts';
import { Cache } from '../src/dom0/toolstack/cache.ts';
import { areaLayout, arenaSize, codeOwnersSize } from '../src/engine/area.ts';
import { decoderTables } from '../src/engine/decode/tables.ts';
import { MAX_FUSED } from '../src/engine/interpreter/fused.ts';
import { generateInterpreter } from '../src/engine/interpreter/generate.ts';
import { allEncodings } from '../src/engine/semantics/index.ts';
import { Record32 } from '../src/engine/state.ts';
import { AREA_BASE } from '../src/machine/layout.ts';
import { loadParts } from '../src/machine/parts.ts';
import { loadImages } from '../src/start/images.ts';
import { parseOptions } from '../src/start/options.ts';
import { decodedRecords } from './records.ts';

const write = process.argv.includes('--write');
const wanted = Number(process.argv.slice(2).find((a) => /^\d+$/.test(a)) ?? 300);
const options = parseOptions([]);
const frames = options.machineMemory * 256;
// Where Machine.create will put the reserved memory: behind the areas of one pCPU and of dom0's thread.
const AREA = AREA_BASE + codeOwnersSize(frames);
let at = AREA;
for (const size of [arenaSize(frames, 1), 1 << 16]) at += areaLayout(at, frames, size).size;
const encodings = allEncodings();
const i = generateInterpreter(encodings, undefined, undefined, at);
const interpreter = new WebAssembly.Module(i.wasm);
const parts = { ...loadParts(), interpreter, decoder: decoderTables(encodings, i.tables) };
const images = await loadImages(options, process.cwd(), new Cache(), (l) => console.error(l));
const host = await Host.create({
  memoryMiB: options.machineMemory,
  pcpus: 1,
  // Only handlers count.
  translationMiB: 0,
  parts,
  // A u32 for every 32 bytes up to the end of the arena.
  reserve: (at >>> 3) + 4096,
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
const u32 = new Uint32Array(host.machine.memory.buffer);
const u16 = new Uint16Array(host.machine.memory.buffer);
const countOf = (rec: number) => u32[(at + (rec >>> 3)) >>> 2];
/** Weight of each sequence: how often it ran as a whole. */
const weights = Array.from({ length: MAX_FUSED + 1 }, () => new Map<string, number>());
let total = 0;
/** Add what the code that is decoded now has done; code is dropped when its page is freed, so this is called twice. */
function collect(): void {
  const seen = new Map<string, number>();
  total = 0;
  collectInto(seen);
  for (const [key, w] of seen) {
    const n = key.split('|').length;
    weights[n].set(key, Math.max(weights[n].get(key) ?? 0, w));
  }
}
function collectInto(seen: Map<string, number>): void {
  for (const { table, rec: first } of decodedRecords(u32, AREA)) {
    let rec = first;
    let weight = Number.POSITIVE_INFINITY;
    const names: string[] = [];
    total += countOf(rec);
    for (let n = 1; n <= MAX_FUSED; n++) {
      const name = i.names.get(u32[rec >>> 2]);
      if (!name) break;
      names.push(name);
      weight = Math.min(weight, countOf(rec));
      const key = names.join('|');
      seen.set(key, (seen.get(key) ?? 0) + weight);
      const next = u16[(rec + Record32.off.next) >>> 1];
      if (next >= 4096 || u32[(table >>> 2) + next] !== rec + Record32.size) break;
      rec += Record32.size;
    }
  }
}
let text = '';
let early = false;
const atShell = new Promise<void>((resolve) => {
  domain.console.attach({
    paces: false,
    write: (bytes: Uint8Array) => {
      text += new TextDecoder().decode(bytes);
      // The kernel's first page tables are done; their code will be freed.
      if (!early && text.includes('hvc0] enabled')) {
        early = true;
        collect();
      }
      if (/~# /.test(text)) resolve();
      return true;
    },
  } as never);
});
domain.unpause();
await atShell;
collect();
const lines: string[] = [];
for (let n = 2; n <= MAX_FUSED; n++) {
  const best = [...weights[n]].sort((x, y) => y[1] - x[1]).slice(0, wanted);
  const sum = best.reduce((s, [, w]) => s + w, 0);
  console.error(
    `${weights[n].size} sequences of ${n}: the first ${wanted} begin at ${((100 * sum) / total).toFixed(1)} % of instructions`,
  );
  for (const [key, w] of best.slice(0, 12)) console.error(`${((100 * w) / total).toFixed(2).padStart(6)} %  ${key}`);
  for (const [key] of best)
    lines.push(
      `    [${key
        .split('|')
        .map((x) => `'${x}'`)
        .join(', ')}],`,
    );
}
if (write) {
  writeFileSync(
    new URL('../src/engine/interpreter/fusion.ts', import.meta.url),
    `/**
 * Which sequences of handlers become superinstructions: those that a boot of Debian's cloud kernel runs most often (names as
 * \`handlerName\` gives them). Written by bench/sequences.ts.
 */
import type { FusionPlan } from './generate.ts';

export const FUSION_PLAN: FusionPlan = {
  sequences: [
${lines.join('\n')}
  ],
};
`,
  );
}
await host.stop();
process.exit(0);
