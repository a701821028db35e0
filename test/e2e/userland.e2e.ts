/**
 * C programs (programs/) that lean on the processor and on the kernel's use of it, in a guest: each prints there what it
 * prints on the host, or what NAME.out says that it prints on a processor of its own: virtual machines may lack 32-bit system
 * calls, LDTs or debug registers. What may differ goes to standard error. One boot runs them all.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { cpio, S_IFDIR, S_IFREG } from '../../src/start/cpio.ts';
import { initramfs } from '../../src/start/initramfs.ts';
import { Command, ROOT } from './command.ts';

const SOURCES = join(ROOT, 'test/e2e/programs');
/** Sources there that are another test's. */
const OTHERS = ['xlu', 'libxl-json'];
const PROGRAMS = readdirSync(SOURCES)
  .filter((name) => name.endsWith('.c'))
  .map((name) => name.replace(/\.c$/, ''))
  .filter((name) => !OTHERS.includes(name));
/** What a healthy kernel does not print. A program's own faults ("traps:") are wanted. */
const TROUBLE = /WARNING|\bBUG\b|Call Trace|Oops|rcu.*stall|soft lockup|page allocation failure|bad page/;

interface Outcome {
  output: string;
  status: number;
}

let dir: string;
const onHost = new Map<string, Outcome>();
const inGuest = new Map<string, Outcome>();
let kernelLog = '';

function compile(name: string): Uint8Array {
  const mode = name === 'compat' ? ['-m32'] : [];
  const to = join(dir, name);
  execFileSync('gcc', ['-O1', '-static', '-pthread', ...mode, '-o', to, join(SOURCES, `${name}.c`), '-lm']);
  return readFileSync(to);
}

function native(name: string): Outcome {
  try {
    const output = execFileSync(join(dir, name), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], cwd: dir });
    return { output, status: 0 };
  } catch (error) {
    const { stdout, status } = error as { stdout: string; status: number };
    return { output: stdout, status };
  }
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'userland-'));
  const files = PROGRAMS.map((name) => ({ name: `programs/${name}`, mode: S_IFREG | 0o755, data: compile(name) }));
  const folder = { name: 'programs', mode: S_IFDIR | 0o755 };
  const ramdisk = join(dir, 'ramdisk');
  writeFileSync(ramdisk, Buffer.concat([initramfs(readFileSync('/bin/busybox')), cpio([folder, ...files])]));
  for (const name of PROGRAMS) onHost.set(name, native(name));

  const command = new Command(['--ramdisk', ramdisk]);
  await command.expect(/guest:~# /);
  for (const name of PROGRAMS) {
    const said = await command.shell(`echo "<<<"; /programs/${name} 2>/dev/null; echo ">>>$?"`);
    const [, output, status] = /\n<<<\n([\s\S]*)>>>(\d+)\n/.exec(said.replaceAll('\r', ''))!;
    inGuest.set(name, { output, status: Number(status) });
  }
  kernelLog = await command.shell('dmesg');
  command.type('poweroff -f\n');
  await command.result();
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it.each(PROGRAMS)('%s', (name) => {
  const recorded = join(SOURCES, `${name}.out`);
  const guest = inGuest.get(name)!;
  if (existsSync(recorded) && guest.output === readFileSync(recorded, 'utf8')) expect(guest.status).toBe(0);
  else {
    expect(guest).toEqual(onHost.get(name));
    expect(onHost.get(name)!.status).toBe(0);
  }
});

it('the kernel finds nothing wrong', () => {
  expect(kernelLog).toContain('Run /init');
  expect(kernelLog).not.toMatch(TROUBLE);
});
