import { type Command, CommandError, EXIT, UsageError } from '../command.ts';
import { attachConsole, DEFAULT_ESCAPE } from '../console.ts';
import { findDomain } from '../domain.ts';

/** `^]` or one character. */
function escapeCode(text: string): number {
  const control = /^\^([@-_a-z])$/.exec(text);
  if (control) return control[1].toUpperCase().charCodeAt(0) & 0x1f;
  if (text.length !== 1) throw new UsageError(`escape character "${text}": one character, or ^ and a letter`);
  return text.charCodeAt(0);
}

export const consoleCommand: Command = {
  name: 'console',
  summary: "Attach to domain's console",
  usage: '[options] <Domain>',
  options: [
    { short: 't', value: '<type>', help: 'console type, pv , serial or vuart' },
    { short: 'n', value: '<number>', help: 'console number (default: 0; channels are 1 and up)' },
    { short: 'e', value: '<escape>', help: 'escape character' },
  ],
  atLeast: 1,
  async run({ client }, { positionals: [word], value }) {
    const type = value('t') ?? 'pv';
    if (type === 'serial' || type === 'vuart') throw new CommandError(`a PV guest has no ${type} console`);
    if (type !== 'pv') throw new UsageError('console type supported are: pv, serial, vuart');
    const number = value('n') ?? '0';
    if (!/^\d+$/.test(number)) throw new UsageError(`console number "${number}" is no number`);
    const key = value('e');
    const c = await client();
    const { domid } = await findDomain(c, word);
    if (domid === 0) throw new CommandError('domain 0 has no console');
    await attachConsole(await c.console(domid, Number(number)), key ? escapeCode(key) : DEFAULT_ESCAPE);
    return EXIT.SUCCESS;
  },
};
