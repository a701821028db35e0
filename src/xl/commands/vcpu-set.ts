import { type Command, CommandError, EXIT } from '../command.ts';
import { findDomain } from '../domain.ts';

export const vcpuSet: Command = {
  name: 'vcpu-set',
  summary: 'Set the number of active VCPUs allowed for the domain',
  usage: '[option] <Domain> <vCPUs>',
  modifies: true,
  options: [{ short: 'i', long: 'ignore-host', help: "Don't limit the vCPU based on the host CPU count" }],
  atLeast: 2,
  async run({ client }, { positionals: [word, text], has }) {
    if (!/^\d+$/.test(text)) throw new CommandError('Error: Invalid argument.');
    const count = Number(text);
    const c = await client();
    const { domid, vcpusOnline } = await findDomain(c, word);
    if (!has('ignore-host')) {
      const { cpus } = await c.call('host.info', {});
      if (count > vcpusOnline && count > cpus) {
        throw new CommandError(
          `You are overcommmitting! You have ${cpus} physical CPUs and want ${count} vCPUs! Aborting, use --ignore-host to continue`,
        );
      }
    }
    await c.call('vcpu.set', { domain: domid, count });
    return EXIT.SUCCESS;
  },
};
