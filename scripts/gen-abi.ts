/**
 * Prints the tables of src/abi, src/engine and src/machine as AssemblyScript, so that the hypervisor and the engine's
 * runtime use the same numbers as TypeScript: build/abi/xen.ts and build/abi/engine.ts.
 *
 *   struct table  → namespace with the offset of each field (usize), and SIZE
 *   constants     → namespace of u32 (u64 above 2^32 or if written as bigint, i32 if negative)
 *   plain number  → const of the same type
 *
 * ERRNO is i64, so that `return -ERRNO.EINVAL` is the hypercall's result. A name that is a keyword gets a `_` behind it.
 *
 * Usage: node scripts/gen-abi.ts [output directory]
 */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Constants, Struct } from '../src/abi/layout.ts';
import { replaceFile } from './up-to-date.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Modules of the engine's and the machine's own tables. */
const ENGINE_MODULES = [
  'src/engine/state.ts',
  'src/engine/flags.ts',
  'src/engine/area.ts',
  'src/engine/exits.ts',
  'src/engine/counters.ts',
  'src/engine/decode-tables.ts',
  'src/engine/interpreter/special.ts',
  'src/machine/layout.ts',
  'src/machine/profile-table.ts',
  'src/machine/stats-table.ts',
];

/** Constants that need a type other than that of their value. */
const TYPE_OF: Record<string, string> = { ERRNO: 'i64' };

/** Words that AssemblyScript takes for keywords where a declaration's name stands. */
const KEYWORDS = new Set(
  (
    'break case catch class const continue debugger default delete do else enum export extends false finally for ' +
    'function if implements import in interface let new null package private protected public return static super ' +
    'switch this throw true try typeof var void while with yield'
  ).split(' '),
);

function identifier(name: string): string {
  const id = name.replaceAll(/\W/g, '_');
  return KEYWORDS.has(id) || /^\d/.test(id) ? `${/^\d/.test(id) ? '_' : ''}${id}${KEYWORDS.has(id) ? '_' : ''}` : id;
}

function typeOf(value: number | bigint): string {
  if (typeof value === 'bigint') return value < 0n ? 'i64' : 'u64';
  if (!Number.isSafeInteger(value))
    throw new Error(`${value} is not an integer that a double can hold: write it as bigint`);
  if (value < 0) return value < -(2 ** 31) ? 'i64' : 'i32';
  return value < 2 ** 32 ? 'u32' : 'u64';
}

const literal = (v: number | bigint) => (v < 0 ? `${v}` : v > 9 ? `0x${v.toString(16)}` : `${v}`);

const constant = (name: string, value: number | bigint, type = typeOf(value)) =>
  `export const ${identifier(name)}: ${type} = ${literal(value)};`;

function isStruct(v: unknown): v is Struct {
  return typeof v === 'object' && v !== null && 'fields' in v && 'size' in v && 'off' in v;
}

function isConstants(v: unknown): v is Constants {
  if (typeof v !== 'object' || v === null || Array.isArray(v)) return false;
  const values = Object.values(v);
  return values.length > 0 && values.every((x) => typeof x === 'number' || typeof x === 'bigint');
}

/** One exported table as AssemblyScript, or '' if the export is no table. */
export function printTable(name: string, value: unknown): string {
  if (typeof value === 'number' || typeof value === 'bigint') return `${constant(name, value, TYPE_OF[name])}\n`;
  let lines: string[];
  if (isStruct(value)) {
    lines = value.fields.map((f) => constant(f.name, f.offset, 'usize'));
    lines.push(constant('SIZE', value.size, 'usize'));
  } else if (isConstants(value)) {
    lines = Object.entries(value).map(([k, v]) => constant(k, v, TYPE_OF[name]));
  } else return '';
  return `export namespace ${identifier(name)} {\n${lines.map((l) => `  ${l}\n`).join('')}}\n`;
}

/** The AssemblyScript text of all tables that the modules export. A name must be exported once only. */
export async function printModules(files: readonly string[]): Promise<string> {
  const owner = new Map<string, string>();
  let text = '';
  for (const file of files) {
    const exports: Record<string, unknown> = await import(pathToFileURL(join(ROOT, file)).href);
    const tables = Object.keys(exports)
      .map((name) => [name, printTable(name, exports[name])] as const)
      .filter(([, t]) => t !== '');
    for (const [name] of tables) {
      const other = owner.get(name);
      if (other !== undefined) throw new Error(`${name} is exported by ${other} and by ${file}`);
      owner.set(name, file);
    }
    if (tables.length > 0) text += `\n// ${file}\n${tables.map(([, t]) => t).join('')}`;
  }
  return text;
}

function exists(file: string): boolean {
  try {
    readFileSync(join(ROOT, file));
    return true;
  } catch {
    return false;
  }
}

/** Public headers' tables: every module of src/abi but the layout functions. */
export function abiModules(): string[] {
  const dir = join(ROOT, 'src/abi');
  return readdirSync(dir, { recursive: true })
    .map(String)
    .filter((f) => f.endsWith('.ts') && f !== 'layout.ts')
    .sort()
    .map((f) => join('src/abi', f));
}

/** Leaves a file alone that has the text already, so that nothing that depends on it looks changed. */
function writeIfChanged(file: string, text: string): void {
  try {
    if (readFileSync(file, 'utf8') === text) return;
  } catch {
    // not there yet
  }
  replaceFile(file, text);
}

export async function genAbi(outDir = join(ROOT, 'build/abi')): Promise<void> {
  const head = '// Generated by scripts/gen-abi.ts: do not edit.\n';
  mkdirSync(outDir, { recursive: true });
  writeIfChanged(join(outDir, 'xen.ts'), head + (await printModules(abiModules())));
  writeIfChanged(join(outDir, 'engine.ts'), head + (await printModules(ENGINE_MODULES.filter(exists))));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await genAbi(process.argv[2]);
