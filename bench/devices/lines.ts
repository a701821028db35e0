/** What is measured of devices: one entry a line of the table. */
import type { DeviceGuest } from './guest.ts';
import { PORT } from './ramdisk.ts';
import type { DeviceSide } from './sides.ts';
import { HOST_ADDRESS } from './sides.ts';

export type DeviceGroup = 'disk' | 'network' | 'debian';

export interface Unit {
  readonly name: string;
  /** Whether a larger figure is the better one. */
  readonly more: boolean;
  readonly digits: number;
}

const RATE: Unit = { name: 'MiB/s', more: true, digits: 1 };
const OPERATIONS: Unit = { name: 'IOPS', more: true, digits: 0 };
const LATENCY: Unit = { name: 'us', more: false, digits: 0 };
const SECONDS: Unit = { name: 's', more: false, digits: 2 };

/** What a line's measurement gets; `seconds`: how long it is to take. */
export interface Running {
  readonly side: DeviceSide;
  readonly guests: readonly DeviceGuest[];
  readonly seconds: number;
}

export interface DeviceLine {
  readonly name: string;
  readonly group: DeviceGroup;
  readonly what: string;
  readonly unit: Unit;
  /** The figure of one run with running guests; without it, the line is the boot of a whole Debian. */
  readonly measure?: (running: Running) => Promise<number>;
}

/** Of a JSON report of fio, what is used here. */
interface FioReport {
  readonly jobs: readonly { readonly job_runtime: number; readonly read: FioSide; readonly write: FioSide }[];
}
interface FioSide {
  readonly bw_bytes: number;
  readonly iops: number;
}

/** What fio says of its one job, which read or wrote; undefined if it is no such report. */
export function parseFio(text: string): { seconds: number; bytes: number; operations: number } | undefined {
  try {
    const { jobs } = JSON.parse(text.slice(text.indexOf('{'))) as FioReport;
    const [{ read, write, job_runtime: ms }] = jobs;
    const used = read.bw_bytes > 0 ? read : write;
    return used.bw_bytes > 0 ? { seconds: ms / 1000, bytes: used.bw_bytes, operations: used.iops } : undefined;
  } catch {
    return undefined;
  }
}

/** The line that the network program prints. */
export function parseNet(text: string): { seconds: number; count: number } | undefined {
  const found = /^(?:stream|request) (\d+\.\d+) (\d+)\s*$/m.exec(text);
  return found ? { seconds: Number(found[1]), count: Number(found[2]) } : undefined;
}

const MIB = 1 << 20;

/** fio on the disk itself, past the guest's page cache. */
function fio(mode: string, block: string, depth: number, figure: 'bytes' | 'operations') {
  return async ({ side, guests, seconds }: Running): Promise<number> => {
    const options = {
      name: mode,
      filename: `/dev/${side.disk}b`,
      rw: mode,
      bs: block,
      iodepth: depth,
      ioengine: 'libaio',
      direct: 1,
      time_based: 1,
      runtime: seconds,
      randseed: 1,
      'output-format': 'json',
    };
    const flags = Object.entries(options).map(([key, value]) => `--${key}=${value}`);
    const got = await guests[0].measure(`chroot /debian fio --thread ${flags.join(' ')}`, parseFio);
    return figure === 'bytes' ? got.bytes / MIB : got.operations;
  };
}

/** Of the second guest, on the network that both share. */
export const WIRE = ['192.168.7.1', '192.168.7.2'] as const;

function net(kind: 'stream' | 'request', address: string) {
  return async ({ guests, seconds }: Running): Promise<number> => {
    const got = await guests[0].measure(`net ${kind} ${address} ${PORT} ${seconds}`, parseNet);
    return kind === 'stream' ? got.count / MIB / got.seconds : (got.seconds / got.count) * 1e6;
  };
}

export const DEVICE_LINES: readonly DeviceLine[] = [
  {
    name: 'seqread',
    group: 'disk',
    what: 'fio, read 128 KiB in order',
    unit: RATE,
    measure: fio('read', '128k', 8, 'bytes'),
  },
  {
    name: 'seqwrite',
    group: 'disk',
    what: 'fio, write 128 KiB in order',
    unit: RATE,
    measure: fio('write', '128k', 8, 'bytes'),
  },
  {
    name: 'randread',
    group: 'disk',
    what: 'fio, read 4 KiB anywhere',
    unit: OPERATIONS,
    measure: fio('randread', '4k', 16, 'operations'),
  },
  {
    name: 'randwrite',
    group: 'disk',
    what: 'fio, write 4 KiB anywhere',
    unit: OPERATIONS,
    measure: fio('randwrite', '4k', 16, 'operations'),
  },
  { name: 'domtcp', group: 'network', what: 'TCP, domain to domain', unit: RATE, measure: net('stream', WIRE[1]) },
  { name: 'hosttcp', group: 'network', what: 'TCP, domain to host', unit: RATE, measure: net('stream', HOST_ADDRESS) },
  {
    name: 'domrr',
    group: 'network',
    what: 'request and response, domain',
    unit: LATENCY,
    measure: net('request', WIRE[1]),
  },
  {
    name: 'hostrr',
    group: 'network',
    what: 'request and response, host',
    unit: LATENCY,
    measure: net('request', HOST_ADDRESS),
  },
  { name: 'login', group: 'debian', what: 'launch to login of Debian', unit: SECONDS },
];
