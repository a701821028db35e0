/** sysctl (public/sysctl.h, version 0x15): what the control domain asks about the machine. */
import { CpuidLeaf, MsrEntry } from '../../../abi/arch-x86.ts';
import { DomctlGetdomaininfo } from '../../../abi/domctl.ts';
import type { Struct } from '../../../abi/layout.ts';
import {
  CPU_HOTPLUG,
  SYSCTL,
  Sysctl,
  SysctlAvailheap,
  SysctlCpuHotplug,
  SysctlCpuinfo,
  SysctlCpuPolicy,
  SysctlCputopo,
  SysctlCputopoinfo,
  SysctlDebugKeys,
  SysctlGetcpuinfo,
  SysctlGetdomaininfolist,
  SysctlMeminfo,
  SysctlNumainfo,
  SysctlPhysinfo,
  SysctlReadconsole,
  SysctlSchedId,
  XEN_SYSCTL_INTERFACE_VERSION,
} from '../../../abi/sysctl.ts';
import { HYPERCALL } from '../../../abi/xen.ts';
import type { Hypercalls, Scratch } from '../hypercalls.ts';
import type { StructView } from '../memory.ts';
import { type CpuPolicy, type DomainInfo, readDomainInfo } from './domctl.ts';

export interface PhysInfo {
  readonly threadsPerCore: number;
  readonly coresPerSocket: number;
  readonly cpus: number;
  readonly nodes: number;
  readonly cpuKhz: number;
  /** PHYSCAP. */
  readonly capabilities: number;
  /** Pages (4 KiB). */
  readonly totalPages: number;
  readonly freePages: number;
  readonly scrubPages: number;
  readonly outstandingPages: number;
  readonly maxMfn: number;
  readonly hwCap: readonly number[];
}

const LIST_CHUNK = 256;
const MAX_CPUS = 64;
const CONSOLE_CHUNK = 64 << 10;

export class SysctlCalls {
  private readonly xen: Hypercalls;

  constructor(xen: Hypercalls) {
    this.xen = xen;
  }

  /** One sysctl. For the groups of calls that are built on sysctl (scheduler.ts, cpupool.ts). */
  op<N extends string, T = void>(
    name: keyof typeof SYSCTL,
    arg: Struct<N>,
    fill?: (u: StructView<N>, s: Scratch) => void,
    result?: (u: StructView<N>) => T,
  ): T {
    return this.xen.scratch((s) => {
      const c = s.struct(Sysctl).set('cmd', SYSCTL[name]).set('interface_version', XEN_SYSCTL_INTERFACE_VERSION);
      const u = c.nested('u', arg);
      fill?.(u, s);
      this.xen.call(`sysctl ${name}`, HYPERCALL.sysctl, c.address);
      return result?.(u) as T;
    });
  }

  physInfo(): PhysInfo {
    return this.op('physinfo', SysctlPhysinfo, undefined, (u) => ({
      threadsPerCore: u.get('threads_per_core'),
      coresPerSocket: u.get('cores_per_socket'),
      cpus: u.get('nr_cpus'),
      nodes: u.get('nr_nodes'),
      cpuKhz: u.get('cpu_khz'),
      capabilities: u.get('capabilities'),
      totalPages: u.get('total_pages'),
      freePages: u.get('free_pages'),
      scrubPages: u.get('scrub_pages'),
      outstandingPages: u.get('outstanding_pages'),
      maxMfn: u.get('max_mfn'),
      hwCap: Array.from({ length: 8 }, (_, i) => u.get('hw_cap', i)),
    }));
  }

  /** Every domain from `first` on, in ascending order. */
  domainInfoList(first = 0): DomainInfo[] {
    const out: DomainInfo[] = [];
    for (let from = first; ; ) {
      let buffer = 0;
      const got = this.op(
        'getdomaininfolist',
        SysctlGetdomaininfolist,
        (u, s) => {
          buffer = s.bytes(LIST_CHUNK * DomctlGetdomaininfo.size);
          u.set('first_domain', from).set('max_domains', LIST_CHUNK).set('buffer', buffer);
        },
        (u) =>
          Array.from({ length: u.get('num_domains') }, (_, i) =>
            readDomainInfo(this.xen, buffer + i * DomctlGetdomaininfo.size),
          ),
      );
      out.push(...got);
      if (got.length < LIST_CHUNK) return out;
      from = got[got.length - 1].domid + 1;
    }
  }

  /** The hypervisor's log, oldest first (`xl dmesg`). */
  readConsole(clear = false): string {
    const parts: Uint8Array[] = [];
    let index = 0;
    let buffer = 0;
    for (;;) {
      const [data, next] = this.op(
        'readconsole',
        SysctlReadconsole,
        (u, s) => {
          buffer = s.bytes(CONSOLE_CHUNK);
          u.set('incremental', parts.length === 0 ? 0 : 1).set('index', index);
          u.set('buffer', buffer).set('count', CONSOLE_CHUNK);
        },
        (u) => [this.xen.memory.read(buffer, u.get('count')), u.get('index')] as const,
      );
      if (data.length === 0) break;
      parts.push(data);
      index = next;
    }
    if (clear) this.op('readconsole', SysctlReadconsole, (u, s) => u.set('clear', 1).set('buffer', s.bytes(8)));
    const decoder = new TextDecoder();
    return parts.map((p) => decoder.decode(p, { stream: true })).join('') + decoder.decode();
  }

