/**
 * What is built once, and again when its sources or its outputs are others than then. Several builds may run at once, of
 * different states of the sources even: a part counts as built only if its outputs are those that were made from its inputs
 * as they are now. Nothing is locked: two builds may do the same work, and a mixture of their outputs is built anew.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, type Stats, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { touched } from '../src/dom0/toolstack/touched.ts';

export interface Part {
  readonly name: string;
  /** Files and folders whose content decides, from the root. What other parts make may be among them. */
  readonly inputs: readonly string[];
  /** Files and folders that it makes, from the root. */
  readonly outputs: readonly string[];
  /** What else they depend on. */
  readonly key?: () => Promise<string>;
  /** Makes them; returns what there is to say. */
  readonly run: () => Promise<string>;
}

interface Stamp {
  readonly inputs: string;
  readonly outputs: string;
  /** As `look` found all of them when their content was last compared. */
  readonly seen?: string;
}

/** Builds of a part whose inputs change meanwhile, before it is left as it is: the next build goes on. */
const ATTEMPTS = 3;

function* files(path: string, kind: Pick<Stats, 'isDirectory' | 'isFile'> | undefined = stat(path)): Generator<string> {
  if (kind?.isDirectory()) {
    const names = readdirSync(path, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const f of names) {
      const at = join(path, f.name);
      yield* files(at, f.isDirectory() || f.isFile() ? f : stat(at));
    }
  } else if (kind) yield path;
}
const stat = (path: string): Stats | undefined => statSync(path, { throwIfNoEntry: false });

/** Of the content of files and folders; '' for none. */
function digest(root: string, paths: readonly string[]): string {
  const h = createHash('sha256');
  let found = false;
  for (const file of paths.flatMap((p) => [...files(join(root, p))])) {
    found = true;
    h.update(file.slice(root.length)).update('\0').update(readFileSync(file)).update('\0');
  }
  return found ? h.digest('hex') : '';
}

type Looks = Map<string, ReturnType<typeof touched>>;

/** As `touched`, of all files of a part: `settled` if each of them is. Files that were looked at before, `looks`, are not again. */
function look(
  root: string,
  part: Part,
  key: string,
  looks: Looks = new Map(),
): { readonly seen: string; readonly settled: boolean } {
  const h = createHash('sha256').update(key);
  let settled = true;
  for (const file of [...part.inputs, ...part.outputs].flatMap((p) => [...files(join(root, p))])) {
    const found = looks.get(file) ?? touched(statSync(file, { bigint: true }));
    looks.set(file, found);
    settled &&= found.settled;
    h.update([file.slice(root.length), found.state, ''].join('\0'));
  }
  return { seen: h.digest('hex'), settled };
}

/** Are the parts as they were when their content was last compared? False says nothing. */
export async function areAsSeen(root: string, stamps: string, parts: readonly Part[]): Promise<boolean> {
  const looks: Looks = new Map();
  for (const part of parts) {
    const seen = readStamp(join(stamps, `${part.name}.json`))?.seen;
    if (seen === undefined || seen !== look(root, part, (await part.key?.()) ?? '', looks).seen) return false;
  }
  return true;
}

/** Others see the old file or the new one, never a part of it. */
export function replaceFile(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, content);
  renameSync(temporary, path);
}

function readStamp(path: string): Stamp | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined; // none, or damaged
  }
}

/** Builds the part if need be; stamps are kept in `stamps`, a folder. Returns whether it was built. */
export async function bringUpToDate(
  root: string,
  stamps: string,
  part: Part,
  options: { readonly force?: boolean; readonly log?: (line: string) => void } = {},
): Promise<boolean> {
  const { force = false, log = () => {} } = options;
  const stampFile = join(stamps, `${part.name}.json`);
  const key = (await part.key?.()) ?? '';
  let built = false;
  const { seen, settled } = look(root, part, key);
  if (!force && readStamp(stampFile)?.seen === seen) return false;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const inputs = digest(root, part.inputs) + key;
    const stamp = readStamp(stampFile);
    const fresh = stamp?.inputs === inputs && stamp.outputs !== '' && stamp.outputs === digest(root, part.outputs);
    if (fresh && !(force && !built)) {
      // What was looked at before it was read has not changed since.
      if (settled && !built) replaceFile(stampFile, JSON.stringify({ ...stamp, seen } satisfies Stamp));
      return built;
    }
    const t = performance.now();
    const what = await part.run();
    built = true;
    log(`build: ${part.name}: ${what} (${((performance.now() - t) / 1000).toFixed(1)} s)`);
    // Sources that were changed on the way are in the outputs or not: neither is known.
    if (digest(root, part.inputs) + key !== inputs) continue;
    replaceFile(stampFile, JSON.stringify({ inputs, outputs: digest(root, part.outputs) } satisfies Stamp));
    return true;
  }
  return built;
}
