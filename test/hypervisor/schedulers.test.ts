/**
 * One suite for every scheduler (src/hypervisor/sched/scheduler.ts), in simulated time. What a scheduler does not promise is
 * skipped by name. Shares are of running time as the hypervisor accounts it.
 */
import { describe, expect, test } from 'vitest';
import { XEN_SCHEDULER } from '../../src/abi/domctl.ts';
import type { WeightedScheduler } from '../../src/dom0/kernel/hypercalls/scheduler.ts';
import { type Behaviour, busy, MS, percentile, periodic, SchedSim, SEC, type SimOptions, US } from './sched-sim.ts';

interface Scheduler {
  readonly name: string;
  readonly id: number;
  /** Tests it need not pass, and why. */
  readonly skip: Readonly<Record<string, string>>;
  /** How far a share over 10 s may be off, in ns, beside the 2 % of itself that every scheduler may. */
  readonly slack: number;
}

const SHARES = 'shares the CPU equally';
const WEIGHTS = 'shares the CPU by weight';
const CAPS = 'caps';
const LATENCY = 'wakes an I/O-bound domain in time';
const YIELD = 'a vCPU that yields lets others go first';
const SOFT = 'soft affinity is followed while it costs nothing';
const MANY = 'more vCPUs than pCPUs all run';
const PAUSE = 'a paused domain runs no more, and goes on when it is unpaused';
const HARD = 'hard affinity is kept, before and after a change';

const NO_SHARING = 'a pCPU has one vCPU';
const NO_WEIGHTS = 'it has neither weights nor caps';

const SCHEDULERS: readonly Scheduler[] = [
  { name: 'credit2', id: XEN_SCHEDULER.CREDIT2, skip: {}, slack: 0 },
  // Its slices are 30 ms: a few of them.
  { name: 'credit', id: XEN_SCHEDULER.CREDIT, skip: {}, slack: 150 * MS },
  {
    name: 'rtds',
    id: XEN_SCHEDULER.RTDS,
    skip: {
      [WEIGHTS]: NO_WEIGHTS,
      [CAPS]: NO_WEIGHTS,
      [SOFT]: 'vCPUs go to whichever pCPU is free',
      [SHARES]: 'what is not reserved goes to who comes first',
      [MANY]: 'more than there is must not be reserved',
    },
    slack: 0,
  },
  {
    name: 'null',
    id: XEN_SCHEDULER.NULL,
    skip: {
      [SHARES]: NO_SHARING,
      [WEIGHTS]: NO_WEIGHTS,
      [CAPS]: NO_WEIGHTS,
      [LATENCY]: NO_SHARING,
      [YIELD]: NO_SHARING,
      [MANY]: NO_SHARING,
      [PAUSE]: NO_SHARING,
      [HARD]: NO_SHARING,
    },
    slack: 0,
  },
];

