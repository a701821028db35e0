/** Calls about scheduling parameters and CPU pools. */
import { z } from 'zod';
import { call } from './call.ts';
import { Which } from './domain.ts';

const none = z.strictObject({});
const Weighted = z.enum(['credit', 'credit2']);
export const Scheduler = z.enum(['credit', 'credit2', 'rtds', 'null']);
const Pool = z.union([z.string().min(1), z.int().min(0)]).describe('name or number of a CPU pool');
const Cpus = z.string().min(1).describe('list of CPUs as xl writes it');

const Rtds = z.strictObject({
  period: z.int().min(1).describe('µs'),
  budget: z.int().min(1).describe('µs of each period'),
  extratime: z.boolean(),
});
const RtdsVcpu = Rtds.extend({ vcpu: z.int().min(0) });
const PoolParams = z.strictObject({
  tsliceMs: z.int().min(1).max(1000).optional(),
  ratelimitUs: z.int().min(0).max(500_000).optional(),
  migrationDelayUs: z.int().min(0).max(100_000).optional(),
});

export const PoolEntry = z.strictObject({
  id: z.int(),
  name: z.string(),
  scheduler: z.string(),
  domains: z.int(),
  cpus: z.array(z.int()),
});
export type PoolEntry = z.infer<typeof PoolEntry>;

export const schedulerCalls = {
  'sched.get': call({
    summary: 'weight and cap of a domain under credit or credit2',
    params: z.strictObject({ domain: Which, scheduler: Weighted }),
    result: z.strictObject({ weight: z.int(), cap: z.int() }),
  }),
  'sched.set': call({
    summary: 'sets them; what is left out stays as it is',
    params: z.strictObject({
      domain: Which,
      scheduler: Weighted,
      weight: z.int().min(1).max(65535).optional(),
      cap: z.int().min(0).max(65534).optional(),
    }),
    result: none,
  }),
  'sched.rtds': call({
    summary: 'period and budget of a domain under rtds',
    params: z.strictObject({ domain: Which }),
    result: Rtds,
  }),
  'sched.setRtds': call({
    summary: 'sets them for every vCPU of the domain',
    params: Rtds.partial().extend({ domain: Which }),
    result: none,
  }),
  'sched.rtdsVcpus': call({
    summary: 'period and budget of each vCPU under rtds',
    params: z.strictObject({ domain: Which }),
    result: z.array(RtdsVcpu),
  }),
  'sched.setRtdsVcpus': call({
    summary: 'sets them for some vCPUs',
    params: z.strictObject({
      domain: Which,
      vcpus: z.array(Rtds.partial().extend({ vcpu: z.int().min(0) })).max(128),
    }),
    result: none,
  }),
  'sched.pool': call({
    summary: 'parameters of a pool under credit or credit2',
    params: z.strictObject({ pool: Pool, scheduler: Weighted }),
    result: PoolParams,
  }),
  'sched.setPool': call({
    summary: 'sets them; what is left out stays as it is',
    params: PoolParams.extend({ pool: Pool, scheduler: Weighted }),
    result: none,
  }),
  'cpupool.list': call({ summary: 'every CPU pool', params: none, result: z.array(PoolEntry) }),
  'cpupool.create': call({
    summary: 'makes a pool, of pCPUs that are in none',
    params: z.strictObject({ name: z.string(), scheduler: Scheduler.optional(), cpus: Cpus.optional() }),
    result: PoolEntry,
  }),
  'cpupool.destroy': call({
    summary: 'ends a pool without domains',
    params: z.strictObject({ pool: Pool }),
    result: none,
  }),
  'cpupool.rename': call({
    summary: 'gives it another name',
    params: z.strictObject({ pool: Pool, name: z.string() }),
    result: none,
  }),
  'cpupool.addCpus': call({
    summary: 'puts free pCPUs into it',
    params: z.strictObject({ pool: Pool, cpus: Cpus }),
    result: none,
  }),
  'cpupool.removeCpus': call({
    summary: 'takes pCPUs out',
    params: z.strictObject({ pool: Pool, cpus: Cpus }),
    result: none,
  }),
  'cpupool.migrate': call({
    summary: 'moves a domain into it',
    params: z.strictObject({ domain: Which, pool: Pool }),
    result: none,
  }),
};
