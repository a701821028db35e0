import { type Command, EXIT } from '../command.ts';
import { findDomain } from '../domain.ts';
import { formatCpus } from '../format/cpus.ts';

const pad = (value: string | number, width: number) => `${value}`.padStart(width);

export const vcpuList: Command = {
  name: 'vcpu-list',
  summary: 'List the VCPUs for all/some domains',
  usage: '[Domain, ...]',
  async run({ client, print }, { positionals }) {
    const c = await client();
    const { cpus } = await c.call('host.info', {});
    const domains = positionals.length
      ? await Promise.all(positionals.map((word) => findDomain(c, word)))
      : await c.call('domain.list', {});
    print(
      `${'Name'.padEnd(32)} ${pad('ID', 5)} ${pad('VCPU', 5)} ${pad('CPU', 5)} ${pad('State', 5)} ${pad('Time(s)', 9)} Affinity (Hard / Soft)`,
    );
    for (const { domid, name } of domains) {
      for (const v of await c.call('vcpu.list', { domain: domid })) {
        const state = v.online
          ? `${pad(v.cpu, 5)}   ${v.running ? 'r' : '-'}${v.blocked ? 'b' : '-'}- `
          : `${pad('-', 5)}   --p `;
        print(
          `${name.padEnd(32)} ${pad(domid, 5)} ${pad(v.vcpu, 5)} ${state}${pad(v.time.toFixed(1), 9)}  ${formatCpus(v.hard, cpus)} / ${formatCpus(v.soft, cpus)}`,
        );
      }
    }
    return EXIT.SUCCESS;
  },
};
