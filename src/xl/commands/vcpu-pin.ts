import { cpusOf, parseCpuList } from '../../dom0/toolstack/cpu-list.ts';
import { type Command, CommandError, EXIT } from '../command.ts';
import { findDomain } from '../domain.ts';
import { formatCpus } from '../format/cpus.ts';

export const vcpuPin: Command = {
  name: 'vcpu-pin',
  summary: 'Set which CPUs a VCPU can use',
  usage: '[option] <Domain> <VCPU|all> <Hard affinity|-|all> <Soft affinity|-|all>',
  canDryRun: true,
  modifies: true,
  options: [
    { short: 'f', long: 'force', help: 'undo an override pinning done by the kernel' },
    { short: 'i', long: 'ignore-global-affinity-masks', help: 'Ignore global masks in xl.conf' },
  ],
  atLeast: 3,
  async run({ client, print, dryRun, conf }, { positionals: [word, vcpu, hardWord, softWord = '-'], has }) {
    const all = vcpu === 'all';
    if (!all && !/^\d+$/.test(vcpu)) throw new CommandError(`Error: Invalid argument ${vcpu} as VCPU.`);
    if (all && has('force')) throw new CommandError("Error: --force and 'all' as VCPU not allowed.");
    const c = await client();
    const { domid } = await findDomain(c, word);
    const { cpus } = await c.call('host.info', {});
    const list = (text: string, mask?: (map: bigint, cpus: number) => bigint) => {
      if (text === '-') return undefined;
      const map = parseCpuList(text, cpus);
      return formatCpus(cpusOf(mask ? mask(map, cpus) : map), cpus);
    };
    const hard = list(hardWord, has('ignore-global-affinity-masks') ? undefined : (await conf()).maskCpus);
    const soft = list(softWord);
    if (dryRun) {
      print(`cpumap: ${hard ?? '-'}${soft === undefined ? '' : ` ${soft}`}`);
      return EXIT.SUCCESS;
    }
    await c.call('vcpu.pin', { domain: domid, vcpu: all ? 'all' : Number(vcpu), hard, soft });
    return EXIT.SUCCESS;
  },
};
