/** The options of `npm start`: one row each, from which both the parser and `--help` are made. */
import { parseArgs } from 'node:util';
import { GUEST_TYPES, type GuestType, vcpusRefused } from '../dom0/toolstack/config.ts';

/** Wrong options: the message says which, and what is wanted. */
export class UsageError extends Error {}

export interface Options {
  kernel?: string;
  ramdisk?: string;
  append: string;
  flavour: 'cloud' | 'generic';
  memory: number;
  vcpus: number;
  pcpus?: number;
  machineMemory: number;
  name: string;
  type: GuestType;
  logDir?: string;
  stats: boolean;
  profile?: string;
  symbols?: string;
  deterministic: boolean;
  noTranslate: boolean;
  translationMemory: number;
  help: boolean;
}

interface Row {
  readonly key: keyof Options;
  /** Placeholder of the value in the help; none for a switch. */
  readonly value?: string;
  readonly default?: string;
  readonly help: string;
  parse?(text: string): string | number;
}

const wholeNumber = (what: string, min: number, max: number) => (text: string) => {
  const n = Number(text);
  if (!/^\d+$/.test(text) || n < min || n > max)
    throw new UsageError(`${what} must be a whole number from ${min} to ${max}`);
  return n;
};

function flavour(text: string): string {
  if (text !== 'cloud' && text !== 'generic') throw new UsageError('the flavour is cloud or generic');
  return text;
}

function guestType(text: string): string {
  if (!GUEST_TYPES.some((type) => type === text)) throw new UsageError(`the type is ${GUEST_TYPES.join(' or ')}`);
  return text;
}

function domainName(text: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text))
    throw new UsageError('a name is up to 64 letters, digits, dots, dashes');
  return text;
}

const ROWS: readonly Row[] = [
  { key: 'kernel', value: 'FILE', help: "kernel to boot: bzImage or ELF (default: Debian's, fetched)" },
  { key: 'ramdisk', value: 'FILE', help: 'initial ramdisk (default: busybox with a shell)' },
  { key: 'append', value: 'TEXT', default: 'console=hvc0 earlyprintk=xen', help: "the kernel's command line" },
  {
    key: 'flavour',
    value: 'NAME',
    default: 'cloud',
    help: "which of Debian's kernels: cloud or generic",
    parse: flavour,
  },
  { key: 'memory', value: 'MiB', default: '256', help: "the guest's memory", parse: wholeNumber('memory', 1, 4096) },
  { key: 'vcpus', value: 'N', default: '1', help: "the guest's processors", parse: wholeNumber('vcpus', 1, 128) },
  {
    key: 'pcpus',
    value: 'N',
    help: "threads that run guests (default: the host's cores less one, no more than vcpus)",
    parse: wholeNumber('pcpus', 1, 64),
  },
  {
    key: 'machineMemory',
    value: 'MiB',
    default: '4096',
    help: 'address space of the machine; taken as it is touched',
    parse: wholeNumber('machine-memory', 128, 4096),
  },
  { key: 'name', value: 'NAME', default: 'guest', help: 'name of the domain', parse: domainName },
  { key: 'type', value: 'NAME', default: 'pv', help: 'kind of guest: pv or pvh', parse: guestType },
  { key: 'logDir', value: 'DIR', help: 'keep the console output in DIR/guest-NAME.log' },
  { key: 'stats', help: 'at the end, print times and counts' },
  { key: 'profile', value: 'FILE', help: 'where time goes, as a .cpuprofile (VS Code, Chrome, speedscope)' },
  { key: 'symbols', value: 'FILE,...', help: 'more symbols for it: System.map, /proc/kallsyms or ELF files' },
  { key: 'deterministic', help: 'guest time from instructions executed: every run alike' },
  { key: 'noTranslate', help: 'interpret everything: no guest code becomes WebAssembly' },
  {
    key: 'translationMemory',
    value: 'MiB',
    default: '200',
    help: 'for translated code, on each pCPU',
    parse: wholeNumber('translation-memory', 1, 2048),
  },
  { key: 'help', help: 'print this' },
];

const flag = (key: string) => key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);

export function parseOptions(args: readonly string[]): Options {
  const spec = Object.fromEntries(
    ROWS.map((row) => [flag(row.key), { type: row.value ? ('string' as const) : ('boolean' as const) }]),
  );
  let values: Record<string, string | boolean | undefined>;
  try {
    values = parseArgs({ args: [...args], options: spec, strict: true, allowPositionals: false })
      .values as typeof values;
  } catch (error) {
    throw new UsageError((error as Error).message.split('\n')[0]);
  }
  const options: Record<string, unknown> = {};
  for (const row of ROWS) {
    const given = values[flag(row.key)];
    if (!row.value) options[row.key] = given === true;
    else {
      const text = (given as string | undefined) ?? row.default;
      options[row.key] = text === undefined ? undefined : row.parse ? row.parse(text) : text;
    }
  }
  check(options as unknown as Options);
  return options as unknown as Options;
}

/** What does not go together. */
function check({ profile, symbols, deterministic, type, vcpus }: Options): void {
  const refused = vcpusRefused(type, vcpus);
  if (refused) throw new UsageError(`--vcpus ${vcpus}: ${refused}`);
  if (profile !== undefined && deterministic)
    throw new UsageError('--profile goes by the clock, --deterministic does not');
  if (symbols !== undefined && profile === undefined) throw new UsageError('--symbols is for --profile');
}

export function help(): string {
  const lines = ROWS.map((row) => {
    const left = `  --${flag(row.key)}${row.value ? ` ${row.value}` : ''}`;
    return `${left.padEnd(26)}${row.help}${row.default ? ` (default: ${row.default})` : ''}`;
  });
  return [
    'usage: npm start -- [options]',
    '',
    'Boots a Linux kernel as a PV or PVH domain. Ctrl-] leaves it.',
    '',
    ...lines,
  ].join('\n');
}
