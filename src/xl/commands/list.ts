import type { Client } from '../../api/client.ts';
import type { DomainInfo } from '../../api/schema/domain.ts';
import { type Command, EXIT, UsageError } from '../command.ts';
import { findDomain } from '../domain.ts';
import { domainTable } from '../format/domains.ts';
import { libxlConfig } from '../format/libxl-json.ts';

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
    if (has('long')) {
      print(JSON.stringify(await details(c, domains), null, 4));
      return EXIT.SUCCESS;
    }
    const pools = has('cpupool') ? await c.call('cpupool.list', {}) : [];
    const poolNames = new Map(pools.map((p) => [p.id, p.name]));
    const columns = {
      poolNames,
      verbose: has('verbose'),
      context: has('context'),
      cpupool: has('cpupool'),
      numa: has('numa'),
    };
    for (const line of domainTable(domains, columns)) print(line);
    return EXIT.SUCCESS;
  },
};

/** The control domain was made from no configuration: it has a name, and that is all. */
async function details(client: Client, domains: readonly DomainInfo[]): Promise<unknown[]> {
  const out: unknown[] = [];
  for (const { domid, name, uuid } of domains) {
    const config =
      domid === 0
        ? { c_info: { type: 'pv', name, uuid } }
        : libxlConfig({ ...(await client.call('domain.config', { domain: domid })), name, uuid });
    out.push({ domid, config });
  }
  return out;
}
