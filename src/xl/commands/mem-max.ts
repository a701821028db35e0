import { CommandError } from '../command.ts';
import { parseMemory } from '../format/memory.ts';
import { domainCommand } from '../simple.ts';

export const memMax = domainCommand({
  name: 'mem-max',
  summary: 'Set the maximum amount reservation for a domain',
  usage: "<Domain> <MemMB['b'[bytes]|'k'[KB]|'m'[MB]|'g'[GB]|'t'[TB]]>",
  more: 1,
  act(client, { domid }, [size]) {
    const kib = parseMemory(size);
    if (kib === undefined) throw new CommandError(`invalid memory size: ${size}`);
    return client.call('memory.setMax', { domain: domid, kib });
  },
});
