import * as pools from '../../../dom0/toolstack/cpupools.ts';
import * as scheduling from '../../../dom0/toolstack/scheduling.ts';
import type { schedulerCalls } from '../../schema/scheduler.ts';
import { type CallContext, domidOf, type Handlers } from './handler.ts';

const poolId = (c: CallContext, pool: string | number) => pools.findPool(c.host.toolstack, pool).id;
const plain = (p: pools.PoolEntry) => ({ ...p, cpus: [...p.cpus] });

export const schedulerHandlers: Handlers<keyof typeof schedulerCalls> = {
  'sched.get': (c, { domain, scheduler }) => scheduling.weightOf(c.host.toolstack, domidOf(c, domain), scheduler),
  'sched.set': (c, { domain, scheduler, ...params }) => {
    scheduling.setWeight(c.host.toolstack, domidOf(c, domain), scheduler, params);
    return {};
  },
  'sched.rtds': (c, { domain }) => scheduling.rtdsOf(c.host.toolstack, domidOf(c, domain)),
  'sched.setRtds': (c, { domain, ...params }) => {
    scheduling.setRtds(c.host.toolstack, domidOf(c, domain), params);
    return {};
  },
  'sched.rtdsVcpus': (c, { domain }) => scheduling.rtdsVcpusOf(c.host.toolstack, domidOf(c, domain)),
  'sched.setRtdsVcpus': (c, { domain, vcpus }) => {
    scheduling.setRtdsVcpus(c.host.toolstack, domidOf(c, domain), vcpus);
    return {};
  },
  'sched.pool': (c, { pool, scheduler }) => scheduling.poolParams(c.host.toolstack, poolId(c, pool), scheduler),
  'sched.setPool': (c, { pool, scheduler, ...params }) => {
    scheduling.setPoolParams(c.host.toolstack, poolId(c, pool), scheduler, params);
    return {};
  },
  'cpupool.list': ({ host }) => pools.listPools(host.toolstack).map(plain),
  'cpupool.create': ({ host }, params) => plain(pools.createPool(host.toolstack, params)),
  'cpupool.destroy': ({ host }, { pool }) => {
    pools.destroyPool(host.toolstack, pool);
    return {};
  },
  'cpupool.rename': ({ host }, { pool, name }) => {
    pools.renamePool(host.toolstack, pool, name);
    return {};
  },
  'cpupool.addCpus': ({ host }, { pool, cpus }) => {
    pools.addPoolCpus(host.toolstack, pool, cpus);
    return {};
  },
  'cpupool.removeCpus': ({ host }, { pool, cpus }) => {
    pools.removePoolCpus(host.toolstack, pool, cpus);
    return {};
  },
  'cpupool.migrate': (c, { domain, pool }) => {
    pools.moveToPool(c.host.toolstack, domidOf(c, domain), pool);
    return {};
  },
};
