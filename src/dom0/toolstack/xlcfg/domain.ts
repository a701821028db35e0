/** From a configuration file to a domain's spec, as `xl create` reads it (xl.cfg(5)). */
import { resolve } from 'node:path';
import { ToolstackError } from '../error.ts';
import { type DomainSpec, parseSpec, SpecError } from '../spec.ts';
import { parseDisk } from './disk.ts';
import { KEYS } from './keys.ts';
import { parseCfg } from './parser.ts';
import { CfgError, CfgReader, formatProblem } from './reader.ts';
import { parseVif } from './vif.ts';

/** MiB that libxl gives a guest whose file does not say. */
const DEFAULT_MEMORY = 32;
const SUPPORT = 'not supported yet; see docs/SUPPORT.md';

export interface ParsedDomain {
  readonly spec: DomainSpec;
  /** What is accepted without effect, one line each, with file, line and key. */
  readonly warnings: readonly string[];
}

export interface DomainFileOptions {
  /** How to call the file in messages. */
  readonly name: string;
  /** Where relative names of files begin. */
  readonly cwd: string;
}

/** Throws CfgSyntaxError, or CfgError with everything that is wrong. */
export function parseDomainFile(source: string, { name, cwd }: DomainFileOptions): ParsedDomain {
  const r = new CfgReader(parseCfg(source, name));
  const spec: Record<string, unknown> = {};
  spec.type = guestType(r);
  for (const key of r.file.keys()) {
    const row = KEYS.get(key);
    if (row) row(r, key, spec);
    else r.warn(key, 'is no key of xl.cfg; ignored');
  }
  if (!r.file.has('name')) r.problem('', 'Domain name must be specified.');
  spec.memory = r.file.has('memory') ? r.number('memory') : (spec.maxmem ?? DEFAULT_MEMORY);
  spec.cmdline = commandLine(r);
  for (const key of ['kernel', 'ramdisk']) {
    // With a boot loader they are paths in the guest.
    if (typeof spec[key] === 'string' && spec.bootloader === undefined) spec[key] = resolve(cwd, spec[key]);
  }
  if (r.file.has('disk')) spec.disk = disks(r, cwd);
  if (r.file.has('vif')) spec.vif = nics(r, cwd);
  if (r.problems.length > 0) throw new CfgError(name, r.problems);
  const warnings = r.warnings.map((w) => formatProblem(name, { ...w, message: `warning: ${w.message}` }));
  try {
    return { spec: parseSpec(spec), warnings };
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    throw new CfgError(
      name,
      error.problems.map(({ key, message }) => ({ key, message, line: r.line(key.split('.')[0]) })),
    );
  }
}

/** `type=`, or `builder=` of older files; as xl, a beginning of the word will do. `pv` if there is neither, as with xl. */
function guestType(r: CfgReader): string {
  const types: Record<string, readonly string[]> = { type: ['hvm', 'pv', 'pvh'], builder: ['hvm', 'generic'] };
  const kinds = new Set<string>();
  for (const [key, words] of Object.entries(types)) {
    const value = r.string(key);
    if (value === undefined) continue;
    const word = words.find((w) => w.startsWith(value));
    if (word === undefined) r.problem(key, `Invalid domain type ${value}.`);
    else {
      kinds.add(word === 'generic' ? 'pv' : word);
      if (word === 'hvm') r.problem(key, `${word} guests are ${SUPPORT}`);
    }
  }
  if (kinds.size > 1) r.problem('type', 'Contradicting "builder" and "type" options specified.');
  return kinds.has('pvh') ? 'pvh' : 'pv';
}

/** `cmdline=`, or `root=` and `extra=`. */
function commandLine(r: CfgReader): string {
  const [whole, root, extra] = [r.string('cmdline'), r.string('root'), r.string('extra')];
  if (whole !== undefined) {
    if (root !== undefined || extra !== undefined)
      r.warn('cmdline', 'root= and extra= are ignored in favour of cmdline=');
    return whole;
  }
  return [root === undefined ? undefined : `root=${root}`, extra].filter((part) => part !== undefined).join(' ');
}

/** Runs `parse` on each string of a list; what it refuses is a problem of the key. */
function each<T>(r: CfgReader, key: string, parse: (text: string) => T): T[] {
  return (r.strings(key) ?? []).flatMap((text) => {
    try {
      return [parse(text)];
    } catch (error) {
      if (!(error instanceof ToolstackError)) throw error;
      r.problem(key, `'${text}': ${error.message}`);
      return [];
    }
  });
}

function disks(r: CfgReader, cwd: string): unknown[] {
  // Relative names are of files here, as kernel= is; xl looks for them in /dev.
  const absolute = (target: string) => (target === '' ? '' : resolve(cwd, target));
  return each(r, 'disk', (text) => {
    const disk = parseDisk(text);
    return { ...disk, target: absolute(disk.target) };
  });
}

function nics(r: CfgReader, cwd: string): unknown[] {
  return each(r, 'vif', (text) => {
    const nic = parseVif(text);
    return nic.capture === undefined ? nic : { ...nic, capture: resolve(cwd, nic.capture) };
  });
}
