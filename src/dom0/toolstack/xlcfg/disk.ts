/** One string of `disk=[…]`, as xl-disk-configuration(5) describes it. */
import type { DiskConfig } from '../devices/disk.ts';
import { ToolstackError } from '../error.ts';

/** What the string says: a DiskConfig whose target is as it was written. */
export type ParsedDisk = { -readonly [K in keyof DiskConfig]: DiskConfig[K] };

const SUPPORT = 'not supported yet; see docs/SUPPORT.md';
const FORMATS: readonly string[] = ['raw', 'qcow', 'qcow2', 'vhd', 'qed'];
const BACKEND_TYPES: readonly string[] = ['phy', 'tap', 'qdisk', 'standalone'];
/** Prefixes of the target that older configurations have, and the format that each means. */
const PREFIX = /^(?:(raw|qcow2?|vhd|aio|tap2?|tapdisk|file|phy|drbd|iscsi|nbd|e?nbd):)+/;

const fail = (message: string): never => {
  throw new ToolstackError(message);
};

/** A key with a value, and one without. */
type Setter = (d: ParsedDisk, value: string) => void;

const access: Setter = (d, value) => {
  if (value === 'r' || value === 'ro') d.readOnly = true;
  else if (value === 'w' || value === 'rw') d.readOnly = false;
  else fail(`access mode "${value}" is none of r, ro, w, rw`);
};
const format: Setter = (d, value) => {
  if (!FORMATS.includes(value)) fail(`format "${value}" is none of ${FORMATS.join(', ')}`);
  d.format = value;
};
const devtype: Setter = (d, value) => {
  if (value !== 'cdrom') fail(`devtype "${value}" is not cdrom`);
  d.cdrom = true;
};
const backendType: Setter = (_, value) => {
  if (!BACKEND_TYPES.includes(value)) fail(`backendtype "${value}" is none of ${BACKEND_TYPES.join(', ')}`);
};
const vdev: Setter = (d, value) => {
  // "hdc:cdrom" is the old way to say that it is a CD drive.
  const [, name, type] = /^([^:]*)(?::(.*))?$/.exec(value)!;
  if (type === 'cdrom') d.cdrom = true;
  else if (type !== undefined && type !== 'disk') fail(`vdev "${value}": "${type}" is neither disk nor cdrom`);
  d.vdev = name;
};
const unsupported =
  (key: string): Setter =>
  () =>
    fail(`${key} is ${SUPPORT}`);

const KEYS: Readonly<Record<string, Setter>> = {
  format,
  vdev,
  access,
  devtype,
  backendtype: backendType,
  backend: (d, value) => {
    d.backend = value;
  },
  script: unsupported('script'),
  'colo-host': unsupported('colo-host'),
  'colo-port': unsupported('colo-port'),
  'colo-export': unsupported('colo-export'),
  'active-disk': unsupported('active-disk'),
  'hidden-disk': unsupported('hidden-disk'),
  specification: unsupported('specification'),
};

const FLAGS: Readonly<Record<string, (d: ParsedDisk) => void>> = {
  cdrom: (d) => {
    d.cdrom = true;
  },
  discard: (d) => {
    d.discard = true;
  },
  'no-discard': (d) => {
    d.discard = false;
  },
  // Requests are never passed on to the device directly.
  'direct-io-safe': () => {},
  colo: () => fail(`colo is ${SUPPORT}`),
  'no-colo': () => {},
};

/** Parameters that are known by where they stand. */
const POSITIONS: readonly Setter[] = [
  (d, value) => {
    d.target = value;
  },
  format,
  vdev,
  access,
];

/** Throws ToolstackError. */
export function parseDisk(text: string): ParsedDisk {
  const disk: ParsedDisk = { vdev: '', target: '' };
  let position = 0;
  for (let rest = text; rest !== ''; ) {
    // The target may hold anything, so it is the last.
    const target = /^\s*target=(.*)$/s.exec(rest);
    if (target) {
      disk.target = target[1];
      break;
    }
    const comma = rest.indexOf(',');
    const word = (comma < 0 ? rest : rest.slice(0, comma)).trim();
    rest = comma < 0 ? '' : rest.slice(comma + 1);
    const [, key, value] = /^([a-z][a-z0-9-]*)=(.*)$/s.exec(word) ?? [];
    if (key !== undefined && key in KEYS) KEYS[key](disk, value);
    else if (word in FLAGS) FLAGS[word](disk);
    else if (position < POSITIONS.length) {
      if (word !== '') POSITIONS[position](disk, word);
      position++;
    } else fail(`"${word}" is too much: there are four parameters without names`);
  }
  return finish(disk);
}

function finish(disk: ParsedDisk): ParsedDisk {
  const prefix = PREFIX.exec(disk.target);
  if (prefix) {
    const last = prefix[1];
    if (last === 'drbd' || last === 'iscsi' || last.endsWith('nbd')) fail(`${last}: targets are ${SUPPORT}`);
    if (FORMATS.includes(last)) disk.format ??= last;
    disk.target = disk.target.slice(prefix[0].length);
  }
  if (disk.vdev === '') fail('vdev is missing: the name that the disk has in the guest');
  if (disk.format === 'qcow' || disk.format === 'qed') fail(`format ${disk.format} is ${SUPPORT}`);
  // `xl` knows an empty drive by an empty target.
  if (disk.target === '' && !disk.cdrom) fail('target is missing');
  return disk;
}
