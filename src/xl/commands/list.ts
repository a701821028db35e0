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
  const { cpus } = await client.call('host.info', {});
  const out: unknown[] = [];
  for (const d of domains) {
    out.push({ domid: d.domid, config: d.domid === 0 ? controlDomain(d) : await guest(client, d, cpus) });
  }
  return out;
}

const controlDomain = ({ domid, name, uuid }: DomainInfo) => ({
  c_info: { type: 'pv', name, domid, uuid },
  b_info: {},
});

async function guest(client: Client, d: DomainInfo, cpus: number): Promise<unknown> {
  const { domid } = d;
  const [spec, consoles] = await Promise.all([
    client.call('domain.config', { domain: domid }),
    client.call('console.list', { domain: domid }),
  ]);
  const channels = consoles.slice(1).map((c) => ({ devid: c.number, name: c.name, path: c.path ?? undefined }));
  const targetKiB = d.targetKiB ?? d.memoryKiB;
  return libxlConfig(spec, {
    domid,
    cpus,
    targetKiB,
    maxMemoryKiB: Math.max(targetKiB, (spec.maxmem ?? spec.memory) * 1024),
    channels,
  });
}
