/** The table of `xl top`: columns and lines of Xen's xentop. */
import type { DeviceCounters } from '../../api/schema/device.ts';
import type { DomainInfo } from '../../api/schema/domain.ts';
import type { VcpuEntry } from '../../api/schema/vcpu.ts';

/** What was found at one moment. */
export interface Sample {
  /** ms since 1970. */
  readonly at: number;
  readonly domains: readonly DomainInfo[];
  readonly devices: ReadonlyMap<number, DeviceCounters>;
  /** Of each domain, where they are asked for. */
  readonly vcpus: ReadonlyMap<number, readonly VcpuEntry[]>;
}

export interface TopOptions {
  /** Memory of the machine. */
  readonly totalKiB: number;
  /** Names in full, not their first ten letters. */
  readonly fullNames: boolean;
  /** The head again for each domain. */
  readonly repeatHead: boolean;
  /** Lines for each network card, disk and vCPU. */
  readonly networks: boolean;
  readonly vbds: boolean;
  readonly vcpus: boolean;
}

interface Row {
  readonly d: DomainInfo;
  readonly devices: DeviceCounters | undefined;
  /** Share of one pCPU since the sample before, in percent. */
  readonly cpuPercent: number;
  readonly options: TopOptions;
}

/** Memory beyond this is no limit. */
const NO_LIMIT_KIB = 2 ** 32;

const percent = (part: number, whole: number) => (whole > 0 ? (100 * part) / whole : 0).toFixed(1);
const limited = (d: DomainInfo) => d.maxMemoryKiB < NO_LIMIT_KIB;

function state(d: DomainInfo): string {
  const flags = [
    d.dying && 'd',
    d.shutdown && 's',
    d.blocked && 'b',
    d.shutdownReason === 3 && 'c',
    d.paused && 'p',
    d.running && 'r',
  ];
  return flags.map((f) => f || '-').join('');
}

type VifCounter = keyof NonNullable<DeviceCounters['vifs'][number]['counters']>;
type VbdCounter = keyof NonNullable<DeviceCounters['vbds'][number]['counters']>;
const vifSum = (r: Row, name: VifCounter) =>
  (r.devices?.vifs ?? []).reduce((sum, v) => sum + (v.counters?.[name] ?? 0), 0);
const vbdSum = (r: Row, name: VbdCounter) =>
  (r.devices?.vbds ?? []).reduce((sum, v) => sum + (v.counters?.[name] ?? 0), 0);
const kib = (bytes: number) => `${Math.floor(bytes / 1024)}`;

/** Requests that found no room in the back end: ours carries out each where it takes it from the ring, so there are none. */
const OUT_OF_REQUESTS = 0;

/** Name, least width, and what is in it. A column grows with what it has to show. */
const COLUMNS: readonly (readonly [name: string, width: number, text: (r: Row) => string])[] = [
  ['NAME', 10, ({ d, options }) => (options.fullNames ? d.name : d.name.slice(0, 10))],
  ['STATE', 6, ({ d }) => state(d)],
  ['CPU(sec)', 10, ({ d }) => `${Math.floor(d.cpuTime)}`],
  ['CPU(%)', 6, ({ cpuPercent }) => cpuPercent.toFixed(1)],
  ['MEM(k)', 10, ({ d }) => `${d.memoryKiB}`],
  ['MEM(%)', 6, ({ d, options }) => percent(d.memoryKiB, options.totalKiB)],
  ['MAXMEM(k)', 10, ({ d }) => (limited(d) ? `${d.maxMemoryKiB}` : 'no limit')],
  ['MAXMEM(%)', 9, ({ d, options }) => (limited(d) ? percent(d.maxMemoryKiB, options.totalKiB) : 'n/a')],
  ['VCPUS', 5, ({ d }) => `${d.vcpusOnline}`],
  ['NETS', 4, (r) => `${r.devices?.vifs.length ?? 0}`],
  ['NETTX(k)', 8, (r) => kib(vifSum(r, 'tx_bytes'))],
  ['NETRX(k)', 8, (r) => kib(vifSum(r, 'rx_bytes'))],
  ['VBDS', 4, (r) => `${r.devices?.vbds.length ?? 0}`],
  ['VBD_OO', 8, () => `${OUT_OF_REQUESTS}`],
  ['VBD_RD', 8, (r) => `${vbdSum(r, 'rd_req')}`],
  ['VBD_WR', 8, (r) => `${vbdSum(r, 'wr_req')}`],
  ['VBD_RSECT', 10, (r) => `${vbdSum(r, 'rd_sect')}`],
  ['VBD_WSECT', 10, (r) => `${vbdSum(r, 'wr_sect')}`],
  // Labels of a security module: there is none.
  ['SSID', 4, () => '0'],
];

