/** Scheduling parameters of domains and pools, under the names of xl's sched-* commands. */
import { XEN_SCHEDULER } from '../../abi/domctl.ts';
import type { RtdsParams, RtdsVcpu } from '../kernel/hypercalls/scheduler.ts';
import { ToolstackError } from './error.ts';
import type { Toolstack } from './toolstack.ts';

export const SCHEDULERS = {
  credit: XEN_SCHEDULER.CREDIT,
  credit2: XEN_SCHEDULER.CREDIT2,
  rtds: XEN_SCHEDULER.RTDS,
  null: XEN_SCHEDULER.NULL,
} as const;
export type SchedulerName = keyof typeof SCHEDULERS;
export type Weighted = 'credit' | 'credit2';

export function schedulerName(id: number): string {
  return Object.entries(SCHEDULERS).find(([, value]) => value === id)?.[0] ?? `scheduler ${id}`;
}

/** The scheduler of the pool that the domain is in. */
export function schedulerOf(toolstack: Toolstack, domid: number): string {
  const pool = toolstack.xen.cpupool.info(toolstack.domainInfo(domid).cpupool);
  return schedulerName(pool?.scheduler ?? -1);
}

/** Throws ToolstackError where the domain is under another scheduler. */
function check(toolstack: Toolstack, domid: number, wanted: SchedulerName): void {
  const own = schedulerOf(toolstack, domid);
  if (own !== wanted) throw new ToolstackError(`domain ${domid} is scheduled by ${own}, not by ${wanted}`);
}

export function weightOf(toolstack: Toolstack, domid: number, scheduler: Weighted): { weight: number; cap: number } {
  check(toolstack, domid, scheduler);
  return toolstack.xen.scheduler.domainGet(domid, SCHEDULERS[scheduler]);
}

export function setWeight(
  toolstack: Toolstack,
  domid: number,
  scheduler: Weighted,
  params: { weight?: number; cap?: number },
): void {
  check(toolstack, domid, scheduler);
  toolstack.xen.scheduler.domainPut(domid, SCHEDULERS[scheduler], params);
}

export function rtdsOf(toolstack: Toolstack, domid: number): RtdsParams {
  check(toolstack, domid, 'rtds');
  return toolstack.xen.scheduler.rtdsGet(domid);
}

/** What is left out stays as it is. */
export function setRtds(toolstack: Toolstack, domid: number, params: Partial<RtdsParams>): void {
  toolstack.xen.scheduler.rtdsPut(domid, { ...rtdsOf(toolstack, domid), ...params });
}

export function rtdsVcpusOf(toolstack: Toolstack, domid: number): RtdsVcpu[] {
  check(toolstack, domid, 'rtds');
  const { vcpusMax } = toolstack.domainInfo(domid);
  return toolstack.xen.scheduler.rtdsVcpusGet(
    domid,
    Array.from({ length: vcpusMax }, (_, v) => v),
  );
}

export function setRtdsVcpus(
  toolstack: Toolstack,
  domid: number,
  vcpus: readonly (Partial<RtdsParams> & { readonly vcpu: number })[],
): void {
  const now = rtdsVcpusOf(toolstack, domid);
  toolstack.xen.scheduler.rtdsVcpusPut(
    domid,
    vcpus.map((v) => {
      const own = now.find(({ vcpu }) => vcpu === v.vcpu);
      if (!own) throw new ToolstackError(`domain ${domid} has no vCPU ${v.vcpu}`);
      return { ...own, ...v };
    }),
  );
}

export interface PoolParams {
  readonly tsliceMs?: number;
  readonly ratelimitUs?: number;
  readonly migrationDelayUs?: number;
}

/** Parameters of a pool whose scheduler has any. */
export function poolParams(toolstack: Toolstack, pool: number, scheduler: Weighted): PoolParams {
  const { scheduler: calls } = toolstack.xen;
  return scheduler === 'credit' ? calls.creditPoolGet(pool) : calls.credit2PoolGet(pool);
}

export function setPoolParams(toolstack: Toolstack, pool: number, scheduler: Weighted, params: PoolParams): void {
  const { scheduler: calls } = toolstack.xen;
  if (scheduler === 'credit') calls.creditPoolPut(pool, { ...calls.creditPoolGet(pool), ...params });
  else calls.credit2PoolPut(pool, { ...calls.credit2PoolGet(pool), ...params });
}
