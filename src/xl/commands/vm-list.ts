import { type Command, EXIT } from '../command.ts';

export const vmList: Command = {
  name: 'vm-list',
  summary: 'List guest domains, excluding dom0, stubdoms, etc.',
  usage: '',
  async run({ client, print }) {
    const c = await client();
    print('UUID                                  ID    name');
    for (const { domid, uuid, name, neverStop } of await c.call('domain.list', {})) {
      if (!neverStop) print(`${uuid}  ${domid}    ${name.padEnd(30)}`);
    }
    return EXIT.SUCCESS;
  },
};
