/** Debian's xenstore-utils: on the host through xenstored's socket, and in a guest through /dev/xen/xenbus. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HostGuest } from './host-guest.ts';

const TOOLS = ['ls', 'read', 'write', 'watch', 'chmod', 'rm', 'exists', 'list'].map((t) => `/usr/bin/xenstore-${t}`);
const UUID = '11111111-2222-4333-8444-555555555555';
const run = promisify(execFile);

let dir: string;
let socket: string;
let guest: HostGuest;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xenstore-'));
  socket = join(dir, 'xenstored');
  guest = await HostGuest.boot({
    host: { storeSocket: socket },
    domain: { name: 'lpv', vcpus: 2, uuid: UUID },
    programs: TOOLS,
  });
});
afterAll(async () => {
  await guest?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const env = () => ({ ...process.env, XENSTORED_PATH: socket });

/** A tool on the host: its output, or `status N: what it said`. */
async function tool(name: string, ...args: string[]): Promise<string> {
  try {
    return (await run(`xenstore-${name}`, args, { env: env() })).stdout.trimEnd();
  } catch (error) {
    const { code, stderr } = error as { code: number; stderr: string };
    return `status ${code}: ${stderr.trim()}`.trimEnd();
  }
}

/** What `xenstore-watch` prints until `stop`. */
function watch(...args: string[]): { child: ChildProcess; lines: () => string[]; stop: () => Promise<void> } {
  // Its output is buffered by line on a terminal alone.
  const child = spawn('stdbuf', ['-oL', 'xenstore-watch', ...args], { env: env() });
  let text = '';
  child.stdout!.on('data', (d) => {
    text += d;
  });
  const gone = new Promise<void>((resolve) => child.on('close', () => resolve()));
  return {
    child,
    lines: () => text.split('\n').filter((l) => l !== ''),
    stop: () => {
      child.kill();
      return gone;
    },
  };
}

async function eventually<T>(get: () => T, wanted: T): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (JSON.stringify(get()) !== JSON.stringify(wanted) && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(get()).toEqual(wanted);
}

/** A tree with what differs from one domain, machine or boot to the next taken out. */
const normal = (tree: string) =>
  tree
    .trim()
    .replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<uuid>')
    .replaceAll(/(ring-ref|start_time|image\/kernel|image\/ramdisk|image\/cmdline|console\/tty) = "[^"]*"/g, '$1 = "*"')
    .split('\n')
    .sort();

describe('on the host', () => {
  it('xenstore-ls shows the tree that xl on real Xen makes', async () => {
    const golden = readFileSync(new URL('xenstore-tree.golden.txt', import.meta.url), 'utf8');
    expect(normal(await tool('ls', '-f', '-p'))).toEqual(normal(golden));
  });

  it('write, read, list, exists, rm', async () => {
    expect(await tool('write', '/t/a', 'one', '/t/b', 'two')).toBe('');
    expect(await tool('read', '/t/a', '/t/b')).toBe('one\ntwo');
    expect(await tool('list', '/t')).toBe('a\nb');
    expect(await tool('exists', '/t/a')).toBe('');
    expect(await tool('exists', '/t/none')).toBe('status 1:');
    expect(await tool('read', '/t/none')).toMatch(/^status 1: .*couldn't read path/);
    expect(await tool('rm', '/t/a')).toBe('');
    expect(await tool('list', '/t')).toBe('b');
    expect(await tool('rm', '-t', '/t/b')).toBe('');
    expect(await tool('list', '/')).toBe('tool\nlocal\nvm\nlibxl');
  });

  it('chmod', async () => {
    await tool('write', '/perm/x', '1');
    expect(await tool('chmod', '-r', '/perm', 'n0', 'r1', 'b2')).toBe('');
    expect(guest.host.store.getPerms('/perm/x')).toEqual(['n0', 'r1', 'b2']);
    expect(await tool('ls', '-p', '/perm')).toMatch(/^x = "1".*\(n0,r1,b2\)$/);
    await tool('rm', '/perm');
  });

  it('watch tells of writes and removals, by programs and by the guest', async () => {
    const w = watch('/w', '/local/domain/1/data');
    await eventually(w.lines, ['/w', '/local/domain/1/data']);
    await tool('write', '/w/x', '1');
    await eventually(() => w.lines().slice(2), ['/w/x']);
    await tool('rm', '/w');
    await eventually(() => w.lines().slice(3), ['/w']);
    await guest.shell('xenstore-write data/y 2');
    await eventually(() => w.lines().slice(4), ['/local/domain/1/data/y']);
    await w.stop();
  });

  it('a folder larger than one message is listed whole', async () => {
    const names = Array.from({ length: 600 }, (_, i) => `entry-${i}`);
    for (const name of names) guest.host.store.write(`/large/${name}`, 'v');
    expect((await tool('list', '/large')).split('\n')).toEqual(names);
    expect((await tool('ls', '/large')).split('\n')).toHaveLength(600);
    await tool('rm', '/large');
  });
});

describe('in the guest', () => {
  const home = '/local/domain/1';

  it('reads what the toolstack wrote, under relative names and whole ones', async () => {
    expect(await guest.shell('xenstore-read name domid')).toBe('lpv\n1');
    expect(await guest.shell(`xenstore-read ${home}/memory/target`)).toBe('262144');
    expect(await guest.shell('xenstore-list control | head -1')).toBe('shutdown');
    expect(await guest.shell('xenstore-ls memory')).toBe('static-max = "262144"\ntarget = "262144"\nvideoram = "0"');
  });

  it('writes where it may, and the host sees it', async () => {
    expect(await guest.shell('xenstore-write data/a 1 data/b/c 2; echo $?')).toBe('0');
    expect(guest.host.store.read(`${home}/data/b/c`)).toBe('2');
    expect(guest.host.store.getPerms(`${home}/data/b/c`)).toEqual(['n1']);
    expect(await guest.shell('xenstore-chmod data/a n1 r0; xenstore-rm data/b; xenstore-exists data/b; echo $?')).toBe(
      '1',
    );
    expect(guest.host.store.getPerms(`${home}/data/a`)).toEqual(['n1', 'r0']);
  });

  it('neither sees nor changes what is not its own', async () => {
    guest.host.store.write('/secret', 'key');
    const before = [...guest.host.store.dump()];
    expect(await guest.shell('xenstore-read /secret 2>&1; echo $?')).toMatch(/couldn't read path \/secret\n1$/);
    expect(await guest.shell(`xenstore-write ${home}/name other 2>&1; echo $?`)).toMatch(/\n1$/);
    expect(await guest.shell(`xenstore-rm ${home}/vm 2>&1; echo $?`)).toMatch(/\n1$/);
    expect(await guest.shell(`xenstore-chmod ${home}/name b1 2>&1; echo $?`)).toMatch(/\n1$/);
    expect([...guest.host.store.dump()]).toEqual(before);
  });

  it('watches, and hears of what the host writes', async () => {
    await guest.shell('xenstore-watch -n 2 data/w > /tmp/events & sleep 1');
    guest.host.store.write(`${home}/data/w`, 'x', 'n1');
    await guest.shell('wait');
    expect(await guest.shell('cat /tmp/events')).toBe('data/w\ndata/w');
  });
});
