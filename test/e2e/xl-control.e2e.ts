/** What xl tells a running guest and the hypervisor: config-update, trigger, debug-keys, claims, a channel; and completion in zsh. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryReservation, XENMEM } from '../../src/abi/memory.ts';
import { HYPERCALL } from '../../src/abi/xen.ts';
import { claimSocket } from '../../src/api/server/claim.ts';
import { createApiServer } from '../../src/api/server/server.ts';
import { Host } from '../../src/dom0/host.ts';
import { wholeOf } from '../../src/dom0/toolstack/kernel/bytes.ts';
import { linuxNotes, tinyElf } from '../dom0/kernels/tiny-kernel.ts';
import { type Command, ROOT } from './command.ts';
import { shellConfig } from './host-guest.ts';
import { eventually, XlClient } from './xl-client.ts';

const xl = new XlClient();
const path = (name: string) => join(xl.dir, name);
let console: Command;

function configure(file: string, memory: number): string {
  writeFileSync(
    path(file),
    `name = "guest"
     kernel = "${path('vmlinux')}"
     ramdisk = "${path('initramfs')}"
     cmdline = "console=hvc0 quiet"
     memory = ${memory}
     channel = [ "name=agent,connection=socket,path=${path('agent.sock')}" ]
    `,
  );
  return path(file);
}

beforeAll(async () => {
  const { kernel, ramdisk } = await shellConfig();
  writeFileSync(path('vmlinux'), wholeOf(kernel));
  writeFileSync(path('initramfs'), ramdisk!);
  await xl.ok('host', 'start', '--pcpus=1', '--memory=1024');
  console = xl.interactive('create', '-c', configure('guest.cfg', 160));
  await console.expect(/guest:\S*# /);
  await console.shell('stty columns 500');
});
afterAll(() => xl.end());

describe('trigger', () => {
  it('nmi reaches the guest’s kernel', async () => {
    const count = async () => Number(/NMI: +(\d+)/.exec(await console.shell('grep NMI: /proc/interrupts'))![1]);
    const before = await count();
    await console.shell('echo 7 > /proc/sys/kernel/printk');
    await xl.ok('trigger', 'guest', 'nmi');
    await console.expect(/Uhhuh\. NMI received for unknown reason/, 30);
    console.type('\n');
    await console.expect(/guest:\S*# /);
    await eventually(async () => (await count()) === before + 1);
    await xl.ok('trigger', 'guest', 'nmi', '0');
    await eventually(async () => (await count()) === before + 2);
  });

  it.each(['reset', 'init', 'power', 'sleep', 's3resume'])('%s is refused: it is a PV guest', async (name) => {
    expect(await xl.run('trigger', 'guest', name)).toEqual({
      status: 1,
      stdout: '',
      stderr: `domain guest is a PV guest: it takes no trigger ${name}\n`,
    });
  });

  it('says what is no trigger, vCPU or domain', async () => {
    expect(await xl.run('trigger', 'guest', 'tickle')).toEqual({
      status: 1,
      stdout: '',
      stderr: 'Invalid trigger "tickle"\n',
    });
    expect(await xl.run('trigger', 'guest', 'nmi', '1')).toMatchObject({
      status: 1,
      stderr: 'domain guest has no vCPU 1\n',
    });
    expect(await xl.run('trigger', 'nobody', 'nmi')).toMatchObject({ status: 1 });
    expect(await xl.run('trigger', 'guest')).toMatchObject({ status: 2 });
  });
});

describe('debug-keys', () => {
  const pressed = async (keys: string) => {
    await xl.ok('dmesg', '-c');
    expect(await xl.run('debug-keys', keys)).toEqual({ status: 0, stdout: '', stderr: '' });
    return await xl.ok('dmesg');
  };
  it('show in dmesg what they are there for', async () => {
    expect(await pressed('h')).toMatch(
      /^\(XEN\) 'h' pressed -> showing installed handlers\n[\s\S]* key 'q' \(ascii '71'\) => dump domain \(and guest debug\) info\n/,
    );
    const q = await pressed('q');
    expect(q).toMatch(/VCPU information and callbacks for domain 1:\n\(XEN\) {5}VCPU0: CPU0 /);
    expect(q).toMatch(/Notifying guest 1:0 \(virq 1, port \d+\)\n/);
    expect(await pressed('e')).toMatch(
      /domain 1:\n\(XEN\) {5}port \[p\/m\]\n\(XEN\) {8}1 \[\d\/\d\]: s=3 n=0 x=0 d=0 p=/,
    );
  });

  it('that are not there do nothing', async () => {
    expect(await pressed('~')).toBe('');
  });

  it('have to be said', async () => {
    expect(await xl.run('debug-keys')).toMatchObject({ status: 2 });
  });
});

it('a channel on a socket is a console of the guest, for one client at a time', async () => {
  const client = () => {
    const socket = connect(path('agent.sock')).setEncoding('utf8');
    const seen = { socket, text: '' };
    socket.on('data', (text) => {
      seen.text += text;
    });
    return seen;
  };
  // Held open: the driver forgets the terminal's settings when nobody has it.
  await console.shell('exec 3<>/dev/hvc1; stty -F /dev/hvc1 raw -echo; echo before anybody came > /dev/hvc1');
  const first = client();
  await eventually(async () => first.text === 'before anybody came\n', 20);
  const second = client();
  second.socket.write('from the second\n');
  console.type('head -n 1 < /dev/hvc1\n');
  first.socket.write('from the first\n');
  await console.expect(/\nfrom the first\r\n[\s\S]*guest:\S*# /);
  first.socket.destroy();
  expect(await console.shell('head -n 1 < /dev/hvc1')).toMatch(/\nfrom the second\r\n/);
  await console.shell('seq 20000 > /dev/hvc1');
  const numbers = Array.from({ length: 20_000 }, (_, i) => `${i + 1}\n`).join('');
  await eventually(async () => second.text.length === numbers.length, 30);
  expect(second.text === numbers).toBe(true);
  second.socket.destroy();
  await console.shell('exec 3>&-');
  expect(await xl.ok('channel-list', 'guest')).toMatch(/\n1 {3}0 {2}4 {5}\d+ +\d+ +socket {5}\n$/);
  const [{ config }] = JSON.parse(await xl.ok('list', '-l', 'guest'));
  expect(config.channels).toEqual([{ devid: 1, name: 'agent', 'connection.socket': { path: path('agent.sock') } }]);
});

describe('config-update', () => {
  const memory = async () => JSON.parse(await xl.ok('list', '-l', 'guest'))[0].config.b_info.target_memkb;
  it('is what the guest has after it has rebooted', async () => {
    const file = configure('update.cfg', 192);
    expect(await xl.run('config-update', 'guest', file)).toMatchObject({
      status: 0,
      stderr: `WARNING: xl now has better capability to manage domain configuration, avoid using this command when possible\nParsing config from ${file}\n`,
    });
    expect(await memory()).toBe(160 << 10);
    expect(await xl.run('-N', 'config-update', 'guest', file, 'memory=999')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/"target_memkb": 1022976/),
    });
    const total = async () => Number(/MemTotal: +(\d+)/.exec(await console.shell('grep MemTotal /proc/meminfo'))![1]);
    const before = await total();
    console.type('reboot -f\n');
    await console.result();
    await eventually(async () => (await xl.run('domid', 'guest')).stdout === '2\n');
    expect(await memory()).toBe(192 << 10);
    console = xl.interactive('console', 'guest');
    await console.expect(/guest:\S*# /);
    expect((await total()) - before).toBeGreaterThan(24 << 10);
  });

  it('is refused with what is wrong, and nothing is changed', async () => {
    const file = configure('wrong.cfg', 224);
    expect(await xl.run('config-update', 'guest', file, 'vtpm=["backend=1"]')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/wrong\.cfg:\d+: vtpm: not supported yet/),
    });
    expect(await xl.run('config-update', 'nobody', file)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('nobody is an invalid domain identifier\n'),
    });
    expect(await xl.run('config-update', 'guest', path('nowhere.cfg'))).toMatchObject({ status: 1 });
    expect(await memory()).toBe(192 << 10);
  });
});

describe('claims', () => {
  const HEAD = 'Name                                        ID   Mem VCPUs\tState\tTime(s)  Claimed\n';
  it('are a column more', async () => {
    const { status, stdout, stderr } = await xl.run('claims');
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout.startsWith(HEAD)).toBe(true);
    expect(stdout).toMatch(/^guest {36} +2 +192 +1 {5}[rb-]{2}---- +\d+\.\d +0$/m);
  });

  it('show what is held', async () => {
    const machine = await Host.create({ memoryMiB: 256, pcpus: 1 });
    const socket = path('claims.sock');
    const status = { started: Date.now(), socket, state: 'running' as const, stop: () => {} };
    const server = createApiServer({ host: Promise.resolve(machine), process: status, warn: () => {} });
    await claimSocket(server, socket);
    try {
      const kernel = tinyElf({
        segments: [{ paddr: 0x10_0000n, data: Uint8Array.of(0xeb, 0xfe) }],
        notes: linuxNotes(),
      });
      const sizes = { memoryMiB: 8, maxMemoryMiB: 64, vcpus: 1 };
      const { domid } = machine.toolstack.create({ ...sizes, name: 'tiny', kernel, kernelName: 'tiny', cmdline: '' });
      machine.xen.scratch((s) => {
        const r = s
          .struct(MemoryReservation)
          .set('domid', domid)
          .set('nr_extents', (8 + 24) * 256);
        machine.xen.call('claim_pages', HYPERCALL.memory_op, XENMEM.claim_pages, r.address);
      });
      const before = xl.env.XENOLITH_SOCKET;
      xl.env.XENOLITH_SOCKET = socket;
      const shown = await xl.ok('claims');
      xl.env.XENOLITH_SOCKET = before;
      // As in Xen, memory that is claimed is counted as the domain's.
      expect(shown).toMatch(/^tiny {37} +1 +32 +1 {5}--p--- +0\.0 {4}24$/m);
    } finally {
      await machine.stop();
      server.close();
      server.closeAllConnections();
    }
  });

  it('may be switched off in xl.conf', async () => {
    writeFileSync(path('xl.conf'), 'claim_mode=0\n');
    xl.env.XL_CONF = path('xl.conf');
    const { status, stdout, stderr } = await xl.run('claims');
    xl.env.XL_CONF = '/dev/null';
    expect([status, stderr]).toEqual([0, 'claim_mode not enabled (see man xl.conf).\n']);
    expect(stdout.startsWith(HEAD)).toBe(true);
  });
});

describe('zsh', () => {
  /** Types a line's beginning and a tab into an interactive zsh, and waits for what shows then (a pattern of zsh). */
  const complete = (typed: string, shown: string) => {
    const script = `
      zmodload zsh/zpty
      setopt extendedglob
      zpty -b z zsh -f -i
      zpty -w z 'xl() { node bin/xl.mjs "$@" }; fpath=(${path('zsh')} $fpath); autoload -Uz compinit; compinit -u -d ${path('dump')}'
      zpty -w z 'stty columns 200; print REA""DY'
      zpty -r -m z got '*READY*'
      zpty -n -w z '${typed}'$'\\t'
      until zpty -r -t z more && { got+=$more; [[ $got == *${shown}* ]]; }; do sleep 0.05; done
      zpty -d z
    `;
    const env = { ...process.env, ...xl.env, TERM: 'dumb' };
    execFileSync('zsh', ['-f', '-c', script], { cwd: ROOT, env, timeout: 60_000 });
  };

  beforeAll(() => {
    mkdirSync(path('zsh'));
    copyFileSync(join(ROOT, 'completions/xl.zsh'), path('zsh/_xl'));
  });

  it('completes commands', () => {
    complete('xl cre', '"xl create "');
    complete('xl sched-', '"sched-credit2 "[[:space:]]#--');
  });

  it('completes domains', () => {
    complete('xl destroy ', 'Domain-0[[:space:]]##guest');
    complete('xl destroy gu', '"xl destroy guest "');
  });

  it('completes options and files', () => {
    complete('xl shutdown --a', '"xl shutdown --all "');
    complete('xl create examples/sh', '"xl create examples/shell.cfg "');
  });
});
