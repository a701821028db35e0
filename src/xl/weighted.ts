/** `xl sched-credit` and `xl sched-credit2`: weight and cap of domains, parameters of pools. */
import type { Client } from '../api/client.ts';
import type { ParamsIn } from '../api/schema/index.ts';
import { type Arguments, type Command, CommandError, EXIT, type OptionRow, UsageError } from './command.ts';
import { findDomain } from './domain.ts';
import { findPool } from './pools.ts';

type Scheduler = 'credit' | 'credit2';
type PoolKey = 'tsliceMs' | 'ratelimitUs' | 'migrationDelayUs';

export interface WeightedCommand {
  readonly name: string;
  readonly scheduler: Scheduler;
  readonly usage: string;
  /** Options that set parameters of a pool: their long name, and what they set. */
  readonly poolOptions: readonly (OptionRow & { readonly long: string; readonly key: PoolKey })[];
  /** What is said of a pool, with its parameters. */
  readonly describe: (params: Partial<Record<PoolKey, number>>) => string;
}

export function number(args: Arguments, option: string): number | undefined {
  const text = args.value(option);
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text)) throw new UsageError(`--${option}: "${text}" is no number`);
  return Number(text);
}

const row = (name: string, id: number | string, weight: number | string, cap: number | string) =>
  `${name.padEnd(33)} ${`${id}`.padStart(4)} ${`${weight}`.padStart(6)} ${`${cap}`.padStart(4)}`;
const HEAD = row('Name', 'ID', 'Weight', 'Cap');

export function weightedCommand(command: WeightedCommand): Command {
  const { name, scheduler, usage, poolOptions, describe } = command;
  const domainRow = async (client: Client, domid: number, domname: string) => {
    const { weight, cap } = await client.call('sched.get', { domain: domid, scheduler });
    return row(domname, domid, weight, cap);
  };
  const poolLine = async (client: Client, pool: { id: number; name: string }) => {
    try {
      const params = await client.call('sched.pool', { pool: pool.id, scheduler });
      return `Cpupool ${pool.name}: ${describe(params)}`;
    } catch {
      return `Cpupool ${pool.name}: [sched params unavailable]`;
    }
  };
  return {
    name,
    summary: `Get/set ${scheduler} scheduler parameters`,
    usage,
    modifies: true,
    options: [
      { short: 'd', long: 'domain', value: 'DOMAIN', help: 'Domain to modify' },
      { short: 'w', long: 'weight', value: 'WEIGHT', help: 'Weight (int)' },
      { short: 'c', long: 'cap', value: 'CAP', help: 'Cap (int)' },
      { short: 's', long: 'schedparam', help: 'Query / modify scheduler parameters' },
      ...poolOptions,
      { short: 'p', long: 'cpupool', value: 'CPUPOOL', help: 'Restrict output to CPUPOOL' },
    ],
    async run({ client, print }, args) {
      const [weight, cap] = [number(args, 'weight'), number(args, 'cap')];
      const changes = weight !== undefined || cap !== undefined;
      const set = poolOptions.flatMap((o) => (args.has(o.long) ? [[o.key, number(args, o.long)] as const] : []));
      const [word, poolWord] = [args.value('domain'), args.value('cpupool')];
      if ((poolWord !== undefined || args.has('schedparam')) && (word !== undefined || changes)) {
        throw new CommandError('Specifying a cpupool or schedparam is not allowed with domain options.');
      }
      if (word === undefined && changes) throw new CommandError('Must specify a domain.');
      if (!args.has('schedparam') && set.length > 0) {
        throw new CommandError('Must specify schedparam to set schedule parameter values.');
      }
      const c = await client();
      if (args.has('schedparam')) {
        const pool = await findPool(c, poolWord ?? '0');
        const params = { pool: pool.id, scheduler, ...Object.fromEntries(set) } as ParamsIn<'sched.setPool'>;
        if (set.length > 0) await c.call('sched.setPool', params);
        else print(await poolLine(c, pool));
      } else if (word !== undefined) {
        const { domid, name: domname } = await findDomain(c, word);
        if (changes) await c.call('sched.set', { domain: domid, scheduler, weight, cap });
        else for (const line of [HEAD, await domainRow(c, domid, domname)]) print(line);
      } else {
        const pools = poolWord === undefined ? await c.call('cpupool.list', {}) : [await findPool(c, poolWord)];
        const domains = await c.call('domain.list', {});
        for (const pool of pools.filter((p) => p.scheduler === scheduler)) {
          print(await poolLine(c, pool));
          print(HEAD);
          for (const d of domains) if (d.cpupool === pool.id) print(await domainRow(c, d.domid, d.name));
        }
      }
      return EXIT.SUCCESS;
    },
  };
}
