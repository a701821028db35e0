import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseDomainFile } from '../../dom0/toolstack/xlcfg/domain.ts';
import { type Arguments, type Command, CommandError, type Context, EXIT, UsageError } from '../command.ts';
import { attachConsole } from '../console.ts';

/**
 * The text of a configuration: of a file, with the `key=value` words of the command line after it. `/dev/null` stands for
 * no file. Shared with config-update.
 */
export function configuration(
  { cwd, say }: Context,
  args: Arguments,
  words: readonly string[],
): ReturnType<typeof parseDomainFile> & { name: string } {
  let file = args.value('defconfig');
  const extra: string[] = [];
  for (const word of words) {
    if (word.includes('=')) extra.push(word);
    else if (file === undefined) file = word;
    else throw new UsageError(`more than one configuration file: ${file}, ${word}`, true);
  }
  const name = file ?? '<command line>';
  let text = '';
  if (file !== undefined && file !== '/dev/null') {
    try {
      text = readFileSync(resolve(cwd, file), 'utf8');
    } catch (error) {
      throw new CommandError(`Failed to read config file: ${file}: ${(error as Error).message}`);
    }
  }
  if (!args.has('quiet')) say(`Parsing config from ${name}`);
  if (extra.length > 0) text += `\n${extra.join('\n')}\n`;
  const parsed = parseDomainFile(text, { name, cwd });
  if (!args.has('quiet')) for (const warning of parsed.warnings) say(warning);
  return { ...parsed, name };
}

export const create: Command = {
  name: 'create',
  summary: 'Create a domain from config file <filename>',
  usage: '<ConfigFile> [options] [vars]',
  canDryRun: true,
  modifies: true,
  options: [
    { short: 'c', help: 'Connect to the console after the domain is created.' },
    { short: 'd', help: 'Enable debug messages.' },
    { short: 'e', help: 'Do not wait in the background for the death of the domain.' },
    { short: 'F', help: 'Run in foreground until death of the domain.' },
    { short: 'f', long: 'defconfig', value: 'FILE', help: 'Use the given configuration file.' },
    { short: 'n', long: 'dryrun', help: 'Dry run - prints the resulting configuration.' },
    { short: 'p', help: 'Leave the domain paused after it is created.' },
    { short: 'q', long: 'quiet', help: 'Quiet.' },
    { short: 'V', long: 'vncviewer', help: 'Connect to the VNC display after the domain is created.' },
    { short: 'A', long: 'vncviewer-autopass', help: 'Pass VNC password to viewer via stdin.' },
    { long: 'ignore-global-affinity-masks', help: 'Ignore global masks in xl.conf.' },
  ],
  async run(context, args) {
    for (const option of ['vncviewer', 'vncviewer-autopass']) {
      if (args.has(option)) throw new CommandError(`--${option}: VNC is not supported yet; see docs/SUPPORT.md`);
    }
    const { spec } = configuration(context, args, args.positionals);
    const dryRun = context.dryRun || args.has('dryrun');
    if (dryRun || args.has('d')) (dryRun ? context.print : context.say)(JSON.stringify(spec, null, 4));
    if (dryRun) return EXIT.SUCCESS;
    const client = await context.client();
    const debug = (message: string) => args.has('d') && context.say(`xl: ${message}`);
    const withConsole = args.has('c');
    const paused = args.has('p');
    const { domid } = await client.call(
      'domain.create',
      { config: spec, paused: paused || withConsole, monitor: !args.has('e') },
      debug,
    );
    if (withConsole) {
      const ended = attachConsole(await client.console(domid));
      if (!paused) await client.call('domain.unpause', { domain: domid });
      await ended;
    }
    if (args.has('F')) {
      for await (const event of client.events()) {
        if (event.type === 'domain.state' && event.domid === domid && event.state === 'destroyed') break;
      }
    }
    return EXIT.SUCCESS;
  },
};
