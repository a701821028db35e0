/** Debian's kernels, booted by `npm start` as a user does it. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CpuProfile } from '../../src/dom0/profile/cpuprofile.ts';
import { Command, run } from './command.ts';

/** What a healthy kernel does not print. */
const TROUBLE = /WARNING|\bBUG\b|Call Trace|Oops|general protection|rcu.*stall|soft lockup|page allocation failure/;
const PROMPT = /guest:~# /;

let logs: string;
beforeAll(() => {
  logs = mkdtempSync(join(tmpdir(), 'boot-'));
});
afterAll(() => rmSync(logs, { recursive: true, force: true }));

describe.each(['cloud', 'generic'])("Debian's %s kernel", (flavour) => {
  const args = ['--flavour', flavour];

  it('says its version to a pipe and powers off', async () => {
    const result = await run(args, 'uname -r\npoweroff -f\n');
    expect(result.stdout).toMatch(flavour === 'cloud' ? /\n6\.1\.\d+-\d+-cloud-amd64\r/ : /\n6\.1\.\d+-\d+-amd64\r/);
    expect(result.stdout).not.toMatch(TROUBLE);
    expect(result.status).toBe(0);
  });

  it('knows where it is, and finds nothing wrong', async () => {
    const profile = join(logs, `${flavour}.cpuprofile`);
    const command = new Command([
      ...args,
      '--log-dir',
      logs,
      '--name',
      `log-${flavour}`,
      '--stats',
      '--profile',
      profile,
    ]);
    await command.expect(PROMPT);
    const dmesg = await command.shell('dmesg');
    expect(dmesg).toContain('Hypervisor detected: Xen PV');
    expect(dmesg).toContain('Booting kernel on Xen');
    expect(dmesg).toContain('Xen version: 4.17');
    expect(dmesg).not.toMatch(TROUBLE);
    expect(await command.shell('cat /sys/hypervisor/type')).toContain('\nxen\r');
    expect(await command.shell('tty; ps | grep -c "[s]h$"')).toContain('/dev/hvc0');
    // Job control: a stopped job, and an interrupted one.
    expect(await command.shell('sleep 1000 &')).not.toContain('no job control');
    expect(await command.shell('jobs; kill %1; wait; echo "status $?"')).toMatch(/Running[\s\S]*status/);
    command.type('sleep 1000\n');
    await new Promise((resolve) => setTimeout(resolve, 3000));
    command.type('\x03');
    await command.expect(/guest:~# /);
    expect(await command.shell('echo still $((6*7))')).toContain('still 42');
    command.type('poweroff\n');
    const result = await command.result();
    expect(result.status).toBe(0);
    expect(result.stdout).toMatch(/reboot: (System halted|Power down)/);
    expect(result.stderr).toMatch(/time to \/init: \d+\.\d+ s/);
    expect(result.stderr).toMatch(/hypercalls: [\d,]+/);
    expect(result.stderr).toMatch(/guest instructions: [\d,]{9,}/);
    expect(result.stderr).toMatch(/time in guest code: \d+\.\d\d s/);
    // The profile has names of the kernel's functions, who makes hypercalls, and as much time as the run took.
    const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(profile, 'utf8')) as CpuProfile;
    const frames = nodes.map((node) => node.callFrame.functionName);
    expect(frames).toContain('xen_vmalloc_p2m_tree');
    expect(frames).toContain('hypercall mmu_update');
    expect(frames).toContain('(idle)');
    expect(samples.length).toBe(timeDeltas.length);
    const seconds = timeDeltas.reduce((sum, us) => sum + us, 0) / 1e6;
    expect(seconds).toBeGreaterThan(3);
    const log = readFileSync(join(logs, `guest-log-${flavour}.log`), 'latin1');
    expect(log).toContain('Linux version 6.1');
    expect(log).toMatch(/reboot: (System halted|Power down)/);
  });
});

