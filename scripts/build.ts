/**
 * Builds what must be built, into build/: the ABI for AssemblyScript, runtime.wasm, hypervisor.wasm, interpreter.wasm and
 * decoder.bin, and the modules' machine code. A part whose sources have not changed (by content) is left alone.
 *
 * Usage: node scripts/build.ts [--force] [--debug]
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HYPERVISOR_DATA, RUNTIME_DATA } from '../src/machine/layout.ts';
import { areAsSeen, bringUpToDate, type Part, replaceFile } from './up-to-date.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const BUILD = join(ROOT, 'build');
const force = process.argv.includes('--force');

/** Compile an AssemblyScript module over the shared machine memory. */
async function asc(entry: string, out: string, memoryBase: number): Promise<string> {
  const { main } = await import('assemblyscript/asc');
  const text = out.replace(/\.wasm$/, '.wat');
  const unique = randomUUID();
  const { error, stdout, stderr } = await main(
    [
      entry,
      '--outFile',
      `${out}.${unique}`,
      '--textFile',
      `${text}.${unique}`,
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
  for (const file of [out, text]) renameSync(join(ROOT, `${file}.${unique}`), join(ROOT, file));
  return `${readFileSync(join(ROOT, out)).length} bytes`;
}

const ABI = [
  'src/abi',
  'src/engine/state.ts',
  'src/engine/flags.ts',
  'src/engine/area.ts',
  'src/engine/counters.ts',
  'src/engine/decode-tables.ts',
  'src/engine/interpreter/special.ts',
  'src/machine/layout.ts',
  'src/machine/profile-table.ts',
  'src/machine/stats-table.ts',
];

const MODULES = ['runtime.wasm', 'hypervisor.wasm', 'interpreter.wasm'];

const PARTS: readonly Part[] = [
  {
    name: 'abi',
    inputs: [...ABI, 'scripts/gen-abi.ts'],
    outputs: ['build/abi'],
    run: async () => {
      const { spawnSync } = await import('node:child_process');
      const r = spawnSync(process.execPath, [join(ROOT, 'scripts/gen-abi.ts')], { encoding: 'utf8' });
      if (r.status) throw new Error(r.stderr);
      return 'build/abi';
    },
  },
  {
    name: 'runtime',
    inputs: ['build/abi', 'src/engine/fp-ops.ts', 'src/engine/runtime', 'src/machine/layout.ts', 'scripts/build.ts'],
    outputs: ['build/runtime.wasm'],
    run: () => asc('src/engine/runtime/index.ts', 'build/runtime.wasm', RUNTIME_DATA),
  },
  {
    name: 'hypervisor',
    inputs: ['build/abi', 'src/hypervisor', 'src/machine/layout.ts', 'scripts/build.ts'],
    outputs: ['build/hypervisor.wasm'],
    run: () => asc('src/hypervisor/main.ts', 'build/hypervisor.wasm', HYPERVISOR_DATA),
  },
  {
    name: 'interpreter',
    inputs: [
      ...ABI,
      'src/engine/semantics',
      'src/engine/interpreter',
      'src/engine/decode',
      'src/engine/wasm',
      'src/engine/fp-ops.ts',
    ],
    outputs: ['build/interpreter.wasm', 'build/interpreter.hinted', 'build/decoder.bin'],
    run: async () => {
      const { allEncodings } = await import('../src/engine/semantics/index.ts');
      const { generateInterpreter } = await import('../src/engine/interpreter/generate.ts');
      const { decoderTables } = await import('../src/engine/decode/tables.ts');
      const { FUSION_PLAN } = await import('../src/engine/interpreter/fusion.ts');
      const { USUAL } = await import('../src/engine/interpreter/usual.ts');
      const encodings = allEncodings();
      const i = generateInterpreter(encodings, FUSION_PLAN, new Set(USUAL));
      replaceFile(join(BUILD, 'interpreter.wasm'), i.wasm);
      replaceFile(join(BUILD, 'interpreter.hinted'), i.hinted);
      replaceFile(join(BUILD, 'decoder.bin'), decoderTables(encodings, i.tables));
      return `${i.wasm.length} bytes, ${i.handlers} handlers for ${i.tables.rows.length} forms of ${encodings.length} encodings`;
    },
  },
  {
    name: 'fingerprint',
    inputs: ['build/runtime.wasm', 'build/interpreter.wasm', 'src/engine', 'src/machine/parts.ts'],
    outputs: ['build/fingerprint'],
    run: async () => {
      const { sourcesFingerprint } = await import('../src/machine/parts.ts');
      const { file, content } = sourcesFingerprint();
      replaceFile(join(BUILD, file), content);
      return `${content.length} bytes`;
    },
  },
  {
    name: 'code',
    inputs: [
      ...MODULES.map((name) => `build/${name}`),
      'build/interpreter.hinted',
      'src/machine/machine-code.ts',
      'src/machine/parts.ts',
      'src/machine/v8-flags.ts',
    ],
    outputs: MODULES.map((name) => `build/${name.replace(/wasm$/, 'code')}`),
    key: async () => Buffer.from((await import('../src/machine/machine-code.ts')).codeTag()).toString('hex'),
    run: async () => {
      const { machineCode } = await import('../src/machine/parts.ts');
      let bytes = 0;
      for (const name of MODULES) {
        const { file, code } = machineCode(name);
        replaceFile(join(BUILD, file), code);
        bytes += code.length;
      }
      return `${bytes} bytes of machine code`;
    },
  },
];

const STAMPS = join(BUILD, 'stamps');

/** Whether nothing has changed since the last build, by the files' times; false says nothing. */
export async function isUpToDate(): Promise<boolean> {
  return await areAsSeen(ROOT, STAMPS, PARTS);
}

/** Build everything that is out of date; `log` gets a line per part. */
export async function build(
  log: (line: string) => void = (l) => console.error(l),
  only?: readonly string[],
): Promise<void> {
  process.chdir(ROOT);
  mkdirSync(BUILD, { recursive: true });
  for (const part of PARTS) {
    if (!only || only.includes(part.name)) await bringUpToDate(ROOT, STAMPS, part, { force, log });
  }
}

if (process.argv[1] && fileURLToPath(import.meta.url) === process.argv[1]) {
  const only = process.argv.slice(2).filter((a) => !a.startsWith('-'));
  build(undefined, only.length ? only : undefined).catch((e) => {
    console.error(`build: ${e.message}`);
    process.exit(1);
  });
}
