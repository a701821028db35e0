/** CPU pools, pCPUs in and out of use, and the parameters of pools (public/sysctl.h), in simulated time. */
import { beforeEach, describe, expect, test } from 'vitest';
import { XEN_SCHEDULER } from '../../src/abi/domctl.ts';
import { busy, MS, SchedSim, SEC } from './sched-sim.ts';

const { CREDIT, CREDIT2, RTDS, NULL } = XEN_SCHEDULER;

const SCHEDULERS: readonly (readonly [string, number])[] = [
  ['credit', CREDIT],
  ['credit2', CREDIT2],
  ['rtds', RTDS],
  ['null', NULL],
];

let x: SchedSim;
beforeEach(() => {
  x = new SchedSim({ pcpus: 4 });
});

describe('pools', () => {
  test('pool 0 has everything; the free list is empty', () => {
    expect(x.xen.cpupool.list()).toEqual([{ id: 0, scheduler: CREDIT2, domains: 1, cpus: 15n }]);
    expect(x.xen.cpupool.freeCpus()).toBe(0n);
    expect(x.xen.sysctl.schedId()).toBe(CREDIT2);
  });

  test('ids are the lowest free ones, or as asked; what is not there is said', () => {
    const p = x.xen.cpupool;
    expect([p.create(CREDIT), p.create(NULL), p.create(RTDS, 9)]).toEqual([1, 2, 9]);
    expect(() => p.create(CREDIT2, 9)).toThrow(/EEXIST/);
    expect(() => p.create(XEN_SCHEDULER.ARINC653)).toThrow(/ENOENT/);
    p.destroy(1);
    expect(p.create(CREDIT2)).toBe(1);
    expect(p.list().map((c) => [c.id, c.scheduler])).toEqual([
      [0, CREDIT2],
      [1, CREDIT2],
      [2, NULL],
      [9, RTDS],
    ]);
    expect(p.info(5)).toBeUndefined();
    expect(() => p.destroy(5)).toThrow(/ENOENT/);
    expect(() => p.destroy(0)).toThrow(/EBUSY/);
    expect(() => p.addCpu(1, 4)).toThrow(/EINVAL/);
    expect(() => p.addCpu(1, 1)).toThrow(/ENODEV/);
    expect(() => p.removeCpu(1, 1)).toThrow(/ENODEV/);
    expect(() => p.removeCpu(1)).toThrow(/ENODEV/);
    expect(() => p.addCpu(1)).toThrow(/ENODEV/);
    expect(() => p.moveDomain(1, 0)).toThrow(/EINVAL/);
    expect(() => p.moveDomain(1, 77)).toThrow(/ESRCH/);
  });

  test('a pCPU that is taken out runs nothing; what ran there goes on elsewhere', () => {
    const d = [0, 1, 2, 3].map(() => x.domain([busy()]));
    x.advance(50 * MS);
    x.quiesced(() => x.xen.cpupool.removeCpu(0, 3));
    expect(x.xen.cpupool.freeCpus()).toBe(8n);
    expect(x.usage(d, 3 * SEC).reduce((a, b) => a + b) / SEC).toBeCloseTo(9, 1);
    expect(d.map((id) => x.xen.domctl.getVcpuInfo(id, 0).cpu)).not.toContain(3);
    for (const used of x.usage(d, 4 * SEC)) expect(used / SEC).toBeCloseTo(3, 1);
    x.xen.cpupool.addCpu(0);
    expect(x.usage(d, SEC).reduce((a, b) => a + b) / SEC).toBeCloseTo(4, 1);
  });

  test('the last pCPU of a pool with domains stays', () => {
    const p = x.xen.cpupool;
    x.quiesced(() => {
      for (const cpu of [3, 2, 1]) p.removeCpu(0, cpu);
    });
    expect(() => p.removeCpu(0, 0)).toThrow(/EBUSY/);
    p.create(CREDIT2);
    const d = x.domain([busy()], { paused: true });
    expect(() => p.moveDomain(1, d)).toThrow(/ENOENT/);
    p.addCpu(1, 2);
    p.moveDomain(1, d);
    expect(() => p.removeCpu(1, 2)).toThrow(/EBUSY/);
    expect(() => p.destroy(1)).toThrow(/EBUSY/);
    x.xen.domctl.destroyDomain(d);
    p.removeCpu(1);
    p.destroy(1);
  });

  test('a vCPU that was pinned to it may run anywhere then, and the log says so', () => {
    const d = x.domain([busy()], { paused: true });
    x.xen.domctl.setVcpuAffinity(d, 0, 8n);
    expect(x.xen.domctl.getVcpuAffinity(d, 0).hard).toBe(8n);
    x.quiesced(() => x.xen.cpupool.removeCpu(0, 3));
    expect(x.xen.domctl.getVcpuAffinity(d, 0).hard).toBe(15n);
    expect(x.log.join('')).toContain(`Breaking affinity for d${d}v0`);
    expect(() => x.xen.domctl.setVcpuAffinity(d, 0, 8n)).toThrow(/EINVAL/);
  });

  test.each(SCHEDULERS)(
    'one that runs there, and leaves it before its affinity has been looked at, goes on elsewhere (%s)',
    (_, s) => {
      x = new SchedSim({ pcpus: 3, scheduler: s });
      // Is looked at first: meanwhile the pCPU finds that it has lost its pool.
      const first = x.domain([busy()]);
      const d = x.domain([busy(), busy()], { paused: true });
      for (const vcpu of [0, 1]) x.xen.domctl.setVcpuAffinity(d, vcpu, 4n);
      x.xen.domctl.unpauseDomain(d);
      x.advance(50 * MS);
      expect(x.xen.domctl.getVcpuInfo(d, 0).cpu).toBe(2);
      x.beside(() => x.xen.cpupool.removeCpu(0, 2));
      for (const vcpu of [0, 1]) expect(x.xen.domctl.getVcpuAffinity(d, vcpu).hard).toBe(7n);
      const [others, used] = x.usage([first, d], SEC);
      expect(others + used).toBeGreaterThan(1.9 * SEC);
      // null gives a pCPU to one vCPU: the third waits.
      expect(used).toBeGreaterThan((s === NULL ? 0.9 : 1.1) * SEC);
    },
  );

  test.each(SCHEDULERS)('a domain moves to a pool with %s and back while it works', (_, scheduler) => {
    const p = x.xen.cpupool;
    const d = x.domain([busy(), busy()]);
    const other = x.domain([busy()]);
    x.xen.scheduler.domainPut(d, CREDIT2, { weight: 512, cap: 150 });
    x.advance(100 * MS);
    x.quiesced(() => {
      p.create(scheduler);
      p.removeCpu(0, 2);
      p.removeCpu(0, 3);
      p.addCpu(1, 2);
      p.addCpu(1, 3);
      p.moveDomain(1, d);
    });
    expect(p.info(1)).toEqual({ id: 1, scheduler, domains: 1, cpus: 12n });
    expect(x.xen.domctl.getDomainInfo(d)?.cpupool).toBe(1);
    const [used, others] = x.usage([d, other], SEC);
    expect(used).toBeGreaterThan(1.95 * SEC);
    expect(others).toBeGreaterThan(0.95 * SEC);
    expect([0, 1].map((i) => x.xen.domctl.getVcpuInfo(d, i).cpu).sort()).toEqual([2, 3]);
    x.quiesced(() => {
      p.moveDomain(0, d);
      for (const cpu of [2, 3]) p.removeCpu(1, cpu);
      p.destroy(1);
    });
    expect(x.xen.scheduler.domainGet(d, CREDIT2)).toEqual({ weight: 256, cap: 0 });
    expect(x.usage([d, other], SEC).reduce((a, b) => a + b)).toBeGreaterThan(1.95 * SEC);
  });

  test('a domain is created in a pool, and leaves it when it is destroyed', () => {
    const p = x.xen.cpupool;
    x.quiesced(() => p.removeCpu(0, 3));
    p.create(CREDIT);
    expect(() => x.domain([busy()], { pool: 1 })).toThrow(/ENOENT/);
    p.addCpu(1, 3);
    const free = x.xen.sysctl.physInfo().freePages;
    const d = x.domain([busy()], { pool: 1 });
    expect(p.info(1)?.domains).toBe(1);
    expect(x.usage([d], SEC)[0]).toBeGreaterThan(0.99 * SEC);
    x.quiesced(() => x.xen.domctl.destroyDomain(d));
    expect(p.info(1)?.domains).toBe(0);
    expect(p.info(0)?.domains).toBe(1);
    expect(x.xen.sysctl.physInfo().freePages).toBe(free);
  });
});