describe('a domain', () => {
  it('reboots as a new domain', async () => {
    const command = new Command([]);
    await command.expect(PROMPT);
    await command.shell('touch /tmp/here');
    command.type('reboot\n');
    await command.expect(/Linux version 6\.1/);
    await command.expect(PROMPT);
    expect(await command.shell('ls /tmp')).not.toContain('here');
    command.type('poweroff -f\n');
    expect((await command.result()).status).toBe(0);
  });

  it('that crashes ends the command with a message', async () => {
    const command = new Command([]);
    await command.expect(PROMPT);
    command.type('echo c > /proc/sysrq-trigger\n');
    const result = await command.result();
    expect(result.status).toBe(1);
    expect(result.stdout).toContain('sysrq triggered crash');
    expect(result.stderr).toContain('the guest ended: crash');
  });

  it('has the memory and the processors it was given', async () => {
    const command = new Command(['--memory', '400', '--vcpus', '2', '--append', 'console=hvc0 test.option=1']);
    await command.expect(PROMPT);
    expect(await command.shell('nproc')).toContain('\n2\r');
    const [, kib] = /MemTotal:\s+(\d+) kB/.exec(await command.shell('grep MemTotal /proc/meminfo'))!;
    expect(Number(kib)).toBeGreaterThan(300 * 1024);
    expect(Number(kib)).toBeLessThan(400 * 1024);
    expect(await command.shell('cat /proc/cmdline')).toContain('console=hvc0 test.option=1');
    command.type('poweroff -f\n');
    expect((await command.result()).status).toBe(0);
  });

  it('gets all of its input, however fast it comes', async () => {
    const lines = Array.from({ length: 400 }, (_, i) => `n=$((n+${i}))\n`).join('');
    const result = await run([], `${lines}echo "sum $n"\npoweroff -f\n`);
    expect(result.stdout).toContain(`sum ${(400 * 399) / 2}`);
    expect(result.status).toBe(0);
  });

  it('goes on after the end of its input', async () => {
    const result = await run([], '(sleep 5; echo late; poweroff -f) &\n');
    expect(result.stdout).toMatch(/(\n|# )late\r/);
    expect(result.status).toBe(0);
  });

  it('is left with Ctrl-], on a terminal', () => {
    const script = `sleep 3; printf '\\035'`;
    const command = `cd ${process.cwd()}; (${script}) | script -qec 'npm start' /dev/null; echo status $?`;
    const out = execFileSync('bash', ['-c', command], { encoding: 'utf8', timeout: 300_000 });
    expect(out).toContain('Ctrl-] leaves');
    expect(out).toContain('status 0');
  });

  it('ends when the command is told to', async () => {
    const command = new Command([]);
    await command.expect(/Linux version/);
    command.kill('SIGTERM');
    expect((await command.result()).status).toBe(143);
  });

  it('runs the same twice in deterministic mode', async () => {
    // Up to /init; after that, when the input arrives is the host's time. The two logs are compared apart, because
    // which of two threads is heard first is the host's time too.
    const once = async (name: string) => {
      const result = await run(['--deterministic', '--log-dir', join(logs, name)], 'poweroff -f\n');
      expect(result.status).toBe(0);
      const text = (file: string) => readFileSync(join(logs, name, file), 'latin1');
      const boot = text('guest-guest.log');
      return [boot.slice(0, boot.indexOf('Run /init')), text('hypervisor.log')];
    };
    expect(await once('first')).toEqual(await once('second'));
  });
});

describe('where there is no apt', () => {
  it('says what to pass', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'no-apt-'));
    const result = await run([], '', { XDG_CACHE_HOME: dir, PATH: `${process.cwd()}/node_modules/.bin` });
    rmSync(dir, { recursive: true, force: true });
    expect(result.status).toBe(1);
    expect(result.stderr).toContain('no apt-get');
    expect(result.stderr).toContain('--kernel');
  });
});
