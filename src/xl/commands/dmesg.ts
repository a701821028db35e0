import { type Command, EXIT } from '../command.ts';

export const dmesg: Command = {
  name: 'dmesg',
  summary: 'Read and/or clear dmesg buffer',
  usage: '[-c]',
  options: [{ short: 'c', long: 'clear', help: 'Clear dmesg buffer as well as printing it' }],
  async run({ client, print }, { has }) {
    const c = await client();
    const { text } = await c.call('host.dmesg', { clear: has('clear') });
    if (text !== '') print(text.replace(/\n$/, ''));
    return EXIT.SUCCESS;
  },
};
