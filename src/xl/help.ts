/** `xl help`, made from the table. */
import type { Command, OptionRow } from './command.ts';
import { COMMANDS } from './table.ts';

const NAME_WIDTH = 19;
const OPTION_WIDTH = 24;

export function commandList(): string[] {
  const lines = ['Usage xl [-vfNtT] <subcommand> [args]', '', 'xl full list of subcommands:', ''];
  for (const { name, summary } of COMMANDS) {
    if (name.length > NAME_WIDTH) lines.push(` ${name} `, ` ${' '.repeat(NAME_WIDTH)} ${summary}`);
    else lines.push(` ${name.padEnd(NAME_WIDTH)} ${summary}`);
  }
  return lines;
}

export function commandHelp(command: Command): string[] {
  const flags = `${command.modifies ? 'f' : ''}${command.canDryRun ? 'N' : ''}`;
  const lines = [`Usage: xl [-vtT${flags}] ${command.name} ${command.usage}`, '', `${command.summary}.`, ''];
  const rows = (command.options ?? []).map(optionLine);
  if (command.notes) rows.push(...command.notes.split('\n'));
  if (rows.length > 0) lines.push('Options:', '', ...rows, '');
  return lines;
}

function optionLine({ short, long, value, help }: OptionRow): string {
  const forms = [
    short && `-${short}${value && !long ? ` ${value}` : value ? ` ${value}` : ''}`,
    long && `--${long}${value ? `=${value}` : ''}`,
  ].filter((form) => form);
  return `${forms.join(', ').padEnd(OPTION_WIDTH)}${help}`;
}
