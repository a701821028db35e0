import { type Command, CommandError, EXIT } from '../command.ts';
import { findDomain } from '../domain.ts';

export const destroy: Command = {
  name: 'destroy',
  summary: 'Terminate a domain immediately',
  usage: '[options] <Domain>',
  modifies: true,
  options: [{ short: 'f', help: 'Permit destroying domain 0; it is refused all the same: the host is in it.' }],
  atLeast: 1,
  async run({ client }, { positionals: [word], has }) {
    const c = await client();
    const { domid } = await findDomain(c, word);
    if (domid === 0) {
      throw new CommandError(
        has('f')
          ? 'domain 0 cannot be destroyed; `xl host stop` ends the host'
          : 'Not destroying domain 0; use -f to force.',
      );
    }
    await c.call('domain.destroy', { domain: domid });
    return EXIT.SUCCESS;
  },
};
