/** The commands that change a CPU pool, a row each: `xl cpupool-… <CPU Pool> [argument]`. */
import type { Client } from '../../api/client.ts';
import { type Command, EXIT } from '../command.ts';
import { findDomain } from '../domain.ts';
import { findPool } from '../pools.ts';

function poolCommand(
  name: string,
  summary: string,
  usage: string,
  act: (client: Client, words: readonly string[]) => Promise<unknown>,
): Command {
  return {
    name,
    summary,
    usage,
    modifies: true,
    atLeast: usage.split('> <').length,
    async run({ client }, { positionals }) {
      await act(await client(), positionals);
      return EXIT.SUCCESS;
    },
  };
}

/** `node:0` is a node's CPUs, as in lists of CPUs `nodes:0`. */
const cpuList = (word: string) => word.replace(/^node:/, 'nodes:');

export const cpupoolCommands: readonly Command[] = [
  poolCommand('cpupool-destroy', 'Deactivates a CPU pool', '<CPU Pool>', async (c, [pool]) =>
    c.call('cpupool.destroy', { pool: (await findPool(c, pool)).id }),
  ),
  poolCommand('cpupool-rename', 'Renames a CPU pool', '<CPU Pool> <new name>', async (c, [pool, name]) =>
    c.call('cpupool.rename', { pool: (await findPool(c, pool)).id, name }),
  ),
  poolCommand(
    'cpupool-cpu-add',
    'Adds a CPU to a CPU pool',
    '<CPU Pool> <CPU nr>|node:<node nr>',
    async (c, [pool, cpus]) => c.call('cpupool.addCpus', { pool: (await findPool(c, pool)).id, cpus: cpuList(cpus) }),
  ),
  poolCommand(
    'cpupool-cpu-remove',
    'Removes a CPU from a CPU pool',
    '<CPU Pool> <CPU nr>|node:<node nr>',
    async (c, [pool, cpus]) =>
      c.call('cpupool.removeCpus', { pool: (await findPool(c, pool)).id, cpus: cpuList(cpus) }),
  ),
  poolCommand('cpupool-migrate', 'Moves a domain into a CPU pool', '<Domain> <CPU Pool>', async (c, [domain, pool]) =>
    c.call('cpupool.migrate', { domain: (await findDomain(c, domain)).domid, pool: (await findPool(c, pool)).id }),
  ),
  {
    name: 'cpupool-numa-split',
    summary: 'Splits up the machine into one CPU pool per NUMA node',
    usage: '',
    modifies: true,
    async run({ client, say }) {
      const c = await client();
      const pools = await c.call('cpupool.list', {});
      if (pools.length > 1) {
        say('splitting not possible, already cpupools in use');
        return EXIT.FAILURE;
      }
      // The machine has one node: its pool gets the name that a split gives.
      await c.call('cpupool.rename', { pool: 0, name: 'Pool-node0' });
      return EXIT.SUCCESS;
    },
  },
];
