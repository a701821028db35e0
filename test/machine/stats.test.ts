/** The machine's statistics: what a guest does is counted, by name, and timed if that was asked for. */
import { expect, it } from 'vitest';
import { Host } from '../../src/dom0/host.ts';
import { ENGINE_COUNTERS, ENGINE_COUNTERS_OFFSET } from '../../src/engine/counters.ts';
import { CpuState } from '../../src/engine/state.ts';
import type { MachineStats } from '../../src/machine/stats.ts';
import { machineStats } from '../../src/start/stats.ts';
import { runGuest } from '../guests/run-guest.ts';
import { RUNS } from '../guests/runs.ts';

const run = RUNS.find((r) => r.name === 'evtchn')!;

async function statsOf(timing: boolean): Promise<MachineStats> {
  const host = await Host.create({ memoryMiB: 256, pcpus: 1, timing });
  try {
    await runGuest(host, run);
    return host.stats();
  } finally {
    await host.stop();
  }
}

it('counters of the engine lie one behind the other, as the hypervisor reads them', () => {
  const offsets = ENGINE_COUNTERS.map(({ field }) => CpuState.off[field]);
  expect(offsets).toEqual(offsets.map((_, i) => ENGINE_COUNTERS_OFFSET + i * 8));
});

it('counts what a guest does', async () => {
  const stats = await statsOf(false);
  expect(stats.instructions).toBeGreaterThan(10_000n);
  expect(stats.engine.get('data TLB misses')).toBeGreaterThan(10n);
  expect(stats.engine.get('execute TLB misses')).toBeGreaterThan(1n);
  const calls = stats.hypercalls.get('event_channel_op')!;
  expect(calls.count).toBeGreaterThan(50n);
  // The kernel's system calls are its hypercalls, and dom0 makes some without any.
  const total = [...stats.hypercalls.values()].reduce((sum, { count }) => sum + count, 0n);
  const exits = stats.exits.get('SYSCALL')!.count;
  expect(exits).toBeGreaterThan(calls.count / 2n);
  expect(exits).toBeLessThan(total);
  expect(stats.guestNs + calls.ns).toBe(0n);
  const text = machineStats(stats).join('\n');
  expect(text).toMatch(/^ {2}event_channel_op +[\d,]+$/m);
  expect(text).not.toContain('time in guest code');
});

it('times it if asked', async () => {
  const stats = await statsOf(true);
  expect(stats.guestNs).toBeGreaterThan(100_000n);
  const { count, ns } = stats.hypercalls.get('event_channel_op')!;
  expect(ns).toBeGreaterThan(count * 20n);
  expect(stats.exits.get('SYSCALL')!.ns).toBeGreaterThan(ns / 2n);
  const text = machineStats(stats).join('\n');
  expect(text).toMatch(/^time in guest code: \d+\.\d\d s, for exits from it: \d+\.\d\d s$/m);
  expect(text).toMatch(/^ {2}event_channel_op +[\d,]+ +\d+\.\d\d s +[\d,]+ ns each$/m);
});
