/**
 * One string of `vif=[…]`, as xl-network-configuration(5) describes it, with three keys of our own: `forward=tcp:2222:22`
 * (with script=vif-nat, as often as needed), `dhcp=192.168.7.0/24` (of the bridge) and `capture=FILE`.
 */
import type { NicConfig } from '../devices/nic.ts';
import { ToolstackError } from '../error.ts';
import { parseNumber } from './reader.ts';

export type ParsedVif = { -readonly [K in keyof Omit<NicConfig, 'forwards'>]: NicConfig[K] } & { forwards?: string[] };

const SUPPORT = 'not supported yet; see docs/SUPPORT.md';
const UNIT = { '': 1, K: 1e3, M: 1e6, G: 1e9 };
const TIME = { us: 1, ms: 1e3, s: 1e6 };
const DEFAULT_INTERVAL_US = 50_000;
const RATE = /^(\d{1,12})([GMK]?)([bB])\/s(?:@(\d{1,9})(us|ms|s)?)?$/;

const fail = (message: string): never => {
  throw new ToolstackError(message);
};

type Setter = (v: ParsedVif, value: string, key: string) => void;

const text =
  (key: 'mac' | 'bridge' | 'vifname' | 'model' | 'backend' | 'capture' | 'dhcp'): Setter =>
  (v, value) => {
    v[key] = value;
  };
const number =
  (key: 'mtu' | 'devid'): Setter =>
  (v, value) => {
    v[key] = parseNumber(value) ?? fail(`${key} "${value}" is no number`);
  };
const unsupported: Setter = (_, __, key) => fail(`${key} is ${SUPPORT}`);

const KEYS: Readonly<Record<string, Setter>> = {
  mac: text('mac'),
  bridge: text('bridge'),
  model: text('model'),
  backend: text('backend'),
  capture: text('capture'),
  dhcp: text('dhcp'),
  mtu: number('mtu'),
  devid: number('devid'),
  forward: (v, value) => {
    v.forwards = [...(v.forwards ?? []), value];
  },
  script: (v, value) => {
    v.script = value.replace(/^.*\//, '');
  },
  type: (_, value) => {
    if (value === 'ioemu') fail(`type=ioemu is ${SUPPORT}`);
    if (value !== 'vif') fail(`type "${value}" is neither vif nor ioemu`);
  },
  rate: (v, value) => {
    v.rate = parseRate(value);
  },
  vifname: text('vifname'),
  // A hint of old.
  accel: () => {},
  gatewaydev: unsupported,
  ip: unsupported,
  trusted: (_, value) => {
    if (value !== '1' && value !== 'true') fail(`an untrusted back end is ${SUPPORT}`);
  },
};

/** `RATE[@INTERVAL]`: "10Mb/s", "250KB/s", "1MB/s@20ms". */
export function parseRate(value: string): { bytesPerInterval: number; intervalUs: number } {
  const match = RATE.exec(value);
  if (!match) return fail(`rate "${value}": it must be like 10Mb/s or 250KB/s@20ms`);
  const [, count, unit, bits, interval, time] = match;
  const bytesPerSecond = (Number(count) * UNIT[unit as keyof typeof UNIT]) / (bits === 'b' ? 8 : 1);
  const intervalUs =
    interval === undefined ? DEFAULT_INTERVAL_US : Number(interval) * TIME[(time ?? 'us') as keyof typeof TIME];
  const bytesPerInterval = Math.floor((bytesPerSecond * intervalUs) / 1e6);
  if (bytesPerInterval < 1 || intervalUs < 1 || intervalUs > 2 ** 32 - 1)
    fail(`rate "${value}": that is nothing at all`);
  return { bytesPerInterval, intervalUs };
}

/** Throws ToolstackError. */
export function parseVif(source: string): ParsedVif {
  const vif: ParsedVif = {};
  for (const word of source.split(',')) {
    const item = word.trim();
    if (item === '') continue;
    const [, key, value] = /^([a-z]+)\s*=\s*(.*)$/.exec(item) ?? [];
    if (key === undefined || !(key in KEYS)) fail(`unrecognized argument "${item}"`);
    KEYS[key](vif, value, key);
  }
  return vif;
}
