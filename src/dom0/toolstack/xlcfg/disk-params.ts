/**
 * `disk = [ '…' ]` (xl-disk-configuration(5)): parameters by name, flags, and what has no `=` in the order target, format,
 * vdev, access. As libxlu's scanner, the rule that matches most characters wins, the first of those that match as many.
 */
import { ToolstackError } from '../error.ts';

export interface DiskParams {
  target?: string;
  format?: string;
  vdev: string;
  access?: 'r' | 'rw';
  devtype?: 'disk' | 'cdrom';
  backend?: string;
  backendtype?: string;
  specification?: string;
  script?: string;
  discard?: boolean;
  trusted?: boolean;
  directIoSafe?: boolean;
  /** COLO parameters, as they were written. */
  colo?: string[];
}

export class DiskSyntaxError extends ToolstackError {}

const FORMATS = ['raw', 'qcow', 'qcow2', 'vhd', 'empty', 'qed'];
const BACKEND_TYPES = ['phy', 'tap', 'qdisk', 'standalone'];
const SPECIFICATIONS = ['xen', 'virtio'];
const ACCESS: Readonly<Record<string, 'r' | 'rw'>> = { r: 'r', ro: 'r', w: 'rw', rw: 'rw', '': 'rw' };

type Action = (p: DiskParser, matched: string) => void;

const afterEquals = (matched: string) => matched.slice(matched.indexOf('=') + 1).replace(/,$/, '');
const named = (name: string, set: (p: DiskParser, value: string) => void): [RegExp, Action] => [
  new RegExp(`${name}=[^,]*,?`, 'y'),
  (p, matched) => set(p, afterEquals(matched)),
];
const flag = (name: string, set: (p: DiskParser) => void): [RegExp, Action] => [new RegExp(`${name},?`, 'y'), set];
const colo: Action = (p, matched) => {
  p.disk.colo = [...(p.disk.colo ?? []), matched.replace(/,$/, '')];
};

const RULES: readonly [RegExp, Action][] = [
  named('format', (p, v) => p.setFormat(v)),
  flag('cdrom', (p) => p.setType('cdrom')),
  named('devtype', (p, v) => p.setType(v)),
  named('access', (p, v) => p.setAccess(v)),
  named('backend', (p, v) => p.save('backend', v)),
  named('backendtype', (p, v) => p.choose('backendtype', v, BACKEND_TYPES)),
  named('specification', (p, v) => p.choose('specification', v, SPECIFICATIONS)),
  named('vdev', (p, v) => p.save('vdev', v)),
  named('script', (p, v) => p.save('script', v)),
  flag('direct-io-safe', (p) => {
    p.disk.directIoSafe = true;
  }),
  flag('discard', (p) => {
    p.disk.discard = true;
  }),
  flag('no-discard', (p) => {
    p.disk.discard = false;
  }),
  [/colo,?/y, colo],
  [/(?:colo-host|colo-port|colo-export|active-disk|hidden-disk)=[^,]*,?/y, colo],
  flag('no-colo', () => {}),
  flag('trusted', (p) => {
    p.disk.trusted = true;
  }),
  flag('untrusted', (p) => {
    p.disk.trusted = false;
  }),
  // Takes the rest of the string, commas and all.
  [/target=.*/y, (p, matched) => p.save('target', afterEquals(matched))],
  [/[a-z][-a-z0-9]*=[^,],?/y, (p, matched) => p.fail(matched, 'unknown parameter')],
  // Deprecated: `raw:/path`, `phy:/dev/…`; the path is what follows.
  [/(?:raw|qcow2?|vhd):(?=\/)/y, (p, matched) => p.prefix(matched)],
  [/(?:iscsi|e?nbd|drbd):(?=\/)/y, (p, matched) => p.scriptPrefix(matched)],
  [/(?:tapdisk|tap2?|aio|ioemu|file|phy):(?=\/)/y, (p) => p.prefix('')],
  [/[^=,]*,|[^=,]+/y, (p, matched) => p.positional(matched.replace(/,$/, ''))],
];

/** Their patterns count as if they matched the whole rest, and so come first. */
const GREEDY = /^(?:raw|qcow2?|vhd|iscsi|e?nbd|drbd|tapdisk|tap2?|aio|ioemu|file|phy):\//;

