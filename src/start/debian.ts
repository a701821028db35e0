/**
 * Debian's kernels and busybox, fetched as the user that runs this: `apt-get download` and `dpkg-deb`, no root. The system's
 * own package lists are used where they know the package; otherwise (a fresh container, another architecture, lists that
 * are too old) lists of our own are fetched into the cache.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, join, matchesGlob } from 'node:path';
import { promisify } from 'node:util';
import type { KernelImage } from '../dom0/toolstack/boot-files.ts';
import type { Cache } from '../dom0/toolstack/cache.ts';
import type { CacheFile } from '../dom0/toolstack/cache-file.ts';
import { copyOf } from '../dom0/toolstack/kernel/bytes.ts';

const run = promisify(execFile);

/** What keeps a package from being fetched, in words for the user. */
export class FetchError extends Error {}

export type Say = (line: string) => void;

interface Fetched {
  readonly package: string;
  readonly hashes: readonly string[];
}

interface PackageFiles {
  /** Name of the package that has the files: the one asked for, or the one it depends on. */
  readonly package: string;
  /** One for each that was wanted. */
  readonly files: readonly CacheFile[];
  /** Whether it had to be fetched now. */
  readonly fetched: boolean;
}

export interface PackageFile {
  readonly package: string;
  readonly bytes: Uint8Array;
  readonly fetched: boolean;
}

export interface DebianKernel extends Omit<PackageFile, 'bytes'> {
  readonly image: KernelImage;
  /** What `uname -r` prints. */
  readonly release: string;
  /** The modules that were asked for, by name. Those of Xen's devices need no others. */
  readonly modules: ReadonlyMap<string, Uint8Array>;
}

/** Front ends that are modules in both flavours, by the folder below `kernel/drivers`. */
export const FRONT_ENDS: Readonly<Record<string, string>> = { 'xen-blkfront': 'block', 'xen-netfront': 'net' };

/** Debian's kernel for x86-64; `flavour` as in the name of the package. `which` modules: as FRONT_ENDS, which are the default. */
export async function debianKernel(
  cache: Cache,
  flavour: 'cloud' | 'generic',
  say: Say,
  which: Readonly<Record<string, string>> = FRONT_ENDS,
): Promise<DebianKernel> {
  const meta = flavour === 'cloud' ? 'linux-image-cloud-amd64' : 'linux-image-amd64';
  const modules = Object.entries(which);
  const wanted = [
    './boot/vmlinuz-*',
    ...modules.map(([name, dir]) => `./lib/modules/*/kernel/drivers/${dir}/${name}.ko`),
  ];
  const { files, ...from } = await packageFiles(cache, meta, wanted, say, /^linux-image-\d/);
  return {
    ...from,
    image: { hash: files[0].known.hash, isElf: false, read: () => copyOf(files[0]) },
    release: from.package.replace(/^linux-image-/, ''),
    modules: new Map(modules.map(([name], i) => [name, copyOf(files[i + 1])])),
  };
}

export async function debianBusybox(cache: Cache, say: Say): Promise<PackageFile> {
  const { files, ...from } = await packageFiles(cache, 'busybox-static', ['./bin/busybox'], say);
  return { ...from, bytes: copyOf(files[0]) };
}

/**
 * Files of a package, each named by a pattern of tar's, from the cache if they were fetched before. `depends` names the
 * package behind a meta-package.
 */
