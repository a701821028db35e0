/** The rest of xl on a guest with devices: consoles, disks, CDs, network cards, `top`, schedulers, pools, gdbsx, watchdogs, SIGHUP. */
import { execFileSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SCHEDOP } from '../../src/abi/sched.ts';
import { HYPERCALL } from '../../src/abi/xen.ts';
import { wholeOf } from '../../src/dom0/toolstack/kernel/bytes.ts';
import { linuxNotes, tinyElf } from '../dom0/kernels/tiny-kernel.ts';
import type { Command } from './command.ts';
import { shellConfig } from './host-guest.ts';
import { eventually, XlClient } from './xl-client.ts';

const xl = new XlClient();
const path = (name: string) => join(xl.dir, name);
let console: Command;

function image(name: string, text = ''): string {
  writeFileSync(path(name), text);
  truncateSync(path(name), 1 << 20);
  return path(name);
}

beforeAll(async () => {
  const { kernel, ramdisk } = await shellConfig({ modules: true });
  writeFileSync(path('vmlinux'), wholeOf(kernel));
  writeFileSync(path('initramfs'), ramdisk!);
  for (const name of ['root.img', 'more.img']) image(name);
  for (const name of ['one.iso', 'two.iso']) image(name, `this is ${name}`);
  writeFileSync(
    path('guest.cfg'),
    `name = "guest"
     kernel = "${path('vmlinux')}"
     ramdisk = "${path('initramfs')}"
     cmdline = "console=hvc0 quiet"
     memory = 192
     vcpus = 2
     disk = [ "${path('root.img')},raw,xvda,w", "${path('one.iso')},,hdc,cdrom" ]
     vif = [ "mac=00:16:3e:11:22:33" ]
     channel = [ "name=agent,connection=pty" ]
    `,
  );
  await xl.ok('host', 'start', '--pcpus=2', '--memory=1024');
  console = xl.interactive('create', '-c', path('guest.cfg'));
  await console.expect(/guest:\S*# /);
  await console.shell('stty columns 500');
});
afterAll(() => xl.end());

describe('consoles', () => {
  it('besides the first are reached by their number', async () => {
    await console.shell('stty -F /dev/hvc1 raw -echo');
    const second = xl.interactive('console', '-t', 'pv', '-n', '1', 'guest');
    await console.shell('echo hello from hvc1 > /dev/hvc1');
    await second.expect(/hello from hvc1/);
    second.type('an answer\n');
    expect(await console.shell('head -n 1 < /dev/hvc1')).toMatch(/\nan answer\r\n/);
    second.kill('SIGTERM');
    await second.result();
    expect(await xl.ok('channel-list', 'guest')).toMatch(
      /^Idx BE state evt-ch ring-ref connection {31}\n1 {3}0 {2}4 {5}\d+ +\d+ +pty {8}\/dev\/pts\/\d+ +\n$/,
    );
  });

  it('that are not there are refused', async () => {
    expect(await xl.run('console', '-n', '2', 'guest')).toMatchObject({
      status: 1,
      stderr: 'domain guest has no console 2; its last is 1\n',
    });
    expect(await xl.run('console', '-t', 'serial', 'guest')).toMatchObject({ status: 1 });
    expect(await xl.run('console', '-t', 'x', 'guest')).toMatchObject({ status: 2 });
  });
});

describe('disks', () => {
  const list = async () => (await xl.ok('block-list', 'guest')).trimEnd().split('\n');
  it('are attached, listed and detached while the guest runs', async () => {
    await xl.ok('block-attach', 'guest', `${path('more.img')},raw,xvdb,w`);
    await eventually(async () => /^51728 +\d+ +\d+ +4 /.test((await list())[3] ?? ''));
    await console.shell('echo kept | dd of=/dev/xvdb bs=512 conv=sync,fsync 2>/dev/null');
    const lines = await list();
    expect(lines[0]).toMatch(/^Vdev {2}BE {2}handle state evt-ch ring-ref BE-path/);
    expect(lines.map((l) => l.split(' ')[0])).toEqual(['Vdev', '51712', '5632', '51728']);
    expect(lines[3]).toMatch(/^51728 (\d+) +1 +4 +\d+ +\d+ +\/local\/domain\/\1\/backend\/vbd\/1\/51728$/);
    await xl.ok('block-detach', 'guest', 'xvdb');
    expect(await list()).toHaveLength(3);
    expect(await console.shell('cat /proc/partitions')).not.toContain('xvdb');
    expect(execFileSync('head', ['-c', '5', path('more.img')], { encoding: 'utf8' })).toBe('kept\n');
    expect(await xl.run('block-detach', 'guest', 'xvdz')).toMatchObject({ status: 1 });
    expect(await xl.run('block-list', 'nobody')).toMatchObject({
      status: 1,
      stderr: 'nobody is an invalid domain identifier\n',
    });
  });

  it('in a CD drive are changed', async () => {
    const disk = async () => await console.shell('head -c 15 /dev/xvdc; echo');
    expect(await disk()).toContain('this is one.iso');
    await xl.ok('cd-insert', 'guest', 'hdc', path('two.iso'));
    await eventually(async () => (await disk()).includes('this is two.iso'));
    await xl.ok('cd-eject', 'guest', 'hdc');
    expect(await xl.run('cd-insert', 'guest', 'xvda', path('two.iso'))).toMatchObject({ status: 1 });
    const config = JSON.parse(await xl.ok('list', '-l', 'guest'))[0].config;
    expect(config.disks).toContainEqual(expect.objectContaining({ vdev: 'hdc', format: 'empty', is_cdrom: 1 }));
  });
});

describe('network cards', () => {
  const list = async () => (await xl.ok('network-list', 'guest')).trimEnd().split('\n');
  it('are attached, listed and detached while the guest runs', async () => {
    await xl.ok('network-attach', 'guest', 'mac=00:16:3e:44:55:66', 'bridge=xenbr1');
    await eventually(async () =>
      (await console.shell('cat /sys/class/net/eth1/address')).includes('00:16:3e:44:55:66'),
    );
    expect((await list())[0]).toBe('Idx BE Mac Addr.         handle state evt-ch   tx-/rx-ring-ref BE-path');
    await eventually(async () => /^1 +\d+ +00:16:3e:44:55:66 +1 +4 /.test((await list())[2]));
    await xl.ok('network-detach', 'guest', '00:16:3e:44:55:66');
    expect(await list()).toHaveLength(2);
    expect(await console.shell('ls /sys/class/net')).not.toContain('eth1');
  });
});

describe('figures', () => {
  const columns = async () => {
    const [head, , row] = (await xl.ok('top', '-b', '-i', '1')).trimEnd().split('\n');
    return Object.fromEntries(
      row
        .trim()
        .split(/\s+/)
        .map((value, i) => [head.trim().split(/\s+/)[i], value]),
    );
  };
  it('of disks and network cards are those that the guest makes', async () => {
    const before = await columns();
    expect(before).toMatchObject({ NAME: 'guest', NETS: '1', VBDS: '2', VBD_OO: '0', SSID: '0' });
    await console.shell('dd if=/dev/xvda of=/dev/null bs=4k count=128 iflag=direct 2>/dev/null');
    await console.shell('dd if=/dev/zero of=/dev/xvda bs=4k count=64 oflag=direct 2>/dev/null');
    // Nobody answers: what counts is that it is sent.
    await console.shell('ifconfig eth0 10.9.9.1 up; arp -s 10.9.9.2 00:16:3e:00:00:01');
    await console.shell('ping -c 3 -W 1 -s 1400 10.9.9.2 > /dev/null');
    const after = await columns();
    const grown = (name: string) => Number(after[name]) - Number(before[name]);
    expect(grown('VBD_RSECT')).toBeGreaterThanOrEqual(128 * 8);
    expect(grown('VBD_RD')).toBeGreaterThanOrEqual(128);
    expect(grown('VBD_WSECT')).toBe(64 * 8);
    expect(grown('VBD_WR')).toBe(64);
    const frames = Number(
      /(\d+)/.exec((await console.shell('cat /sys/class/net/eth0/statistics/tx_bytes')).split('\n')[1])![1],
    );
    expect(Math.abs(Number((await columns())['NETTX(k)']) - Math.floor(frames / 1024))).toBeLessThanOrEqual(1);
    expect(frames).toBeGreaterThan(3 * 1400);
  });

  it('come again and again, and for each device', async () => {
    const begun = Date.now();
    const out = await xl.ok('top', '-b', '-i', '2', '-d', '1', '-n', '-x', '-v');
    expect(Date.now() - begun).toBeGreaterThanOrEqual(1000);
    expect(out.match(/^ +NAME +STATE +CPU\(sec\).* NETS NETTX\(k\) NETRX\(k\) VBDS .* SSID$/gm)).toHaveLength(2);
    expect(out).toMatch(/^Net0 RX: +\d+bytes +\d+pkts +0err +0drop {2}TX: +\d+bytes +\d+pkts +0err +0drop$/m);
    expect(out).toMatch(
      /^VBD BlkBack 51712 \[ca: 0\] {2}OO: +0 {3}RD: +\d+ {3}WR: +\d+ {3}RSECT: +\d+ {3}WSECT: +\d+$/m,
    );
    expect(out).toMatch(/^VCPUs\(sec\): {3}0: +\d+s {2}1: +\d+s$/m);
  });
});

it('list -l says what the guest has', async () => {
  const [{ domid, config }] = JSON.parse(await xl.ok('list', '-l', 'guest'));
  expect(domid).toBe(1);
  expect(config.c_info).toMatchObject({ type: 'pv', name: 'guest', domid: 1, pool_name: 'Pool-0' });
  expect(config.b_info).toMatchObject({ max_vcpus: 2, avail_vcpus: [0, 1], target_memkb: 192 << 10, 'type.pv': {} });
  expect(config.disks[0]).toEqual({
    pdev_path: path('root.img'),
    vdev: 'xvda',
    backend: 'qdisk',
    format: 'raw',
    readwrite: 1,
  });
  expect(config.nics).toEqual([{ devid: 0, mac: '00:16:3e:11:22:33', nictype: 'vif' }]);
  expect(config.channels).toEqual([{ devid: 1, name: 'agent', 'connection.pty': {} }]);
});

describe('schedulers and pools', () => {
  it('weights and caps', async () => {
    await xl.ok('sched-credit2', '-d', 'guest', '-w', '512', '-c', '150');
    expect(await xl.ok('sched-credit2', '-d', 'guest')).toMatch(/\nguest {28} {4}1 {4}512 {2}150\n$/);
    await xl.ok('sched-credit2', '-s', '-r', '500');
    expect(await xl.ok('sched-credit2', '-s')).toBe('Cpupool Pool-0: ratelimit=500us\n');
    expect(await xl.run('sched-credit', '-d', 'guest')).toMatchObject({ status: 1 });
    expect(await xl.run('sched-credit2', '-w', '1')).toMatchObject({ status: 1, stderr: 'Must specify a domain.\n' });
    await xl.ok('sched-credit2', '-d', 'guest', '-w', '256', '-c', '0');
  });

  it.each([
    ['credit', ['-w', '300', '-c', '40'], [], /^guest {28} {4}1 {4}300 {3}40$/m],
    // Of a domain as a whole Xen shows the defaults.
    [
      'rtds',
      ['-p', '20000', '-b', '15000', '-e', '1'],
      ['-v', 'all'],
      /^guest {28} {4}1 {4}1 {5}20000 {5}15000 {8}yes$/m,
    ],
  ])('a pool of its own for %s, with the guest in it', async (scheduler, parameters, shown, row) => {
    await xl.ok('cpupool-cpu-remove', 'Pool-0', '1');
    const file = path(`${scheduler}.cfg`);
    writeFileSync(file, `name = "other"\nsched = "${scheduler}"\ncpus = ["1"]\n`);
    expect(await xl.ok('cpupool-create', file)).toBe(
      `Using config file "${file}"\ncpupool name:   other\nscheduler:      ${scheduler}\nnumber of cpus: 1\n`,
    );
    await xl.ok('cpupool-migrate', 'guest', 'other');
    expect(await xl.ok('cpupool-list')).toMatch(new RegExp(`^other {14} {2}1 +${scheduler} {7}y {10}1$`, 'm'));
    expect(await xl.ok('list', '-c', 'guest')).toMatch(/ {11}other\n$/);
    await xl.ok(`sched-${scheduler}`, '-d', 'guest', ...parameters);
    expect(await xl.ok(`sched-${scheduler}`, '-d', 'guest', ...shown)).toMatch(row);
    expect(await console.shell('echo runs on')).toContain('\nruns on');
    expect(await xl.run('cpupool-destroy', 'other')).toMatchObject({ status: 1 });
    await xl.ok('cpupool-migrate', 'guest', 'Pool-0');
    await xl.ok('cpupool-rename', 'other', 'another');
    await xl.ok('cpupool-destroy', 'another');
    await xl.ok('cpupool-cpu-add', 'Pool-0', '1');
    expect(await xl.ok('cpupool-list', '-c')).toBe('Name               CPU list\nPool-0             0,1\n');
  });
});

it('gdbsx lets gdb stop the guest in a kernel function', async () => {
  const line = await console.shell("grep ' T __x64_sys_newuname$' /proc/kallsyms");
  const address = /\n([0-9a-f]{16}) /.exec(line)![1];
  expect(await xl.ok('gdbsx', 'guest', 'gdb')).toMatch(/^target remote \/.*\/gdb\n$/);
  const target = (await xl.ok('gdbsx', 'guest', path('gdb.sock'))).trim();
  console.type('while sleep 1; do uname -r; done &\n');
  const said = execFileSync(
    'gdb',
    ['-nx', '-batch', '-ex', 'set architecture i386:x86-64', '-ex', target, '-ex', `hbreak *0x${address}`].concat([
      '-ex',
      'continue',
      '-ex',
      'p/x $rip',
      '-ex',
      'info threads',
      '-ex',
      'delete',
      '-ex',
      'detach',
    ]),
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000 },
  );
  expect(said).toContain(`= 0x${address}`);
  expect(said).toMatch(/vCPU 0[\s\S]*vCPU 1/);
  await console.expect(/6\.1\.\S+/);
  await console.shell('kill $!');
});

