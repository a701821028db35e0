/**
 * Real Xen as the judge: boots Debian's hypervisor under QEMU with a Linux control domain and Debian's xl, runs every test
 * guest there as an ordinary domain, and gives what each printed and how it ended.
 *
 * Usage: node test/guests/real-xen.ts [--record] [run ...]   (compares with expected/, or writes it; all runs if none is named)
 * Needs: qemu-system-x86_64, apt-get and dpkg-deb; the packages are kept in build/real-xen.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { type CpioEntry, cpio, S_IFDIR, S_IFLNK, S_IFREG } from '../../src/start/cpio.ts';
import { expectedPath, imagePath, JUDGED, MEMORY_MIB, RUNS, type Run, transcript } from './runs.ts';

const DIR = fileURLToPath(new URL('../../build/real-xen', import.meta.url));
const ROOT = join(DIR, 'root');
const TOOLS = ['xl', 'xenstored', 'xenconsoled', 'xen-init-dom0'];
const MODULES = ['xen-privcmd', 'xen-evtchn', 'xen-gntdev', 'xen-gntalloc', 'xenfs'];
/** The control domain has this long in all. */
const TIMEOUT_MS = 300_000;

const sh = (command: string, args: string[], cwd = DIR) =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 26 });

/** Is everything there that this needs? A reason if not. */
export function missing(): string | undefined {
  for (const [tool, arg] of [
    ['qemu-system-x86_64', '--version'],
    ['apt-get', '--version'],
    ['dpkg-deb', '--version'],
  ]) {
    try {
      execFileSync(tool, [arg], { stdio: 'ignore' });
    } catch {
      return `no ${tool}`;
    }
  }
  return undefined;
}

/** Fetch and unpack Debian's packages: the hypervisor, its tools with their libraries, a kernel, busybox. */
export function packages(): void {
  if (existsSync(join(DIR, 'complete'))) return;
  rmSync(DIR, { recursive: true, force: true });
  mkdirSync(ROOT, { recursive: true });
  const kernel = /Depends: (linux-image-\d\S+)/.exec(sh('apt-cache', ['depends', 'linux-image-amd64']))?.[1];
  if (!kernel) throw new Error('apt knows no linux-image-amd64: run apt-get update');
  const wanted = ['xen-hypervisor-4.17-amd64', 'xen-utils-4.17', 'busybox-static', kernel];
  const closure = sh('apt-cache', [
    'depends',
    '--recurse',
    '--no-recommends',
    '--no-suggests',
    '--no-conflicts',
    '--no-breaks',
    '--no-replaces',
    '--no-enhances',
    'xen-utils-4.17',
  ]);
  const libraries = [...new Set(closure.match(/^lib\S+|^zlib1g$/gm))].filter((p) => !/perl|python/.test(p));
  sh('apt-get', ['-q', '-o', 'APT::Sandbox::User=root', 'download', ...wanted, ...libraries]);
  for (const deb of readdirSync(DIR).filter((f) => f.endsWith('.deb'))) sh('dpkg-deb', ['-x', deb, ROOT]);
  writeFileSync(join(DIR, 'complete'), '');
}

/** The first file of the unpacked packages whose path from their root on is like this. */
export function unpacked(name: RegExp): string {
  const [file] = find(ROOT, name);
  if (!file) throw new Error(`no package has ${name}`);
  return file;
}

function find(dir: string, name: RegExp): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((f) => name.test(f))
    .map((f) => join(dir, f));
}

/** Shared libraries that a program needs, by their names, out of the unpacked packages. */
function libraries(programs: readonly string[]): Map<string, string> {
  const index = new Map<string, string>();
  for (const dir of ['lib', 'lib64', 'usr/lib']) {
    if (!existsSync(join(ROOT, dir))) continue;
    for (const f of find(join(ROOT, dir), /\.so(\.|$)/)) index.set(f.slice(f.lastIndexOf('/') + 1), f);
  }
  const found = new Map<string, string>();
  const todo = [...programs];
  for (let p = todo.pop(); p; p = todo.pop()) {
    const names = new Set(
      readFileSync(p)
        .toString('latin1')
        .match(/[\w+.-]+\.so(\.\d+)*/g) ?? [],
    );
    for (const n of names) {
      const at = index.get(n);
      if (at && !found.has(n)) {
        found.set(n, at);
        todo.push(at);
      }
    }
  }
  // what libc loads by itself when threads are cancelled
  const gcc = index.get('libgcc_s.so.1');
  if (gcc) found.set('libgcc_s.so.1', gcc);
  return found;
}

