/**
 * Debian's kernels with several vCPUs on two pCPUs: they boot, run a program whose threads check their own sums, lose and get
 * back processors, and power off. XENOLITH_SMP_BOOTS boots the kernel with four vCPUs that many times more (default 0).
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cpio, S_IFREG } from '../../src/start/cpio.ts';
import { initramfs } from '../../src/start/initramfs.ts';
import { ROOT, run } from './command.ts';
import { HostGuest } from './host-guest.ts';

/** What a healthy kernel does not print. */
const TROUBLE =
  /WARNING|\bBUG\b|Call Trace|Oops|general protection|rcu.*stall|soft lockup|page allocation failure|not respond/;
const BOOTS = Number(process.env.XENOLITH_SMP_BOOTS ?? 0);

let dir: string;
let program: string;
let ramdisk: Uint8Array;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'smp-'));
  program = join(dir, 'threads');
  const source = join(ROOT, 'test/e2e/programs/threads.c');
  execFileSync('gcc', ['-O1', '-static', '-pthread', '-o', program, source]);
  const file = { name: 'threads', mode: S_IFREG | 0o755, data: readFileSync(program) };
  ramdisk = Buffer.concat([initramfs(readFileSync('/bin/busybox')), cpio([file])]);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Boots by `npm start`, and says how many processors there are. */
async function boots(flavour: string, vcpus: number, memory = 256): Promise<void> {
  const args = ['--flavour', flavour, '--vcpus', `${vcpus}`, '--pcpus', '2', '--memory', `${memory}`];
  const result = await run(args, 'echo "there are $(nproc)"\npoweroff -f\n');
  expect(result.stdout).toContain(`there are ${vcpus}\r`);
  expect(result.stdout).toContain(`Brought up 1 node, ${vcpus} CPUs`);
  expect(result.stdout).not.toMatch(TROUBLE);
  expect(result.status).toBe(0);
}

describe('on two pCPUs', () => {
  it('the generic kernel boots with 2 vCPUs', () => boots('generic', 2));
  it('the generic kernel boots with 8 vCPUs', () => boots('generic', 8));
  it('the cloud kernel boots with 64 vCPUs', () => boots('cloud', 64, 512));
  it.each(Array.from({ length: BOOTS }, (_, i) => i))('the cloud kernel boots with 4 vCPUs (%i)', () =>
    boots('cloud', 4),
  );
});

describe('a guest with 4 vCPUs', () => {
  let guest: HostGuest;
  beforeAll(async () => {
    guest = await HostGuest.boot({ host: { pcpus: 2, checkLocks: true }, domain: { vcpus: 4, maxVcpus: 5, ramdisk } });
  });
  afterAll(() => guest?.stop());

  const online = (cpu: number, how: string) =>
    guest.host.store.write(`/local/domain/${guest.domain.domid}/cpu/${cpu}/availability`, how);
  /** Waits until the kernel's list (`online`, `present`) says so. */
  const processors = async (list: string, wanted: string) => {
    let now = '';
    for (let tries = 0; tries < 60 && now !== wanted; tries++) {
      if (tries) await new Promise((resolve) => setTimeout(resolve, 250));
      now = await guest.shell(`cat /sys/devices/system/cpu/${list}`);
    }
    expect(now).toBe(wanted);
  };
  /** The kernel only makes it present; udev brings it up, where there is one. */
  const bringUp = (cpu: number) => guest.shell(`echo 1 > /sys/devices/system/cpu/cpu${cpu}/online`);

  it('runs threads that check their sums', async () => {
    const here = execFileSync(program, { encoding: 'utf8' });
    for (let i = 0; i < 2; i++) expect(`${await guest.shell('/threads')}\n`).toBe(here);
  });

  it('loses a processor and gets it back, by XenStore', async () => {
    await processors('online', '0-3');
    online(2, 'offline');
    await processors('online', '0-1,3');
    expect(guest.host.xen.domctl.getVcpuInfo(guest.domain.domid, 2).online).toBe(false);
    online(2, 'online');
    await processors('present', '0-3');
    await bringUp(2);
    await processors('online', '0-3');
    expect(guest.host.xen.domctl.getVcpuInfo(guest.domain.domid, 2).online).toBe(true);
  });

  it('gets one that it did not have at first', async () => {
    online(4, 'online');
    await processors('present', '0-4');
    await bringUp(4);
    await processors('online', '0-4');
    expect(await guest.shell('taskset -c 4 nproc')).toBe('1');
  });

  it('takes processors down by itself, under load', async () => {
    await guest.shell('for i in 1 2 3 4; do (while :; do :; done) & done');
    for (const on of [0, 1, 0, 1]) {
      for (const cpu of [1, 2, 3]) await guest.shell(`echo ${on} > /sys/devices/system/cpu/cpu${cpu}/online`);
    }
    await processors('online', '0-4');
    await guest.shell('kill %1 %2 %3 %4; wait');
  });

  it('has found nothing wrong, and powers off', async () => {
    expect(await guest.shell('dmesg')).not.toMatch(TROUBLE);
    guest.type('poweroff -f\n');
    expect(await guest.domain.ended).toBe('poweroff');
  });
});
