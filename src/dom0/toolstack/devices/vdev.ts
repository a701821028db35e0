/** Names of virtual block devices and their numbers (docs/man/xen-vbd-interface.7): `xvda`, `sdb3`, `hdc`, `d2p1`. */
import { ToolstackError } from '../error.ts';

/** `1 << 28 | disk << 8 | partition` */
const EXTENDED = 1 << 28;

interface Naming {
  readonly major: (disk: number) => number;
  readonly disks: number;
  readonly partitions: number;
  readonly shift: number;
  /** Disk within its major. */
  readonly unit: (disk: number) => number;
}

const NAMINGS: Readonly<Record<string, Naming>> = {
  xvd: { major: () => 202, disks: 16, partitions: 16, shift: 4, unit: (d) => d },
  sd: { major: () => 8, disks: 16, partitions: 16, shift: 4, unit: (d) => d },
  hd: { major: (d) => (d < 2 ? 3 : 22), disks: 4, partitions: 64, shift: 6, unit: (d) => d % 2 },
};
const MAX_DISK = (1 << 20) - 1;

/** `a` is 0, `z` 25, `aa` 26. */
function letters(text: string): number {
  let n = 0;
  for (const c of text) n = n * 26 + (c.charCodeAt(0) - 96);
  return n - 1;
}

/** The number of the device. Throws ToolstackError for a name that is none. */
export function vdevNumber(name: string): number {
  const named = /^(xvd|sd|hd)([a-z]{1,4})(\d{1,3})?$/.exec(name);
  if (named) {
    const [, kind, disk, partition] = named;
    return encode(name, NAMINGS[kind], kind, letters(disk), Number(partition ?? 0));
  }
  const plain = /^d(\d{1,7})(?:p(\d{1,3}))?$/.exec(name);
  if (plain) return encode(name, NAMINGS.xvd, 'xvd', Number(plain[1]), Number(plain[2] ?? 0));
  if (/^\d{1,9}$/.test(name)) return Number(name);
  throw new ToolstackError(`${name} is no name of a virtual disk; names are like xvda, sdb3 or hdc`);
}

function encode(name: string, naming: Naming, kind: string, disk: number, partition: number): number {
  if (disk < naming.disks && partition < naming.partitions) {
    return (naming.major(disk) << 8) | (naming.unit(disk) << naming.shift) | partition;
  }
  if (kind !== 'xvd' || disk > MAX_DISK || partition > 255) {
    throw new ToolstackError(`${name}: there are no so many disks or partitions of that kind; use xvd names`);
  }
  return EXTENDED | (disk << 8) | partition;
}
