/** What domains look like from outside (libxl_dominfo), the control domain included. */
import type { DomainInfo as XenDomainInfo } from '../kernel/hypercalls/domctl.ts';
import { domainPath, vmPath } from './store.ts';
import type { Toolstack } from './toolstack.ts';

export interface DominfoEntry {
  readonly domid: number;
  readonly name: string;
  readonly uuid: string;
  readonly running: boolean;
  readonly blocked: boolean;
  readonly paused: boolean;
  readonly shutdown: boolean;
  readonly dying: boolean;
  /** SHUTDOWN, or null. */
  readonly shutdownReason: number | null;
  readonly memoryKiB: number;
  readonly outstandingKiB: number;
  readonly maxMemoryKiB: number;
  /** What its balloon driver is asked for; null: nothing. */
  readonly targetKiB: number | null;
  /** Seconds. */
  readonly cpuTime: number;
  readonly vcpusOnline: number;
  readonly vcpusMax: number;
  readonly cpupool: number;
  /** It serves others, as driver domains do: not one of those that `xl shutdown -a` ends. */
  readonly neverStop: boolean;
  /** Seconds since 1970. */
  readonly startTime: number;
}

export function uuidText(handle: Uint8Array): string {
  return Buffer.from(handle)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

const KIB_PER_PAGE = 4;

export function dominfo(toolstack: Toolstack, info: XenDomainInfo): DominfoEntry {
  const uuid = uuidText(info.handle);
  return {
    domid: info.domid,
    name: toolstack.store.tryRead(`${domainPath(info.domid)}/name`) ?? '(null)',
    uuid,
    running: info.running,
    blocked: info.blocked,
    paused: info.paused,
    shutdown: info.shutdown,
    dying: info.dying,
    shutdownReason: info.shutdown ? info.shutdownReason : null,
    memoryKiB: info.totPages * KIB_PER_PAGE,
    outstandingKiB: info.outstandingPages * KIB_PER_PAGE,
    maxMemoryKiB: info.maxPages * KIB_PER_PAGE,
    targetKiB: Number(toolstack.store.tryRead(`${domainPath(info.domid)}/memory/target`)) || null,
    cpuTime: Number(info.cpuTime) / 1e9,
    vcpusOnline: info.onlineVcpus,
    vcpusMax: info.maxVcpuId + 1,
    cpupool: info.cpupool,
    neverStop: !toolstack.list().some((d) => d.domid === info.domid),
    startTime: Number(toolstack.store.tryRead(`${vmPath(uuid)}/start_time`) ?? toolstack.startTime),
  };
}