describe.each(SCHEDULERS)('$name', (s) => {
  const sim = (o: SimOptions = {}) => new SchedSim({ scheduler: s.id, ...o });
  const weigh = (x: SchedSim, domid: number, p: { weight?: number; cap?: number }) =>
    x.xen.scheduler.domainPut(domid, s.id as WeightedScheduler, p);
  /** A test of the suite, unless the scheduler names it among its skips. */
  const check = (name: string, body: () => void) => {
    const why = s.skip[name];
    if (why) test.skip(`${name} (${why})`, () => {});
    else test(name, body);
  };
  const near = (got: number, want: number, tolerance = 0.02) => {
    expect(got).toBeGreaterThan(want * (1 - tolerance) - s.slack);
    expect(got).toBeLessThan(want * (1 + tolerance) + s.slack);
  };

  test('alone, a vCPU has the whole pCPU', () => {
    const x = sim();
    expect(x.usage([x.domain([busy()])], SEC)[0]).toBeGreaterThan(0.999 * SEC);
  });

  test('as many vCPUs as pCPUs have one each', () => {
    const x = sim({ pcpus: 3 });
    const u = x.usage([x.domain([busy(), busy()]), x.domain([busy()])], 4 * SEC);
    near(u[0], 8 * SEC, 0.02);
    near(u[1], 4 * SEC, 0.02);
  });

  check(MANY, () => {
    const x = sim({ pcpus: 2 });
    const u = x.usage(
      Array.from({ length: 24 }, () => x.domain([busy()])),
      10 * SEC,
    );
    near(
      u.reduce((a, b) => a + b),
      20 * SEC,
      0.001,
    );
    for (const used of u) near(used, (20 * SEC) / 24, 0.2);
  });

  check(SHARES, () => {
    for (const pcpus of [1, 2]) {
      for (const n of [2, 4, 8]) {
        const x = sim({ pcpus });
        const domids = Array.from({ length: n }, () => x.domain([busy()]));
        for (const used of x.usage(domids, 10 * SEC)) near(used, (10 * SEC * pcpus) / n);
      }
    }
  });

  check(WEIGHTS, () => {
    for (const [pcpus, weights] of [
      [1, [256, 512]],
      [1, [64, 128, 256, 512]],
      [1, [100, 200, 300, 400, 100, 200, 300, 400]],
      [2, [256, 256, 384, 512]],
    ] as const) {
      const x = sim({ pcpus });
      const all = weights.reduce<number>((a, b) => a + b, 0);
      const domids = weights.map((weight) => {
        const d = x.domain([busy()]);
        weigh(x, d, { weight });
        return d;
      });
      const used = x.usage(domids, 10 * SEC);
      for (const [i, weight] of weights.entries()) near(used[i], (10 * SEC * pcpus * weight) / all);
    }
  });

  check(CAPS, () => {
    // A quarter of a pCPU, alone, beside another, and with more vCPUs than that.
    for (const [vcpus, others] of [
      [1, 0],
      [1, 1],
      [3, 1],
    ]) {
      const x = sim({ pcpus: 2 });
      const capped = x.domain(Array.from({ length: vcpus }, busy));
      weigh(x, capped, { cap: 25 });
      for (let i = 0; i < others; i++) x.domain([busy()]);
      const share = x.usage([capped], 10 * SEC)[0] / (10 * SEC);
      expect(share).toBeGreaterThan(0.24);
      expect(share).toBeLessThan(0.26);
      weigh(x, capped, { cap: 0 });
      near(x.usage([capped], SEC)[0], Math.min(vcpus, 2) * SEC, 0.7);
    }
  });

  check(LATENCY, () => {
    for (const pcpus of [1, 2]) {
      const x = sim({ pcpus });
      for (let i = 0; i < 2 * pcpus; i++) x.domain([busy()]);
      const late: number[] = [];
      x.domain([periodic(7 * MS, 200 * US, late)]);
      x.advance(10 * SEC);
      expect(late.length).toBeGreaterThan(900);
      expect(percentile(late, 0.99)).toBeLessThan(5 * MS);
    }
  });

  check(YIELD, () => {
    const x = sim();
    const gaps: number[] = [];
    function* yields(): Behaviour {
      for (;;) {
        const from = yield { busy: 100 * US };
        gaps.push((yield { yield: true }) - from);
      }
    }
    x.domain([yields()]);
    x.domain([busy()]);
    x.advance(2 * SEC);
    // The other one ran in between.
    expect(gaps.filter((g) => g > 50 * US).length).toBeGreaterThan(gaps.length / 10);
  });

  check(HARD, () => {
    const x = sim({ pcpus: 2 });
    const domids = [x.domain([busy()], { paused: true }), x.domain([busy()], { paused: true })];
    x.quiesced(() => {
      for (const d of domids) x.xen.domctl.setVcpuAffinity(d, 0, 2n);
    });
    for (const d of domids) x.xen.domctl.unpauseDomain(d);
    const idle = () => domids.map((d) => x.xen.domctl.getVcpuInfo(d, 0).cpu);
    for (let i = 0; i < 20; i++) {
      x.advance(10 * MS);
      for (const d of domids) {
        const v = x.xen.domctl.getVcpuInfo(d, 0);
        if (v.running) expect(v.cpu).toBe(1);
      }
    }
    expect(x.usage(domids, SEC).reduce((a, b) => a + b)).toBeLessThan(1.001 * SEC);
    x.quiesced(() => x.xen.domctl.setVcpuAffinity(domids[0], 0, 1n));
    for (const used of x.usage(domids, SEC)) near(used, SEC, 0.01);
    expect(idle()).toEqual([0, 1]);
  });

  check(SOFT, () => {
    const x = sim({ pcpus: 4 });
    const d = x.domain([busy(), busy()], { paused: true });
    x.quiesced(() => {
      x.xen.domctl.setVcpuAffinity(d, 0, undefined, 4n);
      x.xen.domctl.setVcpuAffinity(d, 1, undefined, 8n);
    });
    x.xen.domctl.unpauseDomain(d);
    x.advance(SEC);
    expect([0, 1].map((i) => x.xen.domctl.getVcpuInfo(d, i).cpu)).toEqual([2, 3]);
  });

  check(PAUSE, () => {
    const x = sim();
    const [a, b] = [x.domain([busy()]), x.domain([periodic(MS, MS, [])])];
    x.advance(100 * MS);
    x.quiesced(() => x.xen.domctl.pauseDomain(a));
    expect(x.usage([a], SEC)[0]).toBe(0);
    x.xen.domctl.unpauseDomain(a);
    expect(x.usage([a, b], SEC)[0]).toBeGreaterThan(0.3 * SEC);
  });

  test('an idle machine sleeps: no pCPU wakes while nobody wants to run', () => {
    const x = sim({ pcpus: 2 });
    for (let i = 0; i < 10; i++) x.domain([(function* () {})()]);
    x.advance(SEC);
    const before = x.steps;
    x.advance(10 * SEC);
    expect(x.steps).toBe(before);
  });

  test('domains that come and go under load leave nothing behind', () => {
    const x = sim({ pcpus: 2 });
    x.domain([busy()]);
    const cycle = () => {
      const d = x.domain([busy(), periodic(MS, 300 * US, []), busy()]);
      x.advance(20 * MS);
      x.quiesced(() => x.xen.domctl.destroyDomain(d));
    };
    cycle();
    const free = x.xen.sysctl.physInfo().freePages;
    for (let i = 0; i < 10; i++) cycle();
    expect(x.xen.sysctl.physInfo().freePages).toBe(free);
  });
});

