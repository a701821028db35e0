/** `xl` as a user has it: commands of their own processes, one host process, Debian's kernel, gdb and xenstore-ls. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Command, ROOT } from './command.ts';
import { eventually, XlClient } from './xl-client.ts';

const client = new XlClient();
const { dir, env } = client;
const xl = (...args: string[]) => client.run(...args);
const ok = (...args: string[]) => client.ok(...args);
const interactive = (...args: string[]) => client.interactive(...args);
const pid = () => client.pid();
const guest = join(ROOT, 'examples/shell.cfg');

beforeAll(() => {
  execFileSync('node', ['scripts/run.mjs', 'scripts/images.ts'], { cwd: ROOT, stdio: 'ignore' });
});
afterAll(() => client.end());

describe('the host', () => {
  it('is started by the first that needs it, once', async () => {
    expect(await xl('host', 'status')).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('no host is running'),
    });
    const lists = await Promise.all([ok('list'), ok('list'), ok('list'), ok('vm-list')]);
    const head = 'Name                                        ID   Mem VCPUs\tState\tTime(s)\n';
    for (const list of lists.slice(0, 3)) {
      expect(list.startsWith(head)).toBe(true);
      expect(list.slice(head.length)).toMatch(/^Domain-0 {33} {4}0 {1,5}\d+ {5}1 {5}r----- {2} {5,}\d+\.\d\n$/);
    }
    expect(await xl('host', 'run')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('a host is running already'),
    });
  });

  it('that was killed is replaced, and its socket taken over', async () => {
    const first = await pid();
    process.kill(first, 'SIGKILL');
    await eventually(async () => (await xl('host', 'status')).status === 1);
    expect(existsSync(env.XENOLITH_SOCKET)).toBe(true);
    await ok('list');
    expect(await pid()).not.toBe(first);
  });
});

describe('a guest', () => {
  let console: Command;
  it('boots on the console that create -c attaches', async () => {
    console = interactive('create', '-c', guest, "name='lpv'", 'vcpus=2', 'on_reboot="preserve"');
    await console.expect(/guest:\S*# /);
    expect(await console.shell('uname -sm')).toContain('Linux x86_64');
    expect(console.stderr).toContain(`Parsing config from ${guest}`);
  });

  it('is listed', async () => {
    expect(await ok('list', 'lpv')).toMatch(/\nlpv {38} {4}\d {3}256 {5}2 {5}[rb-]{2}---- /);
    expect((await ok('domid', 'lpv')).trim()).toBe('1');
    expect((await ok('domname', '1')).trim()).toBe('lpv');
    const [{ domid }, { config }] = JSON.parse(await ok('list', '-l'));
    expect(domid).toBe(0);
    expect(config.c_info).toMatchObject({ type: 'pv', name: 'lpv' });
    expect(config.b_info).toMatchObject({ max_vcpus: 2, target_memkb: 262144 });
    expect(await ok('vcpu-list', 'lpv')).toMatch(/\nlpv +1 +1 +\d+ +[-r][-b]- +\d+\.\d {2}all \/ all\n/);
    expect(await ok('info', 'xen_version')).toMatch(/^4\.17/);
    expect(await ok('uptime', 'lpv')).toMatch(/\nlpv {30} {4}1 {2}0:0\d:\d\d\n/);
    expect(await ok('top', '-b', '-i', '1')).toMatch(/\n +lpv -{2,}/);
  });

  it('has the tree in XenStore that xl on real Xen makes', async () => {
    const tree = execFileSync('xenstore-ls', ['-f', '-p'], {
      env: { ...process.env, XENSTORED_PATH: join(dir, 'xenstored.sock') },
      encoding: 'utf8',
    });
    const normal = (text: string) =>
      text
        .trim()
        .replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<uuid>')
        .replaceAll(
          /(ring-ref|start_time|image\/kernel|image\/ramdisk|image\/cmdline|console\/tty) = "[^"]*"/g,
          '$1 = "*"',
        )
        .split('\n')
        .sort();
    const golden = readFileSync(new URL('xenstore-tree.golden.txt', import.meta.url), 'utf8');
    expect(normal(tree)).toEqual(normal(golden));
  });

  it('shows a second viewer the same console, and takes what it types', async () => {
    const second = interactive('console', 'lpv');
    await second.expect(/guest:\S*# /);
    second.type('echo from-$((40+2))\n');
    await second.expect(/from-42/);
    await console.expect(/from-42/);
    second.kill('SIGTERM');
    await second.result();
  });

  it('stands still while it is paused', async () => {
    await ok('pause', 'lpv');
    // Blocked as well if it was idle.
    expect(await ok('list', 'lpv')).toMatch(/ {5}-[b-]p--- /);
    await ok('unpause', 'lpv');
    expect(await ok('list', 'lpv')).not.toMatch(/ {5}-[b-]p--- /);
    await console.shell('true');
  });

  it('gives memory back through its balloon driver', async () => {
    await ok('mem-set', 'lpv', '200m');
    await eventually(async () => / 200 +2 /.test(await ok('list', 'lpv')));
    expect(await xl('mem-set', 'lpv', '2g')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('262144 KiB'),
    });
    await ok('mem-set', 'lpv', '256');
    await eventually(async () => / 256 +2 /.test(await ok('list', 'lpv')));
  });

  it('takes vCPUs off line and back, and hears sysrq', async () => {
    await ok('vcpu-set', '-i', 'lpv', '1');
    await eventually(async () => (await console.shell('nproc')).includes('\n1\r\n'));
    await ok('vcpu-set', '-i', 'lpv', '2');
    await ok('sysrq', 'lpv', 'h');
    await console.expect(/sysrq: HELP/);
  });

  it('is dumped to a core that gdb opens', async () => {
    const core = join(dir, 'core');
    await ok('dump-core', 'lpv', core);
    const out = execFileSync('gdb', ['-q', '-batch', '-ex', 'info threads', '-ex', 'x/2i $rip', '-c', core], {
      encoding: 'utf8',
    });
    expect(out).toMatch(/LWP 1\b/);
    expect(out).toMatch(/=> 0x[0-9a-f]+:\t\w/);
    expect(out).not.toContain('Cannot access memory');
  });

  it('shuts down when it is asked', async () => {
    const { status, stderr } = await xl('shutdown', '-ww', 'lpv');
    expect(stderr).toMatch(/Shutting down domain 1\nWaiting for 1 domains\n.*Domain 1 has been destroyed/s);
    expect(status).toBe(0);
    expect((await console.result()).status).toBe(0);
    expect(console.stdout).toMatch(/reboot: (Power down|System halted)/);
  });

  it('that reboots is another domain', async () => {
    await ok('create', '-q', guest);
    const first = Number(await ok('domid', 'shell'));
    const shell = interactive('console', 'shell');
    await shell.expect(/guest:\S*# /);
    shell.type('reboot -f\n');
    await eventually(async () => {
      const found = await xl('domid', 'shell');
      return found.status === 0 && Number(found.stdout) > first;
    });
    expect((await shell.result()).status).toBe(0);
  });

  it('is shut down when the host is told to end', async () => {
    const shell = interactive('console', 'shell');
    await shell.expect(/guest:\S*# /);
    process.kill(await pid(), 'SIGTERM');
    await shell.expect(/reboot: (Power down|System halted)/);
    await shell.result();
    await eventually(async () => (await xl('host', 'status')).status === 1);
    expect(readFileSync(join(dir, 'host.log'), 'utf8')).not.toContain('did not shut down');
    expect(existsSync(env.XENOLITH_SOCKET)).toBe(false);
  });
});

it('bash completes commands, options and domains', async () => {
  await ok('create', '-q', '-p', guest, "name='alpha'");
  const complete = (line: string[]) =>
    execFileSync(
      'bash',
      [
        '-c',
        // biome-ignore lint/suspicious/noTemplateCurlyInString: it is bash's
        'xl() { node bin/xl.mjs "$@"; }; source completions/xl.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _xl; printf "%s\n" "${COMPREPLY[@]}"',
        'bash',
        ...line,
      ],
      { cwd: ROOT, env: { ...process.env, ...env }, encoding: 'utf8' },
    )
      .trim()
      .split('\n');
  expect(complete(['xl', 'sched-c'])).toEqual(['sched-credit', 'sched-credit2']);
  expect(complete(['xl', 'shutdown', '--'])).toEqual(['--all', '--wait']);
  expect(complete(['xl', 'pause', 'al'])).toEqual(['alpha']);
  expect(complete(['xl', 'create', 'examples/sh'])).toEqual(['examples/shell.cfg']);
  await ok('destroy', 'alpha');
});

describe('what is wrong', () => {
  it('is said with exit status and words of xl', async () => {
    expect(await xl('frobnicate')).toMatchObject({ status: 1, stderr: 'command not implemented\n' });
    expect(await xl('pause')).toMatchObject({ status: 2, stderr: "'xl pause' requires at least 1 argument.\n\n" });
    expect(await xl('pause', '-x')).toMatchObject({ status: 2, stderr: "option `x' not supported.\n" });
    expect(await xl('migrate', 'a', 'b')).toMatchObject({
      status: 1,
      stderr: 'xl migrate: migration: not supported yet; see docs/SUPPORT.md\n',
    });
    expect(await xl('destroy', 'nobody')).toMatchObject({
      status: 1,
      stderr: 'nobody is an invalid domain identifier\n',
    });
    const bad = join(dir, 'bad.cfg');
    writeFileSync(bad, 'name = "x"\nkernel = "k"\nmemory = "lots"\nvtpm = [ "backend=1" ]\n');
    expect(await xl('create', '-q', bad)).toEqual({
      status: 1,
      stdout: '',
      stderr: `${bad}:4: vtpm: not supported yet; see docs/SUPPORT.md\n${bad}:3: memory: "lots" is not a valid number\n`,
    });
    writeFileSync(bad, 'name = "x"\nkernel = "/nowhere"\n');
    expect(await xl('create', '-q', bad)).toMatchObject({
      status: 1,
      stderr: 'no kernel at /nowhere: there is no such file\n',
    });
  });
});
