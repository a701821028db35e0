/** The commands of xl, in the order of `xl help`. */
import type { Command } from './command.ts';
import { consoleCommand } from './commands/console.ts';
import { create } from './commands/create.ts';
import { destroy } from './commands/destroy.ts';
import { dumpCoreCommand } from './commands/dump-core.ts';
import { help } from './commands/help.ts';
import { host } from './commands/host.ts';
import { list } from './commands/list.ts';

export const COMMANDS: readonly Command[] = [create, list, destroy, consoleCommand, dumpCoreCommand, host, help];

/** By name or unambiguous beginning of it. */
export function findCommand(word: string): Command | undefined {
  const exact = COMMANDS.find((c) => c.name === word);
  if (exact) return exact;
  const candidates = COMMANDS.filter((c) => c.name.startsWith(word));
  return candidates.length === 1 ? candidates[0] : undefined;
}
