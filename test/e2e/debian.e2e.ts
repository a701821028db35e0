/** A whole Debian: made from packages, booted from its own disk to a login prompt, reached by ssh, given a package by apt. */
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Command, type Result, ROOT } from './command.ts';

const PASSWORD = 'correct horse';
let dir: string;
let env: Record<string, string>;
let disk: string;
let sshPort: number;
let repository: Server;
let guest: Command;

function run(command: string, args: readonly string[]): Promise<Result> {
  return new Promise((resolve) => {
    const options = { cwd: ROOT, env: { ...process.env, ...env }, maxBuffer: 1 << 24 };
    execFile(command, [...args], options, (error, stdout, stderr) => {
      resolve({ status: error ? (error.code as unknown as number) : 0, stdout, stderr });
    });
  });
}
const xl = (...args: string[]) => run('node', ['bin/xl.mjs', ...args]);

function ssh(line: string): Promise<Result> {
  const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'BatchMode=yes', 'ConnectTimeout=60'];
  const flags = options.flatMap((o) => ['-o', o]);
  return run('ssh', [...flags, '-i', join(dir, 'key'), '-p', `${sshPort}`, 'me@127.0.0.1', line]);
}

const listen = (s: { listen(port: number, host: string, done: () => void): unknown; address(): unknown }) =>
  new Promise<number>((resolve) => s.listen(0, '127.0.0.1', () => resolve((s.address() as AddressInfo).port)));

/** A repository with one package, as `deb [trusted=yes] URL ./` takes it. */
function makeRepository(): Server {
  const root = join(dir, 'package');
  mkdirSync(join(root, 'DEBIAN'), { recursive: true });
  mkdirSync(join(root, 'usr/bin'), { recursive: true });
  const control =
    'Package: greeting\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: says hello\n';
  writeFileSync(join(root, 'DEBIAN/control'), control);
  writeFileSync(join(root, 'usr/bin/greeting'), '#!/bin/sh\necho hello from a package\n', { mode: 0o755 });
  const deb = join(dir, 'greeting.deb');
  execFileSync('dpkg-deb', ['--build', '--root-owner-group', root, deb], { stdio: 'ignore' });
  const sha256 = createHash('sha256').update(readFileSync(deb)).digest('hex');
  const files: Record<string, Buffer> = {
    '/greeting.deb': readFileSync(deb),
    '/Packages': Buffer.from(`${control}Filename: ./greeting.deb\nSize: ${statSync(deb).size}\nSHA256: ${sha256}\n`),
  };
  return createServer((request, response) => {
    const file = files[(request.url ?? '').replace(/^\/\.?\/?/, '/')];
    response.writeHead(file ? 200 : 404).end(file);
  });
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'debian-'));
  env = { XENOLITH_SOCKET: join(dir, 'host.sock'), XL_CONF: '/dev/null' };
  disk = join(dir, 'debian.qcow2');
  writeFileSync(join(dir, 'password'), `${PASSWORD}\n`);
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(dir, 'key')]);
  const free = createTcpServer();
  sshPort = await listen(free);
  await new Promise((resolve) => free.close(resolve));
  repository = makeRepository();
  await listen(repository);
});
afterAll(async () => {
  await xl('host', 'stop', '--shutdown-timeout=0');
  repository?.close();
  rmSync(dir, { recursive: true, force: true });
});

test('a disk is made, which qemu-img finds in order', async () => {
  const login = ['--user=me', `--password-file=${join(dir, 'password')}`, `--ssh-key=${join(dir, 'key.pub')}`];
  const made = await xl('image', 'debian', disk, '--size=1500M', '--hostname=rock', ...login);
  expect(made).toMatchObject({ status: 0, stdout: `${disk}\n` });
  expect(execFileSync('qemu-img', ['check', disk], { encoding: 'utf8' })).toContain('No errors');
  expect(await xl('image', 'debian', disk)).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('there already'),
  });
});

test('it boots from its own kernel to a login prompt', async () => {
  const cfg = join(dir, 'debian.cfg');
  const example = readFileSync(join(ROOT, 'examples/debian.cfg'), 'utf8');
  writeFileSync(cfg, example.replace('"debian.qcow2,', `"${disk},`).replace('tcp:2222:', `tcp:${sshPort}:`));
  guest = new Command(['create', '-c', cfg], env, ['node', 'bin/xl.mjs']);
  await guest.expect(/rock login: /, 400);
  guest.type('me\n');
  await guest.expect(/Password: /);
  guest.type(`${PASSWORD}\n`);
  await guest.expect(/me@rock:~\$ /);
  guest.type('systemd-detect-virt; id -nG\n');
  await guest.expect(/xen\s[\s\S]*me sudo/);
});

test('ssh reaches it through a forward', async () => {
  // Its server may start after the login prompt, and its keys are made then.
  let result = await ssh('true');
  for (let n = 0; n < 60 && result.status !== 0; n++) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    result = await ssh('true');
  }
  expect(result).toMatchObject({ status: 0 });
  result = await ssh('cat /etc/debian_version; ip -4 -br addr');
  expect(result.stderr).not.toContain('Permission denied');
  expect(result.stdout).toMatch(/^12\./);
  expect(result.stdout).toMatch(/10\.0\.2\.15\/24/);
});

test('apt installs a package from a repository of the host', async () => {
  const { port } = repository.address() as AddressInfo;
  const source = `deb [trusted=yes] http://10.0.2.2:${port}/ ./`;
  const only = '-o Dir::Etc::sourcelist=/tmp/host.list -o Dir::Etc::sourceparts=-';
  const root = `echo '${PASSWORD}' | sudo -S -p ''`;
  const steps = [
    `echo '${source}' > /tmp/host.list`,
    `${root} apt-get -q ${only} update`,
    `${root} apt-get -q -y ${only} install greeting`,
    'greeting',
  ];
  const result = await ssh(steps.join(' && '));
  expect(result.stdout + result.stderr).toContain('hello from a package');
});

test('it shuts down, and the disk is in order', async () => {
  expect(await xl('shutdown', '-w', 'debian')).toMatchObject({ status: 0 });
  // Its back end, which still writes, has it locked for a moment.
  let check = await run('qemu-img', ['check', disk]);
  for (let n = 0; n < 100 && check.stderr.includes('lock'); n++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    check = await run('qemu-img', ['check', disk]);
  }
  expect(check.stdout).toContain('No errors');
});
