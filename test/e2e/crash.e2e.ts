/** A Linux guest that panics: what it said last is kept, its memory opens in gdb, and another takes its place. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { supervise } from '../../src/dom0/toolstack/lifecycle.ts';
import { HostGuest } from './host-guest.ts';

let dir: string;
let guest: HostGuest;
const warnings: string[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'crash-'));
  const host = { logDir: dir, warn: (m: string) => warnings.push(m) };
  guest = await HostGuest.boot({ host, domain: { onCrash: 'coredump-restart' } });
});
afterAll(async () => {
  await guest?.stop();
  rmSync(dir, { recursive: true, force: true });
});

it('panic, core and restart', async () => {
  const restarted = Promise.withResolvers<void>();
  const { host, domain } = guest;
  const supervision = supervise(host.toolstack, domain, { crashes: host.crashes, started: () => restarted.resolve() });
  guest.type('echo c > /proc/sysrq-trigger\n');
  expect(await domain.ended).toBe('crash');
  await restarted.promise;
  expect(warnings[0]).toMatch(/^domain guest \(1\) ended: crash: Kernel panic - not syncing: sysrq triggered crash/);
  expect(readFileSync(join(dir, 'guest-guest.crash'), 'utf8')).toMatch(/Kernel panic[\s\S]*Call Trace/);
  const core = join(dir, 'dump/guest.core');
  const said = execFileSync('gdb', ['-nx', '-batch', '-ex', 'info registers rip', '-c', core], { encoding: 'utf8' });
  expect(said).toMatch(/rip\s+0xffffffff8/);
  expect(supervision.domain.domid).toBe(2);
  expect(supervision.domain.info()).toMatchObject({ shutdown: false });
});
