import { CommandError } from '../command.ts';
import { parseMemory } from '../format/memory.ts';
import { domainCommand } from '../simple.ts';

export const memSet = domainCommand({
  name: 'mem-set',
  summary: 'Set the current memory usage for a domain',
  usage: "<Domain> <MemMB['b'[bytes]|'k'[KB]|'m'[MB]|'g'[GB]|'t'[TB]]>",
  more: 1,
  act(client, { domid }, [size]) {
    const kib = parseMemory(size);
    if (kib === undefined) throw new CommandError(`invalid memory size: ${size}`);
    return client.call('memory.setTarget', { domain: domid, kib });
  },
});