/** Lines of a sample, the head first; `before`: the sample that CPU(%) counts from. */
export function topTable(sample: Sample, before: Sample | undefined, options: TopOptions): string[] {
  const rows = sample.domains.map((d) => ({
    d,
    devices: sample.devices.get(d.domid),
    cpuPercent: cpuPercent(d, sample, before),
    options,
  }));
  const cells = rows.map((r) => COLUMNS.map(([, , text]) => text(r)));
  const widths = COLUMNS.map(([, width], i) => Math.max(width, ...cells.map((c) => c[i].length)));
  const line = (words: readonly string[]) => words.map((w, i) => w.padStart(widths[i])).join(' ');
  const head = line(COLUMNS.map(([name]) => name));
  return rows.flatMap((r, i) => [
    ...(i === 0 || options.repeatHead ? [head] : []),
    line(cells[i]),
    ...(options.vcpus ? vcpuLines(sample.vcpus.get(r.d.domid) ?? []) : []),
    ...(options.networks ? (r.devices?.vifs ?? []).map(netLine) : []),
    ...(options.vbds ? (r.devices?.vbds ?? []).map(vbdLine) : []),
  ]);
}

function cpuPercent(d: DomainInfo, sample: Sample, before: Sample | undefined): number {
  const last = before?.domains.find((o) => o.domid === d.domid && o.uuid === d.uuid);
  const seconds = before ? (sample.at - before.at) / 1000 : 0;
  return last && seconds > 0 ? (100 * (d.cpuTime - last.cpuTime)) / seconds : 0;
}

const PER_LINE = 5;

function vcpuLines(vcpus: readonly VcpuEntry[]): string[] {
  const words = vcpus
    .filter((v) => v.online)
    .map((v) => ` ${`${v.vcpu}`.padStart(2)}: ${`${Math.floor(v.time)}`.padStart(10)}s`);
  const lines: string[] = [];
  for (let i = 0; i < words.length; i += PER_LINE) lines.push(words.slice(i, i + PER_LINE).join(''));
  return lines.map((text, i) => `${i === 0 ? 'VCPUs(sec): ' : '        '}${text}`);
}

const count = (value: number | undefined, width = 8) => `${value ?? 0}`.padStart(width);

function netLine({ counters: c }: DeviceCounters['vifs'][number], index: number): string {
  const way = (bytes?: number, packets?: number, errors?: number) =>
    `${count(bytes)}bytes ${count(packets)}pkts ${count(errors)}err ${count(0)}drop`;
  return `Net${index} RX: ${way(c?.rx_bytes, c?.rx_packets, c?.rx_errors)}  TX: ${way(c?.tx_bytes, c?.tx_packets, c?.tx_errors)}`;
}

function vbdLine({ devid, counters: c }: DeviceCounters['vbds'][number]): string {
  const [major, minor] = [devid >> 8, devid & 0xff].map((n) => n.toString(16).padStart(2));
  return `VBD BlkBack ${`${devid}`.padStart(4)} [${major}:${minor}]  OO: ${count(OUT_OF_REQUESTS)}   RD: ${count(c?.rd_req)}   WR: ${count(c?.wr_req)}   RSECT: ${count(c?.rd_sect, 10)}   WSECT: ${count(c?.wr_sect, 10)}`;
}
