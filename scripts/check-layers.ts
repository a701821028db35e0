/**
 * Keeps the layers apart (docs/architecture.md): a module may import from its own layer and those below. And in the
 * AssemblyScript parts, which several threads instantiate over one memory, mutable globals stand in percpu.ts alone.
 *
 * Usage: node scripts/check-layers.ts; prints what is wrong and exits 1.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Folders of src/, lowest first; those of one row do not know each other. */
const LAYERS: readonly (readonly string[])[] = [
  ['abi'],
  ['engine'],
  ['hypervisor', 'machine'],
  ['dom0'],
  ['api', 'image'],
  ['start', 'xl', 'sdk', 'web'],
];

/** Code for asc: several instances share its memory. */
const ASSEMBLYSCRIPT = ['src/hypervisor', 'src/engine/runtime'];

const IMPORT =
  /^\s*(?:import|export)\b[^'";]*?\bfrom\s*['"](\.[^'"]+)['"]|\bimport\(\s*['"](\.[^'"]+)['"]\s*\)|^\s*import\s+['"](\.[^'"]+)['"]/gm;
const MUTABLE_GLOBAL =
  /^(?:export\s+)?(?:let|var)\s+(\w+)|^\s+(?:(?:public|private|protected)\s+)?static\s+(?!readonly\b)(\w+)\s*[:=]/gm;

export function* sourceFiles(dir: string): Generator<string> {
  for (const entry of readdirSync(join(ROOT, dir), { withFileTypes: true })) {
    const path = `${dir}/${entry.name}`;
    if (entry.isDirectory()) yield* sourceFiles(path);
    else if (/\.[cm]?ts$/.test(entry.name)) yield path;
  }
}

/** Blanks out comments, keeping line numbers. */
const withoutComments = (text: string) =>
  text.replace(/\/\*[\s\S]*?\*\//g, (c) => c.replace(/[^\n]/g, ' ')).replace(/^\s*\/\/.*$/gm, '');

const lineOf = (text: string, at: number) => text.slice(0, at).split('\n').length;

function layerOf(path: string): { rank: number; name: string } | undefined {
  const [top, name] = path.split('/');
  const rank = top === 'src' ? LAYERS.findIndex((row) => row.includes(name)) : -1;
  return rank < 0 ? undefined : { rank, name };
}

/** What is wrong with imports from `path`, whose text is `text`. */
export function* wrongImports(path: string, text: string): Generator<string> {
  const own = layerOf(path);
  if (!own) {
    yield `${path}: its folder has no place among the layers; give it one in scripts/check-layers.ts`;
    return;
  }
  const code = withoutComments(text);
  for (const match of code.matchAll(IMPORT)) {
    const target = posix.normalize(posix.join(posix.dirname(path), match[1] ?? match[2] ?? match[3]));
    if (target.startsWith('build/')) continue; // generated from src/abi
    const where = `${path}:${lineOf(code, match.index)}`;
    const other = layerOf(target);
    if (!other) yield `${where}: imports ${target}, which is outside the layers`;
    else if (other.rank > own.rank) yield `${where}: ${own.name} imports ${target}: ${other.name} is above it`;
    else if (other.rank === own.rank && other.name !== own.name) {
      yield `${where}: ${own.name} imports ${target}: the two are of one layer and do not know each other`;
    }
  }
}

/** Mutable globals in AssemblyScript code outside percpu.ts. */
export function* mutableGlobals(path: string, text: string): Generator<string> {
  if (path.endsWith('/percpu.ts')) return;
  const code = withoutComments(text);
  for (const match of code.matchAll(MUTABLE_GLOBAL)) {
    const name = match[1] ?? match[2];
    yield `${path}:${lineOf(code, match.index + match[0].indexOf(name))}: mutable global ${name}: per-CPU state belongs in percpu.ts, shared state in machine memory`;
  }
}

function main(): void {
  const problems: string[] = [];
  let files = 0;
  for (const path of sourceFiles('src')) {
    files += 1;
    const text = readFileSync(join(ROOT, path), 'utf8');
    problems.push(...wrongImports(path, text));
    if (ASSEMBLYSCRIPT.some((dir) => path.startsWith(`${dir}/`))) problems.push(...mutableGlobals(path, text));
  }
  for (const dir of ASSEMBLYSCRIPT) if (!existsSync(join(ROOT, dir))) problems.push(`${dir} is missing`);
  for (const problem of problems) console.error(problem);
  console.log(`layers: ${files} files, ${problems.length} problems`);
  process.exitCode = problems.length > 0 ? 1 : 0;
}

if (process.argv[1] && relative(process.argv[1], fileURLToPath(import.meta.url)) === '') main();
