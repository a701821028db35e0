/** `xl block-*`, `cd-*`, `network-*` and `driver-*` with a Debian guest that sees its devices come and go. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cache } from '../../src/dom0/toolstack/cache.ts';
import { debianKernel } from '../../src/start/debian.ts';
import { initramfs } from '../../src/start/initramfs.ts';
import { Command, type Result, ROOT } from './command.ts';

const MIB = 1 << 20;
let dir: string;
let env: Record<string, string>;
let guest: Command;

const at = (name: string) => join(dir, name);
function xl(...args: string[]): Promise<Result> {
  return new Promise((resolve) => {
    const options = { cwd: dir, env: { ...process.env, ...env } };
    execFile('node', [join(ROOT, 'bin/xl.mjs'), ...args], options, (error, stdout, stderr) => {
      resolve({ status: error ? (error.code as unknown as number) : 0, stdout, stderr });
    });
  });
}
async function ok(...args: string[]): Promise<string> {
  const result = await xl(...args);
  expect(result, `xl ${args.join(' ')}`).toMatchObject({ status: 0, stderr: '' });
  return result.stdout;
}
/** Lines of a table without the head, each as its words. */
const rows = (table: string) =>
  table
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/ +/));
const disk = (name: string, fill: number) => writeFileSync(at(name), new Uint8Array(MIB).fill(fill));
/** What the guest says once it is so, within some seconds. */
const until = (condition: string) => `for i in $(seq 100); do ${condition} && break; sleep 0.1; done`;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'devices-'));
  env = { XENOLITH_SOCKET: at('host.sock'), XL_CONF: '/dev/null' };
  const kernel = await debianKernel(new Cache(), 'cloud', () => {});
  writeFileSync(at('vmlinuz'), kernel.image.read());
  // Only the modules of devices that are there at the start are loaded: one of each kind.
  writeFileSync(
    at('initrd'),
    initramfs(readFileSync('/bin/busybox'), { release: kernel.release, files: kernel.modules }),
  );
  disk('a.img', 0x61);
  disk('b.img', 0x62);
  disk('cd.iso', 0x63);
  writeFileSync(
    at('g.cfg'),
    `name = "g"\nmemory = 192\nkernel = "${at('vmlinuz')}"\nramdisk = "${at('initrd')}"\ncmdline = "console=hvc0 quiet"\n` +
      `disk = [ "${at('a.img')},raw,xvda,w" ]\nvif = [ "mac=00:16:3e:00:00:01,rate=10Mb/s" ]\n`,
  );
  guest = new Command(['create', '-c', 'g.cfg'], env, ['node', join(ROOT, 'bin/xl.mjs')], dir);
  await guest.expect(/guest:\S*# /);
});
afterAll(async () => {
  await xl('host', 'stop', '--shutdown-timeout=0');
  rmSync(dir, { recursive: true, force: true });
});

test('disks', async () => {
  expect(rows(await ok('block-list', 'g'))).toEqual([
    [
      '51712',
      expect.any(String),
      expect.any(String),
      '4',
      expect.any(String),
      expect.any(String),
      expect.stringMatching(/backend\/vbd\/\d+\/51712$/),
    ],
  ]);
  await ok('block-attach', 'g', 'b.img,raw,xvdb,w');
  expect(
    await guest.shell(
      `${until('[ -b /dev/xvdb ]')}; head -c 3 /dev/xvdb; echo; echo new | dd of=/dev/xvdb conv=fsync 2>/dev/null`,
    ),
  ).toContain('bbb');
  expect(readFileSync(at('b.img')).subarray(0, 4).toString()).toBe('new\n');
  expect((await xl('block-attach', 'g', 'b.img,raw,xvdc,w')).stderr).toMatch(/b\.img is xvdb of domain \d+ already/);
  expect((await xl('block-attach', 'g', 'none.img,raw,xvdc,w')).stderr).toMatch(
    /none\.img cannot be opened.*no such file/,
  );
  expect(rows(await ok('block-list', 'g'))).toHaveLength(2);
  // QEMU's tools keep out of what is in use.
  expect(() => execFileSync('qemu-io', ['-f', 'raw', '-c', 'write 0 512', at('b.img')], { stdio: 'pipe' })).toThrow(
    /lock/,
  );
  await ok('block-detach', 'g', 'xvdb');
  expect(rows(await ok('block-list', 'g'))).toHaveLength(1);
  execFileSync('qemu-io', ['-f', 'raw', '-c', 'write 0 512', at('b.img')], { stdio: 'pipe' });
  expect((await xl('block-detach', 'g', 'xvdb')).stderr).toContain('has no disk xvdb');
});

