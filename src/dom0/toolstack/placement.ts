/** Where a new domain's vCPUs run, and how much of the CPUs it gets. */
import type { Placement } from './config.ts';
import { parseCpuList } from './cpu-list.ts';
import { ToolstackError } from './error.ts';
import { schedulerOf, setWeight, type Weighted } from './scheduling.ts';
import type { Toolstack } from './toolstack.ts';

const ANY_CPU = (1n << 64n) - 1n;

/** The domain has its vCPUs and its pool. */
export function place(toolstack: Toolstack, domid: number, maxVcpus: number, p: Placement = {}): void {
  const { xen } = toolstack;
  const { cpus } = xen.sysctl.physInfo();
  const map = (lists: string | readonly string[] | undefined, vcpu: number) => {
    // A list of lists may be shorter than there are vCPUs: the others run anywhere.
    const list = typeof lists === 'string' ? lists : lists?.[vcpu];
    return list === undefined || list === 'all' ? ANY_CPU : parseCpuList(list, cpus);
  };
  for (let v = 0; v < maxVcpus; v++) xen.domctl.setVcpuAffinity(domid, v, map(p.cpus, v), map(p.cpusSoft, v));
  if (p.weight === undefined && p.cap === undefined) return;
  const scheduler = schedulerOf(toolstack, domid);
  if (scheduler !== 'credit' && scheduler !== 'credit2') {
    throw new ToolstackError(`cpu_weight and cap mean nothing to the scheduler ${scheduler} of the domain's pool`);
  }
  setWeight(toolstack, domid, scheduler as Weighted, { weight: p.weight, cap: p.cap });
}