describe('rtds', () => {
  const sim = (o: SimOptions = {}) => new SchedSim({ scheduler: XEN_SCHEDULER.RTDS, ...o });

  test('what is reserved is had, whatever others want; without extra time no more', () => {
    const x = sim();
    const [a, b, greedy] = [x.domain([busy()]), x.domain([busy()]), x.domain([busy(), busy()])];
    x.xen.scheduler.rtdsPut(a, { period: 10_000, budget: 5_000, extratime: false });
    x.xen.scheduler.rtdsPut(b, { period: 4_000, budget: 1_000, extratime: false });
    x.xen.scheduler.rtdsPut(greedy, { period: 20_000, budget: 1_000, extratime: true });
    const [ua, ub, ug] = x.usage([a, b, greedy], 10 * SEC).map((u) => u / (10 * SEC));
    expect(Math.abs(ua - 0.5)).toBeLessThan(0.005);
    expect(Math.abs(ub - 0.25)).toBeLessThan(0.005);
    expect(Math.abs(ug - 0.25)).toBeLessThan(0.01);
  });

  test('parameters of single vCPUs; what is no reservation is refused', () => {
    const x = sim();
    const d = x.domain([busy(), busy()]);
    const { scheduler } = x.xen;
    expect(scheduler.rtdsGet(d)).toEqual({ period: 10_000, budget: 4_000, extratime: true });
    scheduler.rtdsVcpusPut(d, [{ vcpu: 1, period: 20_000, budget: 3_000, extratime: false }]);
    expect(scheduler.rtdsVcpusGet(d, [1, 0])).toEqual([
      { vcpu: 1, period: 20_000, budget: 3_000, extratime: false },
      { vcpu: 0, period: 10_000, budget: 4_000, extratime: true },
    ]);
    for (const [period, budget] of [
      [0, 0],
      [1000, 1001],
      [5, 5],
    ])
      expect(() => scheduler.rtdsPut(d, { period, budget, extratime: true })).toThrow(/EINVAL/);
    expect(() => scheduler.rtdsVcpusGet(d, [2])).toThrow(/EINVAL/);
    expect(() => scheduler.domainGet(d, XEN_SCHEDULER.CREDIT2)).toThrow(/EINVAL/);
  });
});

test('null: who finds no pCPU free waits until one is', () => {
  const x = new SchedSim({ scheduler: XEN_SCHEDULER.NULL, pcpus: 2 });
  const domids = [busy(), busy(), busy()].map((b) => x.domain([b]));
  const u = x.usage(domids, SEC);
  expect(u[0]).toBeGreaterThan(0.99 * SEC);
  expect(u[1]).toBeGreaterThan(0.99 * SEC);
  expect(u[2]).toBe(0);
  x.quiesced(() => x.xen.domctl.destroyDomain(domids[0]));
  expect(x.usage(domids.slice(2), SEC)[0]).toBeGreaterThan(0.99 * SEC);
});

describe('credit2 with several runqueues', () => {
  const sim = () => new SchedSim({ pcpus: 4, runqueueCpus: 1 });

  test('vCPUs are spread over them, and moved when they become uneven', () => {
    const x = sim();
    const domids = Array.from({ length: 8 }, () => x.domain([busy()]));
    for (const used of x.usage(domids, 10 * SEC)) expect(used / (5 * SEC)).toBeCloseTo(1, 1);
    // Four of them end; the other four get a pCPU each, wherever they were.
    x.quiesced(() => {
      for (const d of domids.slice(0, 4)) x.xen.domctl.destroyDomain(d);
    });
    x.advance(SEC);
    for (const used of x.usage(domids.slice(4), SEC)) expect(used).toBeGreaterThan(0.98 * SEC);
  });

  test('none is idle while vCPUs wait elsewhere', () => {
    const x = sim();
    const domids = Array.from({ length: 5 }, () => x.domain([busy()]));
    const all = x.usage(domids, 4 * SEC).reduce((a, b) => a + b);
    expect(all).toBeGreaterThan(0.99 * 16 * SEC);
  });
});