/** What the control domain does for a domain of these lines of configuration: it has so many seconds, and its console is shown between `@@@ NAME` and `@@@ end STATE`. */
export const domain = (name: string, config: readonly string[], seconds: number) => `
printf '%s\\n' ${[`name="${name}"`, ...config].map((line) => `'${line}'`).join(' ')} \\
  'on_poweroff="preserve"' 'on_reboot="preserve"' 'on_crash="preserve"' 'on_watchdog="preserve"' > /tmp/cfg
echo "@@@ ${name}"
xl create -q /tmp/cfg
i=0
while [ $i -lt ${seconds * 4} ]; do
  state=$(xl list ${name} | awk 'NR==2 {print $5}')
  case "$state" in *s*|*d*) break;; esac
  sleep 0.25; i=$((i+1))
done
sleep 0.3
cat /var/log/xen/console/guest-${name}.log
echo "@@@ end $state"
xl destroy ${name}`;

const oneRun = (r: Run) =>
  domain(r.name, [`kernel="/guests/${r.image}.elf"`, `memory=${MEMORY_MIB}`, `cmdline="${r.cmdline}"`], r.seconds);

/** The control domain's first program: sets up the tools, then does the rest. */
const init = (rest: string) => `#!/bin/sh
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts; mount -t devpts pts /dev/pts; mount -t tmpfs run /run
mkdir -p /run/xen /run/xenstored /run/lock
for m in ${MODULES.join(' ')}; do insmod /lib/modules/$m.ko; done
mount -t xenfs xenfs /proc/xen
xenstored --pid-file /run/xenstored.pid
sleep 1
xen-init-dom0 > /dev/null
xenconsoled --log=guest --log-dir=/var/log/xen/console --pid-file=/run/xenconsoled.pid
${rest}
echo "@@@ done"
poweroff -f
`;

/** The control domain's: tools, `script`, which its first program does, and files in /guests. */
function initramfs(script: string, guests: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const entries: CpioEntry[] = [];
  const made = new Set<string>();
  const folder = (name: string) => {
    const parts = name.split('/');
    for (let i = 1; i <= parts.length; i++) {
      const p = parts.slice(0, i).join('/');
      if (p && !made.has(p)) entries.push({ name: p, mode: S_IFDIR | 0o755 });
      made.add(p);
    }
  };
  const file = (name: string, data: Uint8Array, mode = 0o755) => {
    folder(name.split('/').slice(0, -1).join('/'));
    entries.push({ name, mode: S_IFREG | mode, data });
  };
  for (const d of ['dev', 'proc', 'sys', 'run', 'tmp', 'var/log/xen/console', 'var/lib/xen', 'var/lib/xenstored'])
    folder(d);
  entries.push({ name: 'var/run', mode: S_IFLNK | 0o777, data: new TextEncoder().encode('/run') });
  file('etc/xen/xl.conf', new Uint8Array());
  file('bin/busybox', readFileSync(unpacked(/bin\/busybox$/)));
  for (const applet of ['sh', 'mount', 'mkdir', 'insmod', 'sleep', 'cat', 'poweroff', 'awk', 'printf'])
    entries.push({ name: `bin/${applet}`, mode: S_IFLNK | 0o777, data: new TextEncoder().encode('busybox') });
  const programs = TOOLS.map((t) => join(ROOT, 'usr/lib/xen-4.17/bin', t));
  for (const [i, p] of programs.entries()) file(`bin/${TOOLS[i]}`, readFileSync(p));
  for (const [name, path] of libraries(programs)) {
    file(`${name.startsWith('ld-linux') ? 'lib64' : 'lib/x86_64-linux-gnu'}/${name}`, readFileSync(path));
  }
  for (const m of MODULES) file(`lib/modules/${m}.ko`, readFileSync(unpacked(new RegExp(`/${m}\\.ko$`))));
  for (const [name, data] of guests) file(`guests/${name}`, data);
  file('init', new TextEncoder().encode(init(script)));
  return gzipSync(cpio(entries), { level: 1 });
}

