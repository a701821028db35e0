/**
 * What a guest has now, as a spec: what it was made from, with what has been changed since (libxl's
 * libxl_retrieve_domain_configuration). Its next incarnation is made from it.
 */
import { findPool } from './cpupools.ts';
import type { Domain } from './domain.ts';
import { schedulerOf, weightOf } from './scheduling.ts';
import { type DomainSpec, parseSpec } from './spec.ts';
import { domainPath } from './store.ts';
import type { Toolstack } from './toolstack.ts';
import { listVcpus } from './vcpus.ts';

/** undefined: the domain was not made from a spec. */
export function retrieveSpec(toolstack: Toolstack, domain: Domain): DomainSpec | undefined {
  const { spec, domid, name, uuid } = domain;
  if (!spec) return undefined;
  const { devices } = toolstack;
  const { vcpusMax, cpupool } = toolstack.domainInfo(domid);
  return parseSpec({
    ...spec,
    name,
    uuid,
    memory: memoryTarget(toolstack, domid),
    maxmem: spec.maxmem ?? spec.memory,
    vcpus: onlineVcpus(toolstack, domid, vcpusMax),
    maxvcpus: vcpusMax,
    pool: findPool(toolstack, cpupool).name,
    ...weight(toolstack, domid),
    ...affinity(toolstack, domid),
    disk: some(devices?.disks.configs(domid)),
    vif: some(devices?.nics.configs(domid)),
  });
}

const some = <T>(list: T[] | undefined): T[] | undefined => (list?.length ? list : undefined);

/** What it is asked to have (memory/target in XenStore), in MiB. */
function memoryTarget(toolstack: Toolstack, domid: number): number {
  return Math.max(1, Math.floor(Number(toolstack.store.read(`${domainPath(domid)}/memory/target`)) / 1024));
}

/** How many it is asked to have online: always the first ones. */
function onlineVcpus(toolstack: Toolstack, domid: number, count: number): number {
  let online = 1;
  const availability = (v: number) => toolstack.store.tryRead(`${domainPath(domid)}/cpu/${v}/availability`);
  while (online < count && availability(online) === 'online') online++;
  return online;
}

function weight(toolstack: Toolstack, domid: number): Pick<DomainSpec, 'cpu_weight' | 'cap'> {
  const scheduler = schedulerOf(toolstack, domid);
  if (scheduler !== 'credit' && scheduler !== 'credit2') return { cpu_weight: undefined, cap: undefined };
  const params = weightOf(toolstack, domid, scheduler);
  return { cpu_weight: params.weight, cap: params.cap };
}

function affinity(toolstack: Toolstack, domid: number): Pick<DomainSpec, 'cpus' | 'cpus_soft'> {
  const { cpus } = toolstack.xen.sysctl.physInfo();
  const vcpus = listVcpus(toolstack, domid);
  const lists = (maps: readonly (readonly number[])[]) =>
    maps.every((m) => m.length === cpus) ? undefined : maps.map((m) => (m.length === cpus ? 'all' : m.join(',')));
  return { cpus: lists(vcpus.map((v) => v.hard)), cpus_soft: lists(vcpus.map((v) => v.soft)) };
}
