/** Debian's kernels as PVH guests, by `npm start` and by `xl create`. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Command, ROOT, run } from './command.ts';
import { XlClient } from './xl-client.ts';

/** What a healthy kernel does not print. */
const TROUBLE =
  /WARNING|\bBUG\b|Call Trace|Oops|general protection|rcu.*stall|soft lockup|page allocation failure|ACPI (BIOS )?Error|BIOS bug/;
const PROMPT = /guest:~# /;

describe.each(['cloud', 'generic'])("Debian's %s kernel as a PVH guest", (flavour) => {
  const args = ['--type', 'pvh', '--flavour', flavour];

  it('says its version to a pipe and powers off', async () => {
    const result = await run(args, 'uname -r\npoweroff -f\n');
    expect(result.stdout).toMatch(/\n6\.1\.\d+-\d+(-cloud)?-amd64\r/);
    expect(result.stdout).not.toMatch(TROUBLE);
    // Anything but the reason poweroff would be 1.
    expect(result.status).toBe(0);
  });

  it('knows where it is, and finds nothing wrong', async () => {
    const command = new Command([...args, '--stats']);
    await command.expect(PROMPT);
    const dmesg = await command.shell('dmesg');
    for (const line of [
      'Hypervisor detected: Xen HVM',
      'Booting kernel on Xen PVH',
      'Xen version: 4.17',
      'BIOS-e820: [mem 0x0000000000000000-0x000000000009ffff] usable',
      'BIOS-e820: [mem 0x0000000000100000-0x000000000fffffff] usable',
      'BIOS-e820: [mem 0x00000000feff8000-0x00000000feffffff] reserved',
      'Using ACPI for processor (LAPIC) configuration information',
      '1 ACPI AML tables successfully acquired and loaded',
      'ACPI: Interpreter enabled',
      'clocksource: Switched to clocksource xen',
      'Grant tables using version 1 layout',
    ]) {
      expect(dmesg).toContain(line);
    }
    expect(dmesg).toMatch(/BIOS-e820: \[mem 0x00000000fc000000-0x00000000fc00[0-9a-f]{4}\] ACPI data/);
    expect(dmesg).toMatch(/ACPI: RSDP 0x00000000FC[0-9A-F]{6} 000024 \(v02 Xen {3}\)/);
    expect(dmesg).not.toMatch(TROUBLE);
    expect(await command.shell('cat /sys/hypervisor/type /sys/hypervisor/guest_type')).toMatch(/\nxen\r\nPVH\r/);
    const cpuinfo = await command.shell('cat /proc/cpuinfo');
    expect(cpuinfo.match(/^processor\s*: 0\r$/gm)).toHaveLength(1);
    expect(cpuinfo).toMatch(/^flags\s*:.* apic .*hypervisor/m);
    expect(await command.shell('tty; ps | grep -c "[s]h$"')).toContain('/dev/hvc0');
    expect(await command.shell('cat /proc/interrupts')).toMatch(/xen-percpu\s+-virq\s+timer0/);
    // The clock runs, and an idle guest wakes.
    expect(await command.shell('date +%s; sleep 2; date +%s')).toMatch(/\n\d+\r\n\d+\r/);
    expect(await command.shell('echo still $((6*7))')).toContain('still 42');
    command.type('poweroff\n');
    const result = await command.result();
    expect(result.status).toBe(0);
    expect(result.stdout).toMatch(/reboot: (System halted|Power down)/);
    expect(result.stderr).toMatch(/time to \/init: \d+\.\d+ s/);
  });
});

