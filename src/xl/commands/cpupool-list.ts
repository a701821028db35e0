import { type Command, CommandError, EXIT } from '../command.ts';

export const cpupoolList: Command = {
  name: 'cpupool-list',
  summary: 'List CPU pools on host',
  usage: '[-c|--cpus] [<CPU Pool>]',
  options: [{ short: 'c', long: 'cpus', help: 'Output list of CPUs used by a pool' }],
  async run({ client, print }, { positionals: [name], has }) {
    const pools = await (await client()).call('cpupool.list', {});
    const chosen = name === undefined ? pools : pools.filter((p) => p.name === name);
    if (chosen.length === 0) throw new CommandError(`Pool '${name}' does not exist`);
    print(`${'Name'.padEnd(19)}${has('cpus') ? 'CPU list' : 'CPUs   Sched     Active   Domain count'}`);
    for (const pool of chosen) {
      const rest = has('cpus')
        ? pool.cpus.join(',')
        : `${`${pool.cpus.length}`.padStart(3)} ${pool.scheduler.padStart(9)}       y       ${`${pool.domains}`.padStart(4)}`;
      print(pool.name.padEnd(19) + rest);
    }
    return EXIT.SUCCESS;
  },
};