  /** The scheduler of pool 0 (XEN_SCHEDULER). */
  schedId(): number {
    return this.op('sched_id', SysctlSchedId, undefined, (u) => u.get('sched_id'));
  }

  availHeap(): bigint {
    return this.op(
      'availheap',
      SysctlAvailheap,
      (u) => u.set('node', -1),
      (u) => u.big('avail_bytes'),
    );
  }

  debugKeys(keys: string): void {
    this.op('debug_keys', SysctlDebugKeys, (u, s) => {
      const data = new TextEncoder().encode(keys);
      const at = s.bytes(data.length);
      this.xen.memory.write(at, data);
      u.set('keys', at).set('nr_keys', data.length);
    });
  }

  /** Idle time in ns of each pCPU. */
  cpuIdleTimes(): bigint[] {
    let info = 0;
    return this.op(
      'getcpuinfo',
      SysctlGetcpuinfo,
      (u, s) => {
        info = s.bytes(MAX_CPUS * SysctlCpuinfo.size);
        u.set('max_cpus', MAX_CPUS).set('info', info);
      },
      (u) =>
        Array.from({ length: u.get('nr_cpus') }, (_, i) =>
          this.xen.memory.struct(info + i * SysctlCpuinfo.size, SysctlCpuinfo).big('idletime'),
        ),
    );
  }

  cpuTopology(): { core: number; socket: number; node: number }[] {
    let at = 0;
    return this.op(
      'cputopoinfo',
      SysctlCputopoinfo,
      (u, s) => {
        at = s.bytes(MAX_CPUS * SysctlCputopo.size);
        u.set('num_cpus', MAX_CPUS).set('cputopo', at);
      },
      (u) =>
        Array.from({ length: Math.min(MAX_CPUS, u.get('num_cpus')) }, (_, i) => {
          const c = this.xen.memory.struct(at + i * SysctlCputopo.size, SysctlCputopo);
          return { core: c.get('core'), socket: c.get('socket'), node: c.get('node') };
        }),
    );
  }

  /** Size and free bytes of each node, and distances (row by row). */
  numa(): { nodes: { size: bigint; free: bigint }[]; distances: number[] } {
    let mem = 0;
    let dist = 0;
    return this.op(
      'numainfo',
      SysctlNumainfo,
      (u, s) => {
        mem = s.bytes(MAX_CPUS * SysctlMeminfo.size);
        dist = s.bytes(MAX_CPUS * MAX_CPUS * 4);
        u.set('num_nodes', MAX_CPUS).set('meminfo', mem).set('distance', dist);
      },
      (u) => {
        const n = Math.min(MAX_CPUS, u.get('num_nodes'));
        return {
          nodes: Array.from({ length: n }, (_, i) => {
            const m = this.xen.memory.struct(mem + i * SysctlMeminfo.size, SysctlMeminfo);
            return { size: m.big('memsize'), free: m.big('memfree') };
          }),
          distances: Array.from({ length: n * n }, (_, i) => this.xen.memory.view.getUint32(dist + i * 4, true)),
        };
      },
    );
  }

  /** Takes a pCPU into (or out of) use. A pCPU comes back into pool 0; the last one of a pool with domains stays. */
  cpuHotplug(cpu: number, online: boolean): void {
    this.op('cpu_hotplug', SysctlCpuHotplug, (u) => {
      u.set('cpu', cpu).set('op', online ? CPU_HOTPLUG.ONLINE : CPU_HOTPLUG.OFFLINE);
    });
  }

  /** CPU_POLICY: what the hypervisor has or gives. */
  cpuPolicy(index: number): CpuPolicy {
    const MAX_LEAVES = 512;
    const MAX_MSRS = 64;
    let leaves = 0;
    let msrs = 0;
    return this.op(
      'get_cpu_policy',
      SysctlCpuPolicy,
      (u, s) => {
        leaves = s.bytes(MAX_LEAVES * CpuidLeaf.size);
        msrs = s.bytes(MAX_MSRS * MsrEntry.size);
        u.set('index', index).set('nr_leaves', MAX_LEAVES).set('leaves', leaves);
        u.set('nr_msrs', MAX_MSRS).set('msrs', msrs);
      },
      (u) => ({
        leaves: Array.from({ length: u.get('nr_leaves') }, (_, i) => {
          const l = this.xen.memory.struct(leaves + i * CpuidLeaf.size, CpuidLeaf);
          return {
            leaf: l.get('leaf'),
            subleaf: l.get('subleaf'),
            a: l.get('a'),
            b: l.get('b'),
            c: l.get('c'),
            d: l.get('d'),
          };
        }),
        msrs: Array.from({ length: u.get('nr_msrs') }, (_, i) => {
          const m = this.xen.memory.struct(msrs + i * MsrEntry.size, MsrEntry);
          return { idx: m.get('idx'), flags: m.get('flags'), val: m.big('val') };
        }),
      }),
    );
  }
}
