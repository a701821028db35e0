/** CPU pools (libxl_cpupool.c): the hypervisor's, with names that are kept in XenStore. */
import { cpusOf, parseCpuList } from './cpu-list.ts';
import { ToolstackError } from './error.ts';
import { SCHEDULERS, type SchedulerName, schedulerName } from './scheduling.ts';
import type { Toolstack } from './toolstack.ts';

export interface PoolEntry {
  readonly id: number;
  readonly name: string;
  readonly scheduler: string;
  readonly domains: number;
  readonly cpus: readonly number[];
}

const pathOf = (id: number) => `/local/pool/${id}`;
const NAME = /^[^/\0\n]{1,255}$/;

export function listPools(toolstack: Toolstack): PoolEntry[] {
  return toolstack.xen.cpupool.list().map((pool) => ({
    id: pool.id,
    name: toolstack.store.tryRead(`${pathOf(pool.id)}/name`) ?? `Pool-${pool.id}`,
    scheduler: schedulerName(pool.scheduler),
    domains: pool.domains,
    cpus: cpusOf(pool.cpus),
  }));
}

/** By name, or by number where no pool has that name. */
export function findPool(toolstack: Toolstack, which: string | number): PoolEntry {
  const pools = listPools(toolstack);
  const found = pools.find((p) => p.name === which) ?? pools.find((p) => `${p.id}` === `${which}`);
  if (!found) throw new ToolstackError(`unknown cpupool '${which}'`);
  return found;
}

function checkName(toolstack: Toolstack, name: string): void {
  if (!NAME.test(name)) throw new ToolstackError(`"${name}" cannot be the name of a pool`);
  if (listPools(toolstack).some((p) => p.name === name)) throw new ToolstackError(`Pool name "${name}" already exists`);
}

/** The machine's own scheduler where none is named. `cpus`: a list of CPUs that must be free. */
export function createPool(
  toolstack: Toolstack,
  o: { name: string; scheduler?: SchedulerName; cpus?: string },
): PoolEntry {
  const { xen, store } = toolstack;
  checkName(toolstack, o.name);
  const scheduler = o.scheduler ? SCHEDULERS[o.scheduler] : xen.sysctl.schedId();
  const cpus = o.cpus === undefined ? [] : freeCpus(toolstack, o.cpus);
  const id = xen.cpupool.create(scheduler);
  try {
    for (const cpu of cpus) xen.cpupool.addCpu(id, cpu);
    store.write(`${pathOf(id)}/name`, o.name);
  } catch (error) {
    for (const cpu of cpusOf(xen.cpupool.info(id)?.cpus ?? 0n)) xen.cpupool.removeCpu(id, cpu);
    xen.cpupool.destroy(id);
    throw error;
  }
  return findPool(toolstack, id);
}

function freeCpus(toolstack: Toolstack, list: string): number[] {
  const { xen } = toolstack;
  const free = xen.cpupool.freeCpus();
  const wanted = cpusOf(parseCpuList(list, xen.sysctl.physInfo().cpus));
  for (const cpu of wanted) {
    if ((free & (1n << BigInt(cpu))) === 0n) throw new ToolstackError(`cpu ${cpu} illegal or not free`);
  }
  return wanted;
}

/** It must be empty of domains. Its pCPUs become free. */
export function destroyPool(toolstack: Toolstack, which: string | number): void {
  const pool = findPool(toolstack, which);
  if (pool.id === 0) throw new ToolstackError('Pool 0 cannot be destroyed: the control domain is in it');
  if (pool.domains > 0)
    throw new ToolstackError(`Can't destroy cpupool '${pool.name}': ${pool.domains} domains are in it`);
  for (const cpu of pool.cpus) toolstack.xen.cpupool.removeCpu(pool.id, cpu);
  toolstack.xen.cpupool.destroy(pool.id);
  toolstack.store.rm(pathOf(pool.id));
}

export function renamePool(toolstack: Toolstack, which: string | number, name: string): void {
  const pool = findPool(toolstack, which);
  checkName(toolstack, name);
  toolstack.store.write(`${pathOf(pool.id)}/name`, name);
}

export function addPoolCpus(toolstack: Toolstack, which: string | number, list: string): void {
  const pool = findPool(toolstack, which);
  for (const cpu of freeCpus(toolstack, list)) toolstack.xen.cpupool.addCpu(pool.id, cpu);
}

export function removePoolCpus(toolstack: Toolstack, which: string | number, list: string): void {
  const pool = findPool(toolstack, which);
  const wanted = cpusOf(parseCpuList(list, toolstack.xen.sysctl.physInfo().cpus));
  for (const cpu of wanted) {
    if (!pool.cpus.includes(cpu)) throw new ToolstackError(`cpu ${cpu} is not in cpupool '${pool.name}'`);
  }
  for (const cpu of wanted) toolstack.xen.cpupool.removeCpu(pool.id, cpu);
}

export function moveToPool(toolstack: Toolstack, domid: number, which: string | number): void {
  const pool = findPool(toolstack, which);
  toolstack.domain(domid);
  toolstack.xen.cpupool.moveDomain(pool.id, domid);
}