/** Boots Xen, whose control domain does `script` with `guests` in /guests; resolves with everything on the serial line. */
export async function onXen(script: string, guests: ReadonlyMap<string, Uint8Array>): Promise<string> {
  packages();
  writeFileSync(join(DIR, 'initrd.gz'), initramfs(script, guests));
  return (await boot()).replaceAll('\r', '');
}

function boot(): Promise<string> {
  const serial = join(DIR, 'serial.log');
  writeFileSync(serial, '');
  const kernel = unpacked(/boot\/vmlinuz-/);
  writeFileSync(join(DIR, 'xen'), gunzipSync(readFileSync(unpacked(/boot\/xen-4\.17-amd64\.gz$/))));
  const qemu = spawn('qemu-system-x86_64', [
    ...['-accel', 'tcg', '-cpu', 'max,-smap', '-m', '1024', '-display', 'none', '-serial', `file:${serial}`],
    ...['-no-reboot', '-net', 'none', '-kernel', join(DIR, 'xen')],
    '-append',
    'console=com1 com1=115200,8n1 loglvl=error guest_loglvl=none dom0_mem=400M dom0_max_vcpus=1',
    '-initrd',
    `${kernel} console=hvc0 quiet panic=-1,${join(DIR, 'initrd.gz')}`,
  ]);
  return new Promise((resolve, reject) => {
    const text = () => readFileSync(serial, 'latin1');
    const timer = setTimeout(() => finish(), TIMEOUT_MS);
    const poll = setInterval(() => {
      if (/@@@ done|Kernel panic|Panic on CPU|FATAL/.test(text())) finish();
    }, 500);
    const finish = () => {
      clearTimeout(timer);
      clearInterval(poll);
      qemu.kill('SIGKILL');
      resolve(text());
    };
    qemu.on('error', reject);
    qemu.on('exit', finish);
  });
}

const ENDS: Record<string, string> = { '-': 'poweroff', r: 'reboot', s: 'suspend', c: 'crash', w: 'watchdog' };

/** How `xl list` shows a domain that has shut down: `---s` and a letter for the reason. */
const endOf = (state: string): string => (state[3] === 's' ? (ENDS[state[4]] ?? state) : `still running (${state})`);

/** Each run's transcript under real Xen. */
export async function judge(runs: readonly Run[] = JUDGED): Promise<Map<string, string>> {
  const images = new Map(runs.map((r) => [`${r.image}.elf`, readFileSync(imagePath(r))]));
  const text = await onXen(runs.map(oneRun).join('\n'), images);
  const results = new Map<string, string>();
  for (const r of runs) {
    const m = new RegExp(`@@@ ${r.name}\\n([^]*?)@@@ end (\\S*)`).exec(text);
    if (!m) throw new Error(`real Xen did not run ${r.name}:\n${text.slice(-2000)}`);
    // Xen's own messages may come between.
    const lines = m[1].split('\n').filter((l) => !l.startsWith('(XEN)'));
    results.set(r.name, transcript(lines.join('\n'), endOf(m[2])));
  }
  return results;
}

if (import.meta.main) {
  const why = missing();
  if (why) throw new Error(why);
  const names = process.argv.slice(2).filter((a) => a !== '--record');
  const runs = names.length ? RUNS.filter((r) => names.includes(r.name)) : JUDGED;
  const results = await judge(runs);
  for (const r of runs) {
    const got = results.get(r.name)!;
    if (process.argv.includes('--record')) writeFileSync(expectedPath(r), got);
    else console.log(`${r.name}: ${got === readFileSync(expectedPath(r), 'utf8') ? 'same' : 'different'}`);
  }
}
