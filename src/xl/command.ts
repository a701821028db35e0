/** A subcommand of xl: a row of the table (table.ts), which is the default of a file in commands/. */
import { parseArgs } from 'node:util';
import type { Client } from '../api/client.ts';
import type { HostPaths } from '../api/paths.ts';
import type { XlConf } from './conf.ts';

export interface OptionRow {
  /** One letter; none for a long option alone. */
  readonly short?: string;
  readonly long?: string;
  /** Placeholder of its value in the help; none for a switch. */
  readonly value?: string;
  readonly help: string;
}

/** Options by their long name, or letter where there is none; each as often as it was given. */
export interface Arguments {
  has(option: string): boolean;
  count(option: string): number;
  /** The last value given, or all of them. */
  value(option: string): string | undefined;
  values(option: string): readonly string[];
  readonly positionals: readonly string[];
}

/** What a command works with. */
export interface Context {
  readonly paths: HostPaths;
  readonly cwd: string;
  /** The host, started if there is none. */
  readonly client: () => Promise<Client>;
  /** A line for standard output, or for standard error. */
  readonly print: (line: string) => void;
  readonly say: (line: string) => void;
  /** xl.conf. */
  readonly conf: () => Promise<XlConf>;
  /** Brings what is generated up to date, in a checkout: for the host process, before it makes a machine. */
  readonly build: () => Promise<void>;
  /** -N, or the command's own: do not do it. */
  readonly dryRun: boolean;
}

export interface Command {
  readonly name: string;
  readonly summary: string;
  /** Its arguments, as in the help. */
  readonly usage: string;
  readonly options?: readonly OptionRow[];
  /** More lines for the help. */
  readonly notes?: string;
  readonly canDryRun?: boolean;
  readonly modifies?: boolean;
  /** Takes any words after it: it refuses them all. */
  readonly lenient?: boolean;
  /** Least number of arguments that are no options. */
  readonly atLeast?: number;
  /** Returns the exit status. */
  run(context: Context, args: Arguments): Promise<number> | number;
}

/** Wrong arguments: said to the user, followed by the command's help where `help` is true. Exit status 2, as xl's. */
export class UsageError extends Error {
  readonly help: boolean;

  constructor(message: string, help = false) {
    super(message);
    this.help = help;
  }
}

/** Something that cannot be done, as the user is to read it. Exit status 1. */
export class CommandError extends Error {}

export const EXIT = { SUCCESS: 0, FAILURE: 1, USAGE: 2 } as const;

const keyOf = (o: OptionRow) => o.long ?? o.short!;

/** Reads the words after the command's name; throws UsageError. `undefined`: -h was among them. */
export function parseArguments(command: Command, words: readonly string[]): Arguments | undefined {
  if (command.lenient)
    return { has: () => false, count: () => 0, value: () => undefined, values: () => [], positionals: words };
  const rows = [...(command.options ?? []), { short: 'h', long: 'help', help: '' }];
  const options: Record<string, { type: 'string' | 'boolean'; short?: string; multiple: true }> = {};
  for (const row of rows) {
    options[keyOf(row)] = { type: row.value ? 'string' : 'boolean', multiple: true };
    if (row.short && row.long) options[row.long].short = row.short;
    else if (row.short) options[row.short].short = row.short;
  }
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...words], options, allowPositionals: true, strict: true }) as typeof parsed;
  } catch (error) {
    const unknown = /Unknown option '([^']+)'/.exec((error as Error).message)?.[1].replace(/^-+/, '');
    throw new UsageError(unknown ? `option \`${unknown}' not supported.` : (error as Error).message.split('\n')[0]);
  }
  const given = (name: string) => (parsed.values[name] ?? []) as unknown[];
  if (given('help').length > 0) return undefined;
  const { atLeast = 0 } = command;
  if (parsed.positionals.length < atLeast) {
    throw new UsageError(
      `'xl ${command.name}' requires at least ${atLeast} argument${atLeast > 1 ? 's' : ''}.\n`,
      true,
    );
  }
  return {
    has: (name) => given(name).length > 0,
    count: (name) => given(name).length,
    value: (name) => given(name).at(-1) as string | undefined,
    values: (name) => given(name) as string[],
    positionals: parsed.positionals,
  };
}
