/** What happens when domains crash: what is kept, restarts, and where they end. On the real hypervisor. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Host } from '../../src/dom0/host.ts';
import type { DomainConfig } from '../../src/dom0/toolstack/config.ts';
import { causeOf } from '../../src/dom0/toolstack/crash.ts';
import { supervise } from '../../src/dom0/toolstack/lifecycle.ts';
import { RestartLimit } from '../../src/dom0/toolstack/restarts.ts';
import { linuxNotes, tinyElf } from './kernels/tiny-kernel.ts';

/** `ud2`: its exception has no handler. */
const CRASHES = Uint8Array.of(0x0f, 0x0b);

let dir: string;
let host: Host;
const warnings: string[] = [];

const config: DomainConfig = {
  name: 'tiny',
  memoryMiB: 8,
  vcpus: 1,
  kernel: tinyElf({ segments: [{ paddr: 0x10_0000n, data: CRASHES }], notes: linuxNotes() }),
  kernelName: 'tiny',
  cmdline: '',
};

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'crash-'));
  host = await Host.create({ memoryMiB: 256, pcpus: 1, logDir: dir, warn: (m) => warnings.push(m) });
});
beforeEach(() => {
  warnings.length = 0;
});
afterAll(async () => {
  await host.stop();
  rmSync(dir, { recursive: true, force: true });
});

function start(onCrash: DomainConfig['onCrash'], dom: Partial<DomainConfig> = {}) {
  const d = host.toolstack.create({ ...config, ...dom, onCrash });
  const supervision = supervise(host.toolstack, d, { crashes: host.crashes, warn: (m) => warnings.push(m) });
  d.unpause();
  return { first: d, done: supervision.done };
}

describe('a domain that crashes', () => {
  it('leaves its last output and its memory with coredump-destroy', async () => {
    const crashed: string[] = [];
    const stop = host.toolstack.bus.listen((e) => {
      if (e.type === 'domain.crashed') crashed.push(e.name);
    });
    const { done, first } = start('coredump-destroy');
    expect(await done).toBe('crash');
    stop();
    expect(first.gone).toBe(true);
    expect(crashed).toEqual(['tiny']);
    expect(readFileSync(join(dir, 'guest-tiny.crash'), 'utf8')).toMatch(/^tiny \(\d+\) ended: crash, 20/);
    const core = join(dir, 'dump/tiny.core');
    expect(readFileSync(core).subarray(0, 4)).toEqual(Buffer.from('\x7fELF', 'latin1'));
    expect(statSync(core).size).toBeGreaterThan(8 << 20);
    expect(warnings).toEqual([`domain tiny (${first.domid}) ended: crash`, `the memory of tiny is in ${core}`]);
  });

  it('is another domain after coredump-restart', async () => {
    const started: number[] = [];
    const first = host.toolstack.create({ ...config, name: 'again', onCrash: 'coredump-restart' });
    const { done } = supervise(host.toolstack, first, {
      crashes: host.crashes,
      started: (d) => started.push(d.domid),
      stopping: () => started.length > 0, // the second one crashes as well
    });
    first.unpause();
    expect(await done).toBe('crash');
    expect(started).toEqual([first.domid + 1]);
    expect(existsSync(join(dir, 'dump/again.core'))).toBe(true);
    expect(host.toolstack.find('again')).toBeUndefined();
  });

  it('stays for a look with preserve', async () => {
    const { first, done } = start('preserve');
    expect(await done).toBe('crash');
    expect(first.info()).toMatchObject({ shutdown: true });
    first.destroy();
  });
});

describe('restarts', () => {
  it('are put off more and more while lives are short, and given up after five crashes', () => {
    const limit = new RestartLimit();
    expect([1, 2, 3, 4].map(() => limit.after('crash', 100))).toEqual([0, 1000, 2000, 4000]);
    expect(limit.after('watchdog', 59_999)).toBeUndefined();
  });

  it('count anew after a proper life, and reboots are never given up', () => {
    const limit = new RestartLimit();
    for (let i = 0; i < 4; i++) limit.after('crash', 100);
    expect(limit.after('crash', 60_000)).toBe(0);
    expect(limit.after('crash', 100)).toBe(0);
    const pauses = Array.from({ length: 12 }, () => limit.after('reboot', 10));
    expect(pauses.at(-1)).toBe(60_000);
    expect(limit.after('crash', 100)).toBe(60_000);
  });
});

it('the cause is found in what a kernel printed', () => {
  expect(causeOf('x\r\n[    1.2] Kernel panic - not syncing: sysrq triggered crash\r\n[ 1.3] CPU: 0')).toBe(
    'Kernel panic - not syncing: sysrq triggered crash',
  );
  expect(causeOf('[ 1.0] BUG: unable to handle page fault\n[ 1.1] Oops: 0002 [#1]')).toMatch(/^BUG: unable/);
  expect(causeOf('login:')).toBeUndefined();
});