describe('pCPUs in and out of use', () => {
  test('one that is offline is in no pool and does nothing; it comes back into pool 0', () => {
    const d = [0, 1, 2, 3].map(() => x.domain([busy()]));
    x.quiesced(() => x.xen.sysctl.cpuHotplug(2, false));
    expect(x.xen.sysctl.physInfo().cpus).toBe(3);
    expect(x.xen.sysctl.cpuTopology()[2].core).toBe(0xffff_ffff);
    expect(x.xen.cpupool.freeCpus()).toBe(0n);
    expect(x.xen.cpupool.info(0)?.cpus).toBe(11n);
    expect(() => x.xen.cpupool.addCpu(0, 2)).toThrow(/ENODEV/);
    expect(x.usage(d, SEC).reduce((a, b) => a + b) / SEC).toBeCloseTo(3, 1);
    x.xen.sysctl.cpuHotplug(2, true);
    expect(x.usage(d, SEC).reduce((a, b) => a + b) / SEC).toBeCloseTo(4, 1);
  });

  test('pCPU 0 stays; what is not there, or is so already, is refused', () => {
    const hotplug = (cpu: number, online: boolean) => () => x.xen.sysctl.cpuHotplug(cpu, online);
    expect(hotplug(0, false)).toThrow(/EINVAL/);
    expect(hotplug(4, false)).toThrow(/EINVAL/);
    expect(hotplug(1, true)).toThrow(/EINVAL/);
    x.quiesced(hotplug(1, false));
    expect(hotplug(1, false)).toThrow(/EINVAL/);
  });
});

