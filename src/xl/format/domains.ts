/** The table of `xl list` and `xl claims`, column for column as Xen's xl prints it. */
import type { DomainInfo } from '../../api/schema/domain.ts';

export interface DomainColumns {
  readonly verbose?: boolean;
  readonly context?: boolean;
  readonly claim?: boolean;
  readonly cpupool?: boolean;
  readonly numa?: boolean;
  /** Names of CPU pools, by id. */
  readonly poolNames?: ReadonlyMap<number, string>;
}

/** By SHUTDOWN: poweroff, reboot, suspend, crash, watchdog, soft reset. */
const REASON_LETTERS = '-rscwS';

function row(d: DomainInfo, columns: DomainColumns): string {
  const reason = d.shutdownReason ?? 0;
  const state = [
    d.running ? 'r' : '-',
    d.blocked ? 'b' : '-',
    d.paused ? 'p' : '-',
    d.shutdown ? 's' : '-',
    REASON_LETTERS[reason] ?? '?',
    d.dying ? 'd' : '-',
  ].join('');
  const memory = Math.floor((d.memoryKiB + d.outstandingKiB) / 1024);
  let line = `${d.name.padEnd(40)} ${pad(d.domid, 5)} ${pad(memory, 5)} ${pad(d.vcpusOnline, 5)}     ${state}  ${pad(d.cpuTime.toFixed(1), 8)}`;
  if (columns.verbose) line += ` ${d.uuid} ${pad(d.shutdownReason?.toString(16) ?? '-', 8)}`;
  if (columns.claim) line += ` ${pad(Math.floor(d.outstandingKiB / 1024), 5)}`;
  // No security labels: there is no security module.
  if (columns.verbose || columns.context) line += ` ${pad('-', 16)}`;
  if (columns.cpupool) line += pad(columns.poolNames?.get(d.cpupool) ?? '', 16);
  // The machine has one node.
  if (columns.numa) line += ' any node';
  return line;
}

const pad = (value: number | string, width: number) => `${value}`.padStart(width);

export function domainTable(domains: readonly DomainInfo[], columns: DomainColumns = {}): string[] {
  let head = 'Name                                        ID   Mem VCPUs\tState\tTime(s)';
  if (columns.verbose) head += '   UUID                            Reason-Code\tSecurity Label';
  else if (columns.context) head += '   Security Label';
  if (columns.claim) head += '  Claimed';
  if (columns.cpupool) head += '         Cpupool';
  if (columns.numa) head += ' NODE Affinity';
  return [head, ...domains.map((d) => row(d, columns))];
}
