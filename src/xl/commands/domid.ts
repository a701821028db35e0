import { type Command, CommandError, EXIT } from '../command.ts';

export const domid: Command = {
  name: 'domid',
  summary: 'Convert a domain name to domain id',
  usage: '<DomainName>',
  atLeast: 1,
  async run({ client, print }, { positionals: [name] }) {
    const c = await client();
    const found = (await c.call('domain.list', {})).find((d) => d.name === name);
    if (!found) {
      throw new CommandError(`Can't get domid of domain name '${name}', maybe this domain does not exist.`);
    }
    print(`${found.domid}`);
    return EXIT.SUCCESS;
  },
};
