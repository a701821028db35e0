/** What a guest does is found in its profile, and the profile is a .cpuprofile. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Host } from '../../../src/dom0/host.ts';
import { cpuProfile, hottest } from '../../../src/dom0/profile/cpuprofile.ts';
import { type Place, type Profile, Profiler } from '../../../src/dom0/profile/profiler.ts';
import { Symbols } from '../../../src/dom0/profile/symbols.ts';
import { imagePath, RUNS } from '../../guests/runs.ts';

const place = (p: Partial<Place>): Place => ({
  ...{ pcpu: 0, kind: 'KERNEL', domid: 1, vcpu: 0, rip: 0n, caller: 0n, root: 0, what: 0, ns: 0 },
  ...p,
});

const names = {
  symbols: new Symbols([
    { address: 0x1000n, name: 'work' },
    { address: 0x2000n, name: 'hypercall_page' },
    { address: 0x3000n, name: 'set_pte' },
  ]),
  domain: (domid: number) => `guest-${domid}`,
};

it('places become a tree, samples its leaves', () => {
  const profile: Profile = {
    places: [
      place({ rip: 0x1010n, ns: 3e6 }),
      place({ rip: 0x1020n, ns: 1e6 }),
      place({ kind: 'HYPERCALL', rip: 0x2022n, caller: 0x3008n, what: 1, ns: 2e6 }),
      place({ kind: 'USER', rip: 0x40_1234n, root: 0x7000, ns: 1e6 }),
      place({ kind: 'EXIT', rip: 0x1000n, what: 1, ns: 1e6 }),
      place({ kind: 'IDLE', ns: 2e6 }),
    ],
    timeline: [0, 1, 2, 3, 4, 5],
    durations: [3e6, 1e6, 2e6, 1e6, 1e6, 2e6],
    lostNs: 0,
  };
  const p = cpuProfile(profile, names);
  const byId = new Map(p.nodes.map((n) => [n.id, n]));
  const parent = new Map(p.nodes.flatMap((n) => n.children.map((c) => [c, n.id] as const)));
  const path = (id: number): string[] => {
    const up = parent.get(id);
    return [...(up === undefined ? [] : path(up)), byId.get(id)!.callFrame.functionName];
  };
  expect(p.samples.map((id) => path(id).slice(1).join(' / '))).toEqual([
    'CPU 0 / guest-1, vCPU 0 / kernel / work',
    'CPU 0 / guest-1, vCPU 0 / kernel / work',
    'CPU 0 / guest-1, vCPU 0 / kernel / set_pte / hypercall mmu_update',
    'CPU 0 / guest-1, vCPU 0 / user mode, L4 table 0x7000 / 0x401000',
    'CPU 0 / guest-1, vCPU 0 / hypervisor / exit EXCEPTION / work',
    'CPU 0 / (idle)',
  ]);
  expect(byId.get(p.samples[0])!.hitCount).toBe(2);
  expect(p.timeDeltas).toEqual([3000, 1000, 2000, 1000, 1000, 2000]);
  expect(p.endTime).toBe(10_000);
  expect(new Set(p.nodes.map((n) => n.id)).size).toBe(p.nodes.length);
  expect(hottest(profile, names, 2)).toEqual(['  40.0 %  work', '  20.0 %  set_pte > hypercall mmu_update']);
});

it('samples a machine: where the guest computes, and where it waits', async () => {
  const host = await Host.create({ memoryMiB: 256, pcpus: 1 });
  try {
    const profiler = new Profiler(host.machine);
    const guest = host.toolstack.create({
      name: 'guest',
      memoryMiB: 8,
      vcpus: 1,
      kernel: new Uint8Array(readFileSync(imagePath(RUNS.find((r) => r.name === 'garbage')!))),
      kernelName: 'garbage.elf',
      cmdline: '',
    });
    guest.unpause();
    await guest.ended;
    await new Promise((resolve) => setTimeout(resolve, 100));
    const { places, timeline, durations, lostNs } = profiler.stop();
    expect(lostNs).toBe(0);
    expect(durations.length).toBe(timeline.length);
    const sums = new Map<string, number>();
    for (const p of places) sums.set(p.kind, (sums.get(p.kind) ?? 0) + p.ns);
    expect(durations.reduce((sum, ns) => sum + ns, 0)).toBe([...sums.values()].reduce((sum, ns) => sum + ns, 0));
    expect((sums.get('KERNEL') ?? 0) + (sums.get('HYPERCALL') ?? 0) + (sums.get('EXIT') ?? 0)).toBeGreaterThan(1e6);
    expect(places.filter((p) => p.kind === 'KERNEL').every((p) => p.rip >> 28n === 0xf_ffff_fff8n)).toBe(true);
    expect(places.every((p) => p.kind === 'IDLE' || p.domid === guest.domid)).toBe(true);
  } finally {
    await host.stop();
  }
});
