/** vCPUs of a domain: what they do, where they may run, how many are online. */
import { cpusOf, parseCpuList } from './cpu-list.ts';
import { ToolstackError } from './error.ts';
import { domainPath } from './store.ts';
import type { Toolstack } from './toolstack.ts';

export interface VcpuEntry {
  readonly vcpu: number;
  readonly online: boolean;
  readonly running: boolean;
  readonly blocked: boolean;
  /** pCPU it runs on, or ran on last. */
  readonly cpu: number;
  /** Seconds. */
  readonly time: number;
  /** pCPUs it may, and would rather, run on. */
  readonly hard: readonly number[];
  readonly soft: readonly number[];
}

export function listVcpus(toolstack: Toolstack, domid: number): VcpuEntry[] {
  const { xen } = toolstack;
  const { vcpusMax } = toolstack.domainInfo(domid);
  const present = (1n << BigInt(xen.sysctl.physInfo().cpus)) - 1n;
  return Array.from({ length: vcpusMax }, (_, vcpu) => {
    const s = xen.domctl.getVcpuInfo(domid, vcpu);
    const { hard = present, soft = present } = xen.domctl.getVcpuAffinity(domid, vcpu);
    return {
      vcpu,
      online: s.online,
      running: s.running,
      blocked: s.blocked,
      cpu: s.cpu,
      time: Number(s.cpuTime) / 1e9,
      hard: cpusOf(hard & present),
      soft: cpusOf(soft & present),
    };
  });
}

export interface Affinity {
  /** Lists of CPUs; what is left out stays as it is. */
  readonly hard?: string;
  readonly soft?: string;
}

export function pinVcpu(toolstack: Toolstack, domid: number, vcpu: number | 'all', affinity: Affinity): void {
  const { cpus } = toolstack.xen.sysctl.physInfo();
  const { vcpusMax } = toolstack.domainInfo(domid);
  const map = (list: string | undefined) => (list === undefined ? undefined : parseCpuList(list, cpus));
  const [hard, soft] = [map(affinity.hard), map(affinity.soft)];
  if (vcpu !== 'all' && vcpu >= vcpusMax) throw new ToolstackError(`domain ${domid} has no vCPU ${vcpu}`);
  const which = vcpu === 'all' ? Array.from({ length: vcpusMax }, (_, v) => v) : [vcpu];
  for (const v of which) toolstack.xen.domctl.setVcpuAffinity(domid, v, hard, soft);
}

/** Asks the guest (cpu/N/availability in XenStore) to have its first `count` vCPUs online and no other. */
export function setVcpusOnline(toolstack: Toolstack, domid: number, count: number): void {
  toolstack.domain(domid);
  const { vcpusMax, name } = toolstack.domainInfo(domid);
  if (count < 1 || count > vcpusMax) {
    throw new ToolstackError(`domain ${name} can have 1 to ${vcpusMax} vCPUs online (maxvcpus), not ${count}`);
  }
  toolstack.store.transaction((t) => {
    for (let v = 0; v < vcpusMax; v++) {
      t.write(`${domainPath(domid)}/cpu/${v}/availability`, v < count ? 'online' : 'offline');
    }
  });
}