test('CDs', async () => {
  await ok('block-attach', 'g', 'cd.iso,,xvdd,cdrom');
  expect(await guest.shell(`${until('[ -b /dev/xvdd ]')}; head -c 3 /dev/xvdd; echo`)).toContain('ccc');
  await ok('cd-eject', 'g', 'xvdd');
  expect(await guest.shell(`${until('[ $(cat /sys/block/xvdd/size) = 0 ]')}; cat /sys/block/xvdd/size`)).toMatch(
    /^0\r?$/m,
  );
  await ok('cd-insert', 'g', 'xvdd', at('b.img'));
  expect(await guest.shell(`${until('[ $(cat /sys/block/xvdd/size) = 2048 ]')}; tail -c 3 /dev/xvdd; echo`)).toContain(
    'bbb',
  );
  await ok('block-detach', 'g', 'xvdd');
});

test('network cards', async () => {
  const MAC = '00:16:3e:aa:bb:cc';
  const [first, ...none] = rows(await ok('network-list', 'g'));
  expect(none).toEqual([]);
  expect(first).toEqual([
    '0',
    expect.any(String),
    '00:16:3e:00:00:01',
    '0',
    '4',
    expect.any(String),
    expect.stringMatching(/^\d+\/\d+$/),
    expect.stringMatching(/backend\/vif\/\d+\/0$/),
  ]);
  await ok('network-attach', 'g', `mac=${MAC}`, 'bridge=xenbr1', 'rate=1MB/s@20ms', 'mtu=9000');
  expect(await guest.shell(`${until('[ -e /sys/class/net/eth1 ]')}; cat /sys/class/net/eth1/address`)).toContain(MAC);
  const second = rows(await ok('network-list', 'g'))[1];
  expect(second.slice(0, 5)).toEqual(['1', expect.any(String), MAC, '1', expect.stringMatching(/^[24]$/)]);
  expect((await xl('network-attach', 'g', 'mac=01:00:00:00:00:00')).stderr).toContain('unicast');
  expect((await xl('network-attach', 'g', 'rate=fast')).stderr).toContain('rate "fast"');
  await ok('network-detach', 'g', MAC);
  expect(await guest.shell(`${until('[ ! -e /sys/class/net/eth1 ]')}; ls /sys/class/net`)).toMatch(/\neth0 +lo\r?\n/);
  // Without a MAC address: one of Xen's. Detached by its number.
  await ok('network-attach', 'g');
  const [index, , mac] = rows(await ok('network-list', 'g'))[1];
  expect(mac).toMatch(/^00:16:3e:[0-7][0-9a-f]:/);
  await ok('network-detach', 'g', index);
  expect((await xl('network-detach', 'g', '7')).stderr).toContain('has no network card 7');
  expect((await xl('network-list', 'g', 'nobody')).status).not.toBe(0);
});

test('a driver domain of a name', async () => {
  await ok('driver-create', 'storage');
  const id = (await ok('domid', 'storage')).trim();
  expect(await ok('list')).toMatch(new RegExp(`^storage +${id} `, 'm'));
  await ok('block-attach', 'g', 'b.img,raw,xvdb,w,backend=storage');
  await ok('network-attach', 'g', 'backend=storage');
  const [vdev, backend, , , , , path] = rows(await ok('block-list', 'g'))[1];
  expect([vdev, backend]).toEqual(['51728', id]);
  expect(path).toMatch(new RegExp(`^/local/domain/${id}/backend/vbd/\\d+/51728$`));
  expect(await guest.shell(`${until('[ -b /dev/xvdb ]')}; tail -c 3 /dev/xvdb; echo`)).toContain('bbb');
  expect(rows(await ok('driver-list'))).toEqual([
    ['storage', id, '0', 'ok', expect.stringContaining('/vbd/'), expect.stringContaining('/vif/')],
  ]);
  expect((await xl('driver-destroy', 'storage')).stderr).toContain('detach them first');
  await ok('block-detach', 'g', 'xvdb');
  await ok('network-detach', 'g', '1');
  await ok('driver-destroy', 'storage');
  expect(rows(await ok('driver-list'))).toEqual([]);
  expect((await xl('block-attach', 'g', 'b.img,raw,xvdb,w,backend=storage')).stderr).toContain(
    'backend=storage: there is no domain',
  );
});
