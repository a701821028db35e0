import { type Command, EXIT } from '../command.ts';

export const debugKeys: Command = {
  name: 'debug-keys',
  summary: 'Send debug keys to Xen',
  usage: '<Keys>',
  modifies: true,
  atLeast: 1,
  async run({ client }, { positionals: [keys] }) {
    await (await client()).call('host.debugKeys', { keys });
    return EXIT.SUCCESS;
  },
};
