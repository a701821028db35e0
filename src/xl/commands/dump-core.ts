import { resolve } from 'node:path';
import { type Command, EXIT } from '../command.ts';
import { findDomain } from '../domain.ts';

export const dumpCoreCommand: Command = {
  name: 'dump-core',
  summary: 'Core dump a domain',
  usage: '<Domain> <filename>',
  modifies: true,
  atLeast: 2,
  async run({ client, cwd }, { positionals: [word, file] }) {
    const c = await client();
    const { domid } = await findDomain(c, word);
    await c.call('domain.dumpCore', { domain: domid, file: resolve(cwd, file) });
    return EXIT.SUCCESS;
  },
};
