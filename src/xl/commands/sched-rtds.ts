import type { Client } from '../../api/client.ts';
import type { Result } from '../../api/schema/index.ts';
import { type Arguments, type Command, CommandError, EXIT } from '../command.ts';
import { findDomain } from '../domain.ts';

type Rtds = Omit<Result<'sched.rtds'>, never>;

const right = (value: string | number, width: number) => `${value}`.padStart(width);

function line(
  name: string,
  id: string | number,
  p: Record<keyof Rtds, string | number>,
  vcpu?: string | number,
): string {
  const which = vcpu === undefined ? '' : `${right(vcpu, 4)} `;
  return `${name.padEnd(33)} ${right(id, 4)} ${which}${right(p.period, 9)} ${right(p.budget, 9)} ${right(p.extratime, 10)}`;
}

const HEAD = { period: 'Period', budget: 'Budget', extratime: 'Extratime' };
const shown = (p: Rtds) => ({ ...p, extratime: p.extratime ? 'yes' : 'no' });

/** Values of an option that may be given once for each vCPU. */
function numbers(args: Arguments, option: string): number[] {
  return args.values(option).map((text) => {
    if (!/^\d+$/.test(text)) throw new CommandError(`--${option}: "${text}" is no number`);
    return Number(text);
  });
}

/** Which parameters to set: one set for the domain or all vCPUs, or one for each vCPU that was named. */
function changes(args: Arguments): Partial<Rtds>[] {
  const lists = {
    period: numbers(args, 'period'),
    budget: numbers(args, 'budget'),
    extratime: numbers(args, 'extratime'),
  };
  if (lists.extratime.some((v) => v > 1)) throw new CommandError('Invalid extratime.');
  const length = Math.max(...Object.values(lists).map((l) => l.length));
  if (Object.values(lists).some((l) => l.length > 0 && l.length !== length)) {
    throw new CommandError('Incorrect number of period, budget and extratime');
  }
  return Array.from({ length }, (_, i) => ({
    period: lists.period[i],
    budget: lists.budget[i],
    extratime: lists.extratime.length > 0 ? lists.extratime[i] === 1 : undefined,
  }));
}

async function list(client: Client, print: (line: string) => void, perVcpu: boolean): Promise<void> {
  const domains = await client.call('domain.list', {});
  for (const pool of await client.call('cpupool.list', {})) {
    if (pool.scheduler !== 'rtds') continue;
    print(`Cpupool ${pool.name}: sched=RTDS`);
    print(line('Name', 'ID', HEAD, perVcpu ? 'VCPU' : undefined));
    for (const d of domains) {
      if (d.cpupool !== pool.id) continue;
      if (!perVcpu) print(line(d.name, d.domid, shown(await client.call('sched.rtds', { domain: d.domid }))));
      else {
        for (const v of await client.call('sched.rtdsVcpus', { domain: d.domid })) {
          print(line(d.name, d.domid, shown(v), v.vcpu));
        }
      }
    }
  }
}

export const schedRtds: Command = {
  name: 'sched-rtds',
  summary: 'Get/set rtds scheduler parameters',
  usage: '[-d <Domain> [-v[=VCPUID/all]] [-p[=PERIOD]] [-b[=BUDGET]] [-e[=Extratime]]]',
  modifies: true,
  options: [
    { short: 'd', long: 'domain', value: 'DOMAIN', help: 'Domain to modify' },
    { short: 'v', long: 'vcpuid', value: 'VCPUID/all', help: 'VCPU to modify or output' },
    { short: 'p', long: 'period', value: 'PERIOD', help: 'Period (us)' },
    { short: 'b', long: 'budget', value: 'BUDGET', help: 'Budget (us)' },
    { short: 'e', long: 'extratime', value: 'Extratime', help: 'Extratime (1=yes, 0=no)' },
  ],
  async run({ client, print }, args) {
    const set = changes(args);
    const vcpuWords = args.values('vcpuid');
    const all = vcpuWords.includes('all');
    const vcpus = all ? [] : numbers(args, 'vcpuid');
    const word = args.value('domain');
    const c = await client();
    if (word === undefined) {
      if (set.length > 0) throw new CommandError('Missing parameters.');
      if (vcpus.length > 0) throw new CommandError('Missing parameters.');
      await list(c, print, all);
      return EXIT.SUCCESS;
    }
    const { domid, name } = await findDomain(c, word);
    if (set.length === 0) {
      const perVcpu = all || vcpus.length > 0;
      print(line('Name', 'ID', HEAD, perVcpu ? 'VCPU' : undefined));
      if (!perVcpu) print(line(name, domid, shown(await c.call('sched.rtds', { domain: domid }))));
      else {
        const entries = await c.call('sched.rtdsVcpus', { domain: domid });
        for (const v of entries) if (all || vcpus.includes(v.vcpu)) print(line(name, domid, shown(v), v.vcpu));
      }
    } else if (vcpus.length > 0) {
      if (vcpus.length !== set.length) throw new CommandError('Incorrect number of period, budget and extratime');
      await c.call('sched.setRtdsVcpus', { domain: domid, vcpus: set.map((s, i) => ({ ...s, vcpu: vcpus[i] })) });
    } else {
      if (set.length > 1) throw new CommandError('Must specify VCPU.');
      await c.call('sched.setRtds', { domain: domid, ...set[0] });
    }
    return EXIT.SUCCESS;
  },
};
