import { type Command, CommandError, EXIT } from '../command.ts';

export const domname: Command = {
  name: 'domname',
  summary: 'Convert a domain id to domain name',
  usage: '<DomainId>',
  atLeast: 1,
  async run({ client, print }, { positionals: [id] }) {
    if (!/^\d+$/.test(id)) throw new CommandError('Invalid domain id.\n');
    const c = await client();
    const found = (await c.call('domain.list', {})).find((d) => d.domid === Number(id));
    if (!found) {
      throw new CommandError(`Can't get domain name of domain id '${id}', maybe this domain does not exist.`);
    }
    print(found.name);
    return EXIT.SUCCESS;
  },
};