test('parameters of a pool are its scheduler’s, within their bounds', () => {
  const s = x.xen.scheduler;
  expect(s.credit2PoolGet(0)).toEqual({ ratelimitUs: 1000 });
  s.credit2PoolPut(0, { ratelimitUs: 5000 });
  expect(s.credit2PoolGet(0)).toEqual({ ratelimitUs: 5000 });
  for (const ratelimitUs of [99, 500_001]) expect(() => s.credit2PoolPut(0, { ratelimitUs })).toThrow(/EINVAL/);
  expect(() => s.creditPoolGet(0)).toThrow(/EINVAL/);
  expect(() => s.credit2PoolGet(1)).toThrow(/ESRCH/);
  x.xen.cpupool.create(CREDIT);
  expect(s.creditPoolGet(1)).toEqual({ tsliceMs: 30, ratelimitUs: 1000, migrationDelayUs: 0 });
  const p = { tsliceMs: 10, ratelimitUs: 500, migrationDelayUs: 200 };
  s.creditPoolPut(1, p);
  expect(s.creditPoolGet(1)).toEqual(p);
  for (const bad of [{ tsliceMs: 0 }, { tsliceMs: 1001 }, { ratelimitUs: 10_001 }, { migrationDelayUs: 100_001 }])
    expect(() => s.creditPoolPut(1, { ...p, ...bad })).toThrow(/EINVAL/);
});