async function packageFiles(
  cache: Cache,
  name: string,
  wanted: readonly string[],
  say: Say,
  depends?: RegExp,
): Promise<PackageFiles> {
  const note = `debian-files-${name}`;
  const known = cache.note(note) as Fetched | undefined;
  const kept = known?.hashes.flatMap((hash) => cache.contentFile(hash) ?? []);
  if (known && kept?.length === wanted.length) return { package: known.package, files: kept, fetched: false };
  const scratch = cache.scratch();
  try {
    const real = await download(cache, name, depends, scratch, say);
    const files = (await unpack(scratch, wanted)).map((bytes) => cache.addFile(bytes));
    cache.setNote(note, { package: real, hashes: files.map((f) => f.known.hash) } satisfies Fetched);
    return { package: real, files, fetched: true };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Leaves one .deb in `dir`; returns the package's name. */
async function download(
  cache: Cache,
  name: string,
  depends: RegExp | undefined,
  dir: string,
  say: Say,
): Promise<string> {
  const attempt = async (options: string[]) => {
    const real = depends ? await dependency(name, depends, options) : name;
    say(`fetching ${real}`);
    await tool('apt-get', ['-q', ...options, 'download', real], dir);
    return real;
  };
  if (process.arch === 'x64') {
    try {
      return await attempt([]);
    } catch (error) {
      if (isMissing(error)) throw new FetchError('this system has no apt-get');
    }
  }
  const options = privateLists(cache);
  say('fetching package lists');
  try {
    await tool('apt-get', ['-q', ...options, 'update'], dir);
    return await attempt(options);
  } catch (error) {
    if (isMissing(error)) throw new FetchError('this system has no apt-get');
    throw new FetchError(`${name} cannot be fetched from Debian: ${lastError(error)}`);
  }
}

/** The newest package that a meta-package stands for. */
async function dependency(name: string, wanted: RegExp, options: string[]): Promise<string> {
  const out = await tool('apt-cache', [...options, 'depends', '--important', name]);
  const found = /^\s*Depends:\s*(\S+)/gm;
  for (const [, candidate] of out.matchAll(found)) if (wanted.test(candidate)) return candidate;
  throw new FetchError(`${name} stands for no kernel`);
}

/** Options that make apt keep everything in the cache folder and look at the system's sources only. */
function privateLists(cache: Cache): string[] {
  const dir = join(cache.dir, 'apt');
  mkdirSync(join(dir, 'lists', 'partial'), { recursive: true });
  mkdirSync(join(dir, 'archives', 'partial'), { recursive: true });
  const settings = {
    'Dir::State': dir,
    'Dir::State::Lists': join(dir, 'lists'),
    'Dir::State::status': '/var/lib/dpkg/status',
    'Dir::Cache': dir,
    'APT::Architecture': 'amd64',
    'APT::Architectures': 'amd64',
    'Acquire::Languages': 'none',
  };
  return Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
}

/** Of the .deb in `dir`, the file that each pattern matches; `*` stands in them for anything. */
async function unpack(dir: string, wanted: readonly string[]): Promise<Uint8Array[]> {
  const deb = readdirSync(dir).find((name) => name.endsWith('.deb'));
  if (!deb) throw new FetchError('apt-get download left no package');
  const out = join(dir, 'out');
  mkdirSync(out);
  // The packages hold far more than these files. The folders do not matter here.
  const script =
    'deb=$1 out=$2; shift 2; dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$out" --wildcards --transform "s:.*/::" "$@"';
  try {
    await run('bash', ['-o', 'pipefail', '-c', script, 'unpack', join(dir, deb), out, ...wanted]);
  } catch (error) {
    throw new FetchError(`${deb} cannot be unpacked: ${lastError(error)}`);
  }
  const names = readdirSync(out);
  return wanted.map((pattern) => {
    const name = names.find((candidate) => matchesGlob(candidate, basename(pattern)));
    if (!name) throw new FetchError(`${deb} has no ${pattern}`);
    return readFileSync(join(out, name));
  });
}

/** apt as root would drop to a user that cannot write to the cache. */
async function tool(command: string, args: string[], cwd?: string): Promise<string> {
  const env = { ...process.env, LC_ALL: 'C' };
  const sandbox = ['-o', 'APT::Sandbox::User=root'];
  const { stdout } = await run(command, [...sandbox, ...args], { cwd, env, maxBuffer: 1 << 24 });
  return stdout;
}

const isMissing = (error: unknown) => (error as NodeJS.ErrnoException).code === 'ENOENT';

function lastError(error: unknown): string {
  const { stderr = '', message } = error as Error & { stderr?: string };
  const lines = stderr.split('\n').filter((line) => line.startsWith('E:') || line.includes('rror'));
  return lines.at(-1) ?? message.split('\n')[0];
}
