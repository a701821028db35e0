/** The configuration that `create` and `config-update` are given: a file, and `key=value` words after it. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { DomainSpec } from '../dom0/toolstack/spec.ts';
import { parseDomainFile } from '../dom0/toolstack/xlcfg/domain.ts';
import { type Arguments, CommandError, type Context, UsageError } from './command.ts';

/** `/dev/null` stands for no file. The defaults of xl.conf are filled in. Warnings and, if asked for, progress are said. */
export async function configuration(context: Context, args: Arguments, words: readonly string[]): Promise<DomainSpec> {
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
      text = readFileSync(resolve(context.cwd, file), 'utf8');
    } catch (error) {
      throw new CommandError(`Failed to read config file: ${file}: ${(error as Error).message}`);
    }
  }
  if (!args.has('quiet')) context.say(`Parsing config from ${name}`);
  if (extra.length > 0) text += `\n${extra.join('\n')}\n`;
  const { spec, warnings } = parseDomainFile(text, { name, cwd: context.cwd });
  if (!args.has('quiet')) for (const warning of warnings) context.say(warning);
  const { defaults } = await context.conf();
  return { ...defaults, ...spec };
}
