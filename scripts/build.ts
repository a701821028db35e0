/**
 * Builds what must be built, into build/: the ABI for AssemblyScript, runtime.wasm, hypervisor.wasm, interpreter.wasm and
 * interpreter.json. A part whose sources have not changed (by content) is left alone.
 *
 * Usage: node scripts/build.ts [--force] [--debug]
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HYPERVISOR_DATA, RUNTIME_DATA } from '../src/machine/layout.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const BUILD = join(ROOT, 'build');
const force = process.argv.includes('--force');

interface Part {
  readonly name: string;
  /** Files and folders whose content decides. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly run: () => Promise<string>;
}

function* files(path: string): Generator<string> {
  if (!existsSync(path)) return;
  if (statSync(path).isDirectory()) {
    for (const f of readdirSync(path).sort()) yield* files(join(path, f));
  } else yield path;
}

function digest(inputs: readonly string[]): string {
  const h = createHash('sha256');
  for (const i of inputs) {
    for (const f of files(join(ROOT, i)))
      h.update(f.slice(ROOT.length)).update('\0').update(readFileSync(f)).update('\0');
  }
  return h.digest('hex');
}

/** Compile an AssemblyScript module over the shared machine memory. */
async function asc(entry: string, out: string, memoryBase: number): Promise<string> {
  const { main } = await import('assemblyscript/asc');
  const { error, stdout, stderr } = await main(
    [
      entry,
      '--outFile',
      out,
      '--textFile',
      out.replace(/\.wasm$/, '.wat'),
      '--importMemory',
      '--sharedMemory',
      '--initialMemory',
      '16',
      '--maximumMemory',
      '65536',
      '--enable',
      'threads,simd,bulk-memory,sign-extension,nontrapping-f2i',
      '--runtime',
      'stub',
      '--memoryBase',
      String(memoryBase),
      '-O3',
      '--noAssert',
    ],
    {},
  );
  if (error) throw new Error(`${entry}: ${error.message}\n${stderr.toString()}${stdout.toString()}`);
  return `${readFileSync(join(ROOT, out)).length} bytes`;
}

const ABI = [
  'src/abi',
  'src/engine/state.ts',
  'src/engine/flags.ts',
  'src/engine/area.ts',
  'src/engine/counters.ts',
  'src/machine/layout.ts',
  'src/machine/profile-table.ts',
  'src/machine/stats-table.ts',
];

const PARTS: readonly Part[] = [
  {
    name: 'abi',
    inputs: [...ABI, 'scripts/gen-abi.ts'],
    outputs: ['abi/xen.ts', 'abi/engine.ts'],
    run: async () => {
      const { spawnSync } = await import('node:child_process');
      const r = spawnSync(process.execPath, [join(ROOT, 'scripts/gen-abi.ts')], { encoding: 'utf8' });
      if (r.status) throw new Error(r.stderr);
      return 'build/abi';
    },
  },
  {
    name: 'runtime',
    inputs: [...ABI, 'src/engine/fp-ops.ts', 'src/engine/runtime', 'scripts/build.ts', 'scripts/gen-abi.ts'],
    outputs: ['runtime.wasm'],
    run: () => asc('src/engine/runtime/index.ts', 'build/runtime.wasm', RUNTIME_DATA),
  },
  {
    name: 'hypervisor',
    inputs: [...ABI, 'src/hypervisor', 'scripts/build.ts', 'scripts/gen-abi.ts'],
    outputs: ['hypervisor.wasm'],
    run: () => asc('src/hypervisor/main.ts', 'build/hypervisor.wasm', HYPERVISOR_DATA),
  },
  {
    name: 'interpreter',
    inputs: [...ABI, 'src/engine/semantics', 'src/engine/interpreter', 'src/engine/wasm', 'src/engine/fp-ops.ts'],
    outputs: ['interpreter.wasm', 'interpreter.json'],
    run: async () => {
      const { allEncodings } = await import('../src/engine/semantics/index.ts');
      const { generateInterpreter } = await import('../src/engine/interpreter/generate.ts');
      const { FUSION_PLAN } = await import('../src/engine/interpreter/fusion.ts');
      const i = generateInterpreter(allEncodings(), FUSION_PLAN);
      writeFileSync(join(BUILD, 'interpreter.wasm'), i.wasm);
      writeFileSync(join(BUILD, 'interpreter.json'), JSON.stringify(i.tables));
      return `${i.wasm.length} bytes, ${i.handlers} handlers for ${i.tables.rows.length} forms of ${i.tables.encodings.length} encodings`;
    },
  },
];

/** Build everything that is out of date; `log` gets a line per part. */
export async function build(
  log: (line: string) => void = (l) => console.error(l),
  only?: readonly string[],
): Promise<void> {
  process.chdir(ROOT);
  mkdirSync(BUILD, { recursive: true });
  const stampFile = join(BUILD, 'stamps.json');
  let stamps: Record<string, string> = {};
  try {
    stamps = JSON.parse(readFileSync(stampFile, 'utf8'));
  } catch {}
  for (const p of PARTS) {
    if (only && !only.includes(p.name)) continue;
    const d = digest(p.inputs);
    if (!force && stamps[p.name] === d && p.outputs.every((o) => existsSync(join(BUILD, o)))) continue;
    const t = performance.now();
    const what = await p.run();
    log(`build: ${p.name}: ${what} (${((performance.now() - t) / 1000).toFixed(1)} s)`);
    try {
      stamps = JSON.parse(readFileSync(stampFile, 'utf8'));
    } catch {}
    stamps[p.name] = d;
    writeFileSync(stampFile, JSON.stringify(stamps, null, 1));
  }
}

if (process.argv[1] && fileURLToPath(import.meta.url) === process.argv[1]) {
  const only = process.argv.slice(2).filter((a) => !a.startsWith('-'));
  build(undefined, only.length ? only : undefined).catch((e) => {
    console.error(`build: ${e.message}`);
    process.exit(1);
  });
}