describe('a PVH domain', () => {
  it('reboots as a new domain', async () => {
    const command = new Command(['--type', 'pvh']);
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
    const command = new Command(['--type', 'pvh']);
    await command.expect(PROMPT);
    command.type('echo c > /proc/sysrq-trigger\n');
    const result = await command.result();
    expect(result.status).toBe(1);
    expect(result.stdout).toContain('sysrq triggered crash');
    expect(result.stderr).toContain('the guest ended: crash');
  });

  it('has the memory it was given', async () => {
    const command = new Command(['--type', 'pvh', '--memory', '400', '--append', 'console=hvc0 test.option=1']);
    await command.expect(PROMPT);
    const [, kib] = /MemTotal:\s+(\d+) kB/.exec(await command.shell('grep MemTotal /proc/meminfo'))!;
    expect(Number(kib)).toBeGreaterThan(300 * 1024);
    expect(Number(kib)).toBeLessThan(400 * 1024);
    expect(await command.shell('cat /proc/cmdline')).toContain('console=hvc0 test.option=1');
    command.type('poweroff -f\n');
    expect((await command.result()).status).toBe(0);
  });

  it('gets all of its input, however fast it comes', async () => {
    const lines = Array.from({ length: 400 }, (_, i) => `n=$((n+${i}))\n`).join('');
    const result = await run(['--type', 'pvh'], `${lines}echo "sum $n"\npoweroff -f\n`);
    expect(result.stdout).toContain(`sum ${(400 * 399) / 2}`);
    expect(result.status).toBe(0);
  });
});

describe('examples/pvh.cfg', () => {
  const client = new XlClient();
  const file = join(ROOT, 'examples/pvh.cfg');
  beforeAll(() => {
    execFileSync('node', ['scripts/run.mjs', 'scripts/images.ts'], { cwd: ROOT, stdio: 'ignore' });
  });
  afterAll(() => client.end());

  it('is a guest beside a PV guest, listed as pvh, that shuts down when it is asked to', async () => {
    await client.ok('create', join(ROOT, 'examples/shell.cfg'));
    const console = client.interactive('create', '-c', file);
    await console.expect(/guest:\S*# /);
    expect(await console.shell('dmesg | grep Booting')).toContain('Booting kernel on Xen PVH');
    const [, long] = /(\[[\s\S]*\])/.exec(await client.ok('list', '-l', 'pvh'))!;
    const [{ config }] = JSON.parse(long);
    expect(config.c_info).toMatchObject({ type: 'pvh', name: 'pvh' });
    expect(Object.keys(config.b_info)).toContain('type.pvh');
    expect(await client.run('dump-core', 'pvh', join(client.dir, 'core'))).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('core dumps of PVH guests are not supported yet'),
    });
    expect(await client.run('create', file, "name='two'", 'vcpus=2')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('PVH guests have one vCPU so far'),
    });
    await client.ok('shutdown', '-w', 'pvh');
    expect(await client.ok('list')).not.toMatch(/^pvh /m);
    expect(await client.ok('list')).toMatch(/^shell /m);
  });

  it('reads and writes its disk, and has a network card', async () => {
    const image = join(client.dir, 'disk');
    const content = randomBytes(8 << 20);
    writeFileSync(image, content);
    const console = client.interactive('create', '-c', file, `disk=['${image},raw,xvda,w']`, "vif=['']");
    await console.expect(/guest:\S*# /);
    const sum = createHash('sha256').update(content).digest('hex');
    expect(await console.shell('sha256sum /dev/xvda')).toContain(sum);
    await console.shell('yes | dd of=/dev/xvda bs=4096 count=100 iflag=fullblock conv=fsync,notrunc');
    expect(
      readFileSync(image)
        .subarray(0, 409_600)
        .equals(Buffer.from('y\n'.repeat(204_800))),
    ).toBe(true);
    expect(readFileSync(image).subarray(409_600).equals(content.subarray(409_600))).toBe(true);
    expect(await console.shell('ip link show eth0')).toMatch(/link\/ether 00:16:3e:/);
    await client.ok('destroy', 'pvh');
  });

  it('gives memory back, and takes it again', async () => {
    const console = client.interactive('create', '-c', file, 'maxmem=320');
    await console.expect(/guest:\S*# /);
    const memory = async () => Number(/^pvh\s+\d+\s+(\d+)/m.exec(await client.ok('list', 'pvh'))![1]);
    const until = async (good: (mib: number) => boolean) => {
      for (let i = 0; i < 120; i++) {
        if (good(await memory())) return;
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
      expect.unreachable(`it has ${await memory()} MiB`);
    };
    // It starts with all that it may have.
    await until((mib) => mib <= 257);
    await client.ok('mem-set', 'pvh', '200');
    await until((mib) => mib <= 201);
    await client.ok('mem-set', 'pvh', '300');
    await until((mib) => mib >= 299);
    await client.ok('destroy', 'pvh');
  });
});
