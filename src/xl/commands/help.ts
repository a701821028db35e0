import { type Command, EXIT } from '../command.ts';
import { commandHelp, commandList } from '../help.ts';
import { findCommand } from '../table.ts';

export const help: Command = {
  name: 'help',
  summary: 'Print help about xl or one of its commands',
  usage: '[--long] [<Command>]',
  options: [{ long: 'long', help: 'the full list; that is what is printed in any case' }],
  run({ print }, { positionals: [name] }) {
    const command = name === undefined || name === 'help' ? undefined : findCommand(name);
    if (name !== undefined && name !== 'help' && !command) print(`command "${name}" not implemented`);
    else for (const line of command ? commandHelp(command) : commandList()) print(line);
    return EXIT.SUCCESS;
  },
};