class DiskParser {
  readonly disk: Partial<DiskParams> = {};
  #deprecatedPrefix = false;
  #accessSeen = false;

  fail(near: string, message: string): never {
    throw new DiskSyntaxError(`${message}: \`${near}'`);
  }

  /** A value that was given before, other than as empty, may not be given again. */
  save(key: 'target' | 'vdev' | 'backend' | 'script', value: string): void {
    if (this.disk[key]) this.fail(value, `${key} respecified`);
    this.disk[key] = value;
  }

  choose(key: 'backendtype' | 'specification' | 'format', value: string, known: readonly string[]): void {
    if (!known.includes(value)) this.fail(value, `unknown value for ${key}`);
    const before = this.disk[key];
    if (before !== undefined && before !== value) this.fail(value, `${key} respecified`);
    this.disk[key] = value;
  }

  setFormat(value: string): void {
    this.choose('format', value === '' ? 'raw' : value, FORMATS);
  }

  setType(value: string): void {
    if (value !== 'cdrom' && value !== 'disk') this.fail(`devtype=${value}`, 'unknown value for type');
    this.disk.devtype = value as 'disk' | 'cdrom';
  }

  setAccess(value: string): void {
    const access = ACCESS[value];
    if (access === undefined) this.fail(value, 'unknown value for access');
    this.disk.access = access;
  }

  prefix(matched: string): void {
    this.#deprecatedPrefix = true;
    if (matched !== '') this.setFormat(matched.slice(0, -1));
  }

  scriptPrefix(matched: string): void {
    this.#deprecatedPrefix = true;
    this.save('script', `block-${matched.slice(0, -1)}`);
  }

  positional(value: string): void {
    const { disk } = this;
    if (disk.target === undefined) this.save('target', value);
    else if (!this.#deprecatedPrefix && disk.format === undefined) {
      if (disk.target === '' && this.#vdevAndType(value)) disk.format = 'empty';
      else this.setFormat(value);
    } else if (disk.vdev === undefined) {
      if (!this.#vdevAndType(value)) this.save('vdev', value);
    } else if (!this.#accessSeen) {
      this.#accessSeen = true;
      this.setAccess(value);
    } else this.fail(value, 'too many positional parameters');
  }

  /** Deprecated: `hdc:cdrom`. */
  #vdevAndType(value: string): boolean {
    const colon = value.lastIndexOf(':');
    if (colon < 0) return false;
    this.save('vdev', value.slice(0, colon));
    const type = value.slice(colon + 1);
    if (type !== 'cdrom' && type !== 'disk') this.fail(type, 'unknown deprecated type');
    this.disk.devtype = type as 'disk' | 'cdrom';
    return true;
  }
}

/** Throws DiskSyntaxError. Defaults are filled in: format raw, access rw. A CD drive is read-only whatever was written. */
export function parseDiskParams(text: string): DiskParams {
  const parser = new DiskParser();
  for (let at = 0; at < text.length; ) {
    const space = /[ \t\n]+(?=[^ \t\n]|$)/y;
    space.lastIndex = at;
    if (space.test(text)) {
      at = space.lastIndex;
      continue;
    }
    let best: { action: Action; matched: string; length: number } | undefined;
    for (const [rule, action] of RULES) {
      rule.lastIndex = at;
      const matched = rule.exec(text)?.[0];
      if (matched === undefined) continue;
      const whole = matched.endsWith(':') && GREEDY.test(text.slice(at));
      const length = whole ? text.length - at : matched.length;
      if (!best || length > best.length) best = { action, matched, length };
    }
    if (!best) return parser.fail(text.slice(at), 'bad disk syntax');
    best.action(parser, best.matched);
    at += best.matched.length;
  }
  const { disk } = parser;
  if (disk.vdev === undefined) throw new DiskSyntaxError('no vdev specified');
  const cdrom = disk.devtype === 'cdrom';
  if (disk.target === undefined && !cdrom) throw new DiskSyntaxError('no target specified (and device not removable)');
  return {
    ...disk,
    vdev: disk.vdev,
    format: cdrom && !disk.target ? 'empty' : (disk.format ?? 'raw'),
    access: cdrom ? 'r' : (disk.access ?? 'rw'),
    devtype: disk.devtype ?? 'disk',
  };
}