describe('a watchdog', () => {
  /** A guest that arms its watchdog for one second, and then forgets it. */
  const forgetful = (): Uint8Array => {
    const code = Uint8Array.from([
      ...[0xb8, HYPERCALL.sched_op, 0, 0, 0], // mov $sched_op, %eax
      ...[0xbf, SCHEDOP.watchdog, 0, 0, 0], // mov $SCHEDOP_watchdog, %edi
      ...[0x48, 0x8d, 0x35, 4, 0, 0, 0], // lea 1f(%rip), %rsi
      ...[0x0f, 0x05], // syscall
      ...[0xeb, 0xfe], // jmp .
      ...[0, 0, 0, 0, 1, 0, 0, 0], // 1: sched_watchdog: a new one, 1 s
    ]);
    return tinyElf({ segments: [{ paddr: 0x10_0000n, data: code }], notes: linuxNotes() });
  };
  const create = (name: string, action: string) =>
    xl.ok(
      'create',
      '-q',
      '/dev/null',
      `name="${name}"`,
      `kernel="${path('forgetful')}"`,
      'memory=8',
      `on_watchdog="${action}"`,
    );

  it('that is forgotten ends the guest, as on_watchdog says', async () => {
    writeFileSync(path('forgetful'), forgetful());
    await create('kept', 'preserve');
    await create('again', 'coredump-restart');
    const first = Number(await xl.ok('domid', 'again'));
    await eventually(async () => /sw- /.test(await xl.ok('list', 'kept')));
    await eventually(async () => Number((await xl.run('domid', 'again')).stdout) > first);
    expect(await xl.ok('dmesg')).toMatch(/[Ww]atchdog/);
    execFileSync('test', ['-s', path('log/dump/again.core')]);
    await xl.ok('destroy', 'kept');
    // It forgets its watchdog each time: it may be about to be started again, or be kept from that, as it ended so soon.
    await eventually(async () => {
      await xl.run('destroy', 'again');
      return (await xl.run('domid', 'again')).status !== 0;
    });
  });
});

it('SIGHUP ends the host as SIGTERM does: its guests shut down first', async () => {
  process.kill(await xl.pid(), 'SIGHUP');
  await console.expect(/reboot: (Power down|System halted)/);
  expect((await console.result()).status).toBe(0);
  await eventually(async () => !(await xl.running()));
});
