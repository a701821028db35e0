/**
 * A disk with Debian on it, made from Debian's packages by mmdebstrap and mke2fs, without root where user namespaces are
 * allowed. The disk is one ext4 file system without a partition table, with a boot loader's configuration for pygrub and
 * grub-xen; the guest gets its address by DHCP and answers to ssh.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** What keeps an image from being made, in words for the user. */
export class ImageBuildError extends Error {}

export interface DebianOptions {
  /** Of the file system, which is that of the disk. */
  readonly sizeMiB: number;
  /** Debian's release, by code name. */
  readonly suite: string;
  /** Where the packages come from; by default what mmdebstrap takes for the release. */
  readonly mirror?: string;
  readonly flavour: 'cloud' | 'generic';
  readonly hostname: string;
  /** Name of an account that may use sudo; without one, password and keys are root's. */
  readonly user?: string;
  readonly password?: string;
  /** Lines of authorized_keys. */
  readonly sshKeys?: readonly string[];
  /** Packages besides those below. */
  readonly packages?: readonly string[];
}

/** What a guest needs to boot to a login prompt, with network and ssh. */
const PACKAGES = [
  'ca-certificates',
  'dbus',
  'e2fsprogs',
  'initramfs-tools',
  'iproute2',
  'iputils-ping',
  'kmod',
  'less',
  'libnss-resolve',
  'login',
  'netbase',
  'openssh-server',
  'procps',
  'sudo',
  'systemd-resolved',
  'systemd-sysv',
  'systemd-timesyncd',
  'udev',
  'zstd',
];
const KERNELS = { cloud: 'linux-image-cloud-amd64', generic: 'linux-image-amd64' };

/** Programs that do the work, and the packages that they come in. */
const TOOLS = { mmdebstrap: 'mmdebstrap', mke2fs: 'e2fsprogs' };
/** What mmdebstrap needs besides, when it is not run by root. */
const USER_TOOLS = { newuidmap: 'uidmap' };

const MIN_SIZE_MIB = 1024;
const MAX_SIZE_MIB = 1 << 20;
/** Lines of mmdebstrap's output that go with an error. */
const TAIL = 12;

const RULES: readonly (readonly [keyof DebianOptions, RegExp, string])[] = [
  ['suite', /^[a-z][a-z0-9-]*$/, 'the code name of a release'],
  ['hostname', /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'up to 63 small letters, digits and dashes'],
  ['user', /^[a-z_][a-z0-9_-]{0,31}$/, 'up to 32 small letters, digits, dashes'],
  ['password', /^[^\n\0]+$/, 'one line'],
  ['mirror', /^(deb .*|[a-z+]+:\/\/\S+)$/, 'a URL, or a line of sources.list'],
];

/** Throws ImageBuildError for options that no image can be made with. */
export function checkOptions(o: DebianOptions): void {
  if (!Number.isInteger(o.sizeMiB) || o.sizeMiB < MIN_SIZE_MIB || o.sizeMiB > MAX_SIZE_MIB) {
    throw new ImageBuildError(
      `a size of ${o.sizeMiB} MiB: it must be a whole number from ${MIN_SIZE_MIB} to ${MAX_SIZE_MIB}`,
    );
  }
  for (const [key, pattern, wanted] of RULES) {
    const value = o[key];
    if (value !== undefined && !pattern.test(String(value))) {
      const shown = key === 'password' ? '' : ` "${value}"`;
      throw new ImageBuildError(`the ${key}${shown} must be ${wanted}`);
    }
  }
  for (const name of o.packages ?? []) {
    if (!/^[a-z0-9][a-z0-9+.-]+$/.test(name)) throw new ImageBuildError(`"${name}" is no name of a package`);
  }
  for (const key of o.sshKeys ?? []) {
    if (!/^[^\n\0]+$/.test(key)) throw new ImageBuildError('each SSH key must be one line');
  }
  if (o.user !== undefined && o.password === undefined && !o.sshKeys?.length) {
    throw new ImageBuildError(`${o.user} could not log in: give a password or an SSH key`);
  }
}

/**
 * Makes the file system. The stream gives its `sizeMiB` MiB, zeros included; it ends with an error (ImageBuildError) if
 * that fails. `progress` gets a line for each step. Destroying the stream ends the work.
 */
export function debianFileSystem(o: DebianOptions, progress: (line: string) => void): Readable {
  checkOptions(o);
  requireTools({ ...TOOLS, ...(process.getuid?.() === 0 ? {} : USER_TOOLS) });
  const include = [...PACKAGES, KERNELS[o.flavour], ...(o.packages ?? [])].join();
  const hook = fileURLToPath(new URL('customize.sh', import.meta.url));
  const args = [
    '--variant=minbase',
    '--format=null',
    `--include=${include}`,
    `--customize-hook=${hook}`,
    o.suite,
    '/dev/null',
  ];
  if (o.mirror) args.push(o.mirror);
  const child = spawn('mmdebstrap', args, {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: {
      ...process.env,
      LC_ALL: 'C',
      GUEST_UUID: randomUUID(),
      GUEST_HOSTNAME: o.hostname,
      GUEST_SIZE_MIB: String(o.sizeMiB),
      GUEST_USER: o.user ?? '',
      GUEST_PASSWORD: o.password ?? '',
      GUEST_SSH_KEYS: (o.sshKeys ?? []).join('\n'),
    },
  });
  const ended = outcome(child, progress);
  return Readable.from(read(child, ended), { objectMode: false });
}

async function* read(child: ChildProcess, ended: Promise<void>): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of child.stdio[3] as Readable) yield chunk as Buffer;
    await ended;
  } finally {
    ended.catch(() => {});
    if (child.exitCode === null) child.kill();
  }
}

/** Resolves when the process ended well; rejects with the end of what it said. */
function outcome(child: ChildProcess, progress: (line: string) => void): Promise<void> {
  const tail: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream! }).on('line', (line) => {
      if (tail.push(line) > TAIL) tail.shift();
      const [, step] = /^I: (.*)/.exec(line) ?? [];
      if (step)
        progress(step.startsWith('running --customize-hook') ? 'setting up the guest, making the file system' : step);
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new ImageBuildError(`mmdebstrap cannot be run: ${error.message}`)));
    child.once('close', (code, signal) => {
      if (code === 0) resolve();
      else
        reject(new ImageBuildError(`mmdebstrap ${signal ? `was ended by ${signal}` : 'failed'}:\n${tail.join('\n')}`));
    });
  });
}

/** mke2fs is in /sbin, which is not in everybody's path. */
function requireTools(tools: Readonly<Record<string, string>>): void {
  const dirs = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  const there = (name: string) =>
    dirs.some((dir) => {
      try {
        accessSync(join(dir, name), constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
  const missing = Object.entries(tools).filter(([name]) => !there(name));
  if (missing.length) {
    const packages = [...new Set(missing.map(([, p]) => p))].join(' ');
    throw new ImageBuildError(`${missing.map(([name]) => name).join(' and ')} not found: apt-get install ${packages}`);
  }
}
