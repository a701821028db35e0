/** `xl`: a thin face of the host process (src/api), with the commands, options and output of Xen's xl. */
import { ApiError, type Client, NoHostError } from '../api/client.ts';
import { connectOrStart } from '../api/connect.ts';
import { hostPaths } from '../api/paths.ts';
import { ToolstackError } from '../dom0/toolstack/error.ts';
import { CommandError, type Context, EXIT, parseArguments, UsageError } from './command.ts';
import { readConf, type XlConf } from './conf.ts';
import { commandHelp, commandList } from './help.ts';
import { findCommand } from './table.ts';

export interface XlOptions {
  /** Where names of files are relative to. */
  readonly cwd: string;
  /** See Context.build. */
  readonly build?: () => Promise<void>;
}

const print = (line: string) => process.stdout.write(`${line}\n`);
const say = (line: string) => process.stderr.write(`${line}\n`);

interface GlobalOptions {
  verbose: boolean;
  dryRun: boolean;
  rest: readonly string[];
}

/** `-vftTN` before the command; what is said of a terminal's width or of another daemon has no use here. */
function globalOptions(words: readonly string[]): GlobalOptions {
  const out: GlobalOptions = { verbose: false, dryRun: false, rest: words };
  while (out.rest[0]?.startsWith('-') && out.rest[0].length > 1) {
    for (const letter of out.rest[0].slice(1)) {
      if (!'vftTN'.includes(letter)) throw new UsageError('unknown global option');
      if (letter === 'v') out.verbose = true;
      if (letter === 'N') out.dryRun = true;
    }
    out.rest = out.rest.slice(1);
  }
  return out;
}

/** Returns the exit status. */
export async function main(words: readonly string[], options: XlOptions): Promise<number> {
  let client: Client | undefined;
  let conf: XlConf | undefined;
  try {
    const { verbose, dryRun, rest } = globalOptions(words);
    const [name, ...args] = rest;
    if (name === undefined) {
      for (const line of commandList()) print(line);
      return EXIT.FAILURE;
    }
    const command = findCommand(name);
    if (!command) throw new CommandError('command not implemented');
    if (dryRun && !command.canDryRun) throw new CommandError('command does not implement -N (dryrun) option');
    const paths = hostPaths();
    const context: Context = {
      paths,
      cwd: options.cwd,
      dryRun,
      conf: async () => {
        if (!conf) {
          conf = readConf();
          for (const warning of conf.warnings) say(warning);
        }
        return conf;
      },
      build: options.build ?? (async () => {}),
      print,
      say,
      client: async () => {
        client ??= await connectOrStart(paths, (line) => verbose && say(`xl: ${line}`));
        return client;
      },
    };
    try {
      const parsed = parseArguments(command, args);
      if (parsed) return await command.run(context, parsed);
      for (const line of commandHelp(command)) print(line);
      return EXIT.SUCCESS;
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      say(error.message);
      if (error.help) for (const line of commandHelp(command)) print(line);
      return EXIT.USAGE;
    }
  } catch (error) {
    return failed(error);
  } finally {
    client?.close();
  }
}

/** Errors that say what the user can do; of others the place is shown. */
function failed(error: unknown): number {
  const known = [CommandError, UsageError, ApiError, NoHostError, ToolstackError].some((kind) => error instanceof kind);
  say(known ? (error as Error).message : `xl: ${(error as Error).stack ?? error}`);
  return EXIT.FAILURE;
}
