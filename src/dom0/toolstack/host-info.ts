/** What the machine and its hypervisor are (libxl_physinfo, libxl_version_info). */
import { PHYSCAP } from '../../abi/sysctl.ts';
import { cpusOf } from './cpu-list.ts';
import { schedulerName } from './scheduling.ts';
import type { Toolstack } from './toolstack.ts';

/** In the order in which `xl info` names them. */
const CAPABILITIES = [
  ['pv', 'pv'],
  ['hvm', 'hvm'],
  ['hap', 'hap'],
  ['shadow', 'shadow'],
  ['gnttab_v1', 'gnttab-v1'],
  ['gnttab_v2', 'gnttab-v2'],
] as const;

export function hostInfo(toolstack: Toolstack) {
  const { xen } = toolstack;
  const phys = xen.sysctl.physInfo();
  const { version } = xen;
  const numa = xen.sysctl.numa();
  return {
    cpus: phys.cpus,
    maxCpuId: phys.cpus - 1,
    nodes: phys.nodes,
    coresPerSocket: phys.coresPerSocket,
    threadsPerCore: phys.threadsPerCore,
    cpuKhz: phys.cpuKhz,
    hwCaps: [...phys.hwCap],
    virtCaps: CAPABILITIES.filter(([bit]) => phys.capabilities & PHYSCAP[bit]).map(([, name]) => name as string),
    totalPages: phys.totalPages,
    freePages: phys.freePages,
    outstandingPages: phys.outstandingPages,
    freeCpus: cpusOf(xen.cpupool.freeCpus()),
    version: {
      ...version.version(),
      extra: version.extraVersion(),
      capabilities: version.capabilities(),
      pageSize: version.pageSize(),
      virtStart: `0x${version.virtStart().toString(16)}`,
      changeset: version.changeset(),
      commandLine: version.commandLine(),
      compile: version.compileInfo(),
    },
    scheduler: schedulerName(xen.sysctl.schedId()),
    topology: xen.sysctl.cpuTopology(),
    numa: {
      nodes: numa.nodes.map((n) => ({ size: Number(n.size), free: Number(n.free) })),
      distances: numa.distances,
    },
  };
}
