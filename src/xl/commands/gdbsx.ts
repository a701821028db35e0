import { resolve } from 'node:path';
import { type Command, EXIT } from '../command.ts';
import { findDomain } from '../domain.ts';

/** Named after Xen's program: there it is one of its own, here the host serves gdb itself. */
export const gdbsx: Command = {
  name: 'gdbsx',
  summary: "Let gdb debug a domain's kernel",
  usage: '<Domain> <port | socket path>',
  modifies: true,
  atLeast: 2,
  async run({ client, cwd, print }, { positionals: [word, where] }) {
    const c = await client();
    const { domid } = await findDomain(c, word);
    const at = /^\d+$/.test(where) ? Number(where) : resolve(cwd, where);
    const { address } = await c.call('domain.debug', { domain: domid, at });
    print(`target remote ${address}`);
    return EXIT.SUCCESS;
  },
};
