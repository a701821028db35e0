import { type Command, EXIT, UsageError } from '../command.ts';
import { findDomain } from '../domain.ts';
import { domainTable } from '../format/domains.ts';

export const list: Command = {
  name: 'list',
  summary: 'List information about all/some domains',
  usage: '[options] [Domain]',
  options: [
    { short: 'l', long: 'long', help: 'Output all VM details' },
    { short: 'v', long: 'verbose', help: 'Prints out UUIDs and security context' },
    { short: 'Z', long: 'context', help: 'Prints out security context' },
    { short: 'c', long: 'cpupool', help: 'Prints the cpupool the domain is in' },
    { short: 'n', long: 'numa', help: 'Prints out NUMA node affinity' },
  ],
  async run({ client, print }, { positionals, has }) {
    if (positionals.length > 1) throw new UsageError('more than one domain', true);
    const c = await client();
    const domains = positionals.length === 1 ? [await findDomain(c, positionals[0])] : await c.call('domain.list', {});
    const columns = { verbose: has('verbose'), context: has('context'), cpupool: has('cpupool'), numa: has('numa') };
    for (const line of domainTable(domains, columns)) print(line);
    return EXIT.SUCCESS;
  },
};
