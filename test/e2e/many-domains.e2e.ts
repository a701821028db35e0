/**
 * Many domains at once, and domains that come, go and move while others work. Counts grow by environment variables:
 * XENOLITH_DEBIAN_DOMAINS (4), XENOLITH_STRESS_SECONDS (10), XENOLITH_SCHED_FULL=1 for shares over 10 s of 2, 4 and 8 domains and
 * for bounds that a loaded host may break.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import { XEN_SCHEDULER } from '../../src/abi/domctl.ts';
import { EVTCHNSTAT } from '../../src/abi/event_channel.ts';
import { Host } from '../../src/dom0/host.ts';
import { cpuTime, createLoad, type LoadGuest, overhead, sleep } from '../guests/load-guest.ts';
import { HostGuest, shellConfig } from './host-guest.ts';

const count = (name: string, byDefault: number) => Number(process.env[name] ?? byDefault);
const DEBIANS = count('XENOLITH_DEBIAN_DOMAINS', 4);
const FULL = process.env.XENOLITH_SCHED_FULL === '1';
const { CREDIT, CREDIT2, RTDS, NULL } = XEN_SCHEDULER;

/** Runs `body` on a host; a machine that breaks meanwhile fails it. */
async function onHost<T>(options: { memoryMiB?: number; pcpus: number }, body: (host: Host) => Promise<T>): Promise<T> {
  const host = await Host.create(options);
  try {
    return await Promise.race([new Promise<never>((_, reject) => host.onFailure(reject)), body(host)]);
  } finally {
    await host.stop();
  }
}
const freePages = (host: Host) => host.xen.sysctl.physInfo().freePages;
const cpuMs = async (ms: number) => {
  const from = process.cpuUsage();
  await sleep(ms);
  const { user, system } = process.cpuUsage(from);
  return (user + system) / 1e3;
};

it('100 small guests at once: half work, half sleep; then all sleep, and cost nothing', () =>
  onHost({ pcpus: 2 }, async (host) => {
    const round = async () => {
      const free = freePages(host);
      const before = overhead(host);
      const guests = Array.from({ length: 100 }, (_, i) => createLoad(host, `g${i}`, i % 2 ? 'work 1' : 'idle'));
      for (const g of guests) g.domain.unpause();
      await Promise.all(guests.filter((_, i) => i % 2).map((g) => g.domain.ended));
      const sums = new Set(guests.filter((_, i) => i % 2).map((g) => g.output()));
      const each = (overhead(host) - before) / guests.length - 16 * 2 ** 20;
      const idle = await cpuMs(1000);
      for (const g of guests) g.domain.destroy();
      return { sums, each, idle, leaked: free - freePages(host) };
    };
    await round();
    const { sums, each, idle, leaked } = await round();
    console.log(
      `100 guests: ${Math.round(each / 1024)} KiB each beside their memory; ${idle} ms of CPU in 1 s of idling`,
    );
    expect([...sums]).toEqual([expect.stringMatching(/^Test: load\nsum [0-9a-f]+\n$/)]);
    expect(each).toBeLessThan(2 ** 20);
    expect(idle).toBeLessThan(100);
    expect(leaked).toBe(0);
  }));

/** Open files, but for the cache's, which are closed when their readers are collected (toolstack/cache-file.ts). */
function openFiles(): number {
  const opened = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // The folder's own, which is closed by now.
    }
  });
  return opened.filter((path) => path !== '' && !path.includes('/xenolith/content/')).length;
}

/** What domains take and must give back. */
function resources(host: Host) {
  let ports = 0;
  for (let port = 1; port < 4096; port++) {
    try {
      if (host.xen.evtchn.status(port).status !== EVTCHNSTAT.closed) ports++;
    } catch {
      break; // The table ends here.
    }
  }
  return {
    freePages: freePages(host),
    domains: host.xen.sysctl.domainInfoList().length,
    'nodes in XenStore': [...host.store.dump()].length,
    'event channels of the control domain': ports,
    'open files': openFiles(),
    threads: readdirSync('/proc/self/task').length,
  };
}

it('Debian domains of 128 MiB, booted together, worked and destroyed', {
  timeout: 240_000 + 60_000 * DEBIANS,
}, async () => {
  const n = DEBIANS;
  const config = await shellConfig({ domain: { memoryMiB: 128 } });
  await onHost({ pcpus: 2 }, async (host) => {
    const create = () => Array.from({ length: n }, (_, i) => host.toolstack.create({ ...config, name: `debian${i}` }));
    // So many domains once leave what the control domain keeps for good: its event channels' table has grown.
    for (const d of create()) d.destroy();
    await sleep(1000); // Terminals are closed in their own time.
    const before = resources(host);
    const start = performance.now();
    const cpuStart = process.cpuUsage();
    const guests = create().map((domain) => new HostGuest(host, domain));
    for (const g of guests) g.domain.unpause();
    await Promise.all(guests.map((g) => g.expect(/guest:\S*# $/, 60 + 30 * n)));
    const booted = performance.now() - start;
    const { user, system } = process.cpuUsage(cpuStart);
    const work = 'dd if=/dev/zero bs=1M count=4 2>/dev/null | sha256sum; expr 6 \\* 7';
    const said = await Promise.all(guests.map((g) => g.shell(work, 60 + 10 * n)));
    const worked = performance.now() - start - booted;
    const idle = await cpuMs(2000);
    const during = resources(host);
    const destroying = performance.now();
    for (const g of guests) g.domain.destroy();
    const destroyed = performance.now() - destroying;
    console.log(
      `${n} Debian domains: ${(booted / 1000).toFixed(1)} s to their shells (${((user + system) / 1e6).toFixed(1)} s of CPU), ` +
        `${(worked / 1000).toFixed(1)} s for their work, ${idle} ms of CPU in 2 s at the prompt, ` +
        `${(destroyed / n).toFixed(1)} ms to destroy one; process of ${Math.round(process.memoryUsage().rss / 2 ** 20)} MiB`,
      during,
    );
    for (const s of said)
      expect(s).toMatch(/^bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8[\s\S]*\n42$/);
    expect(during.domains).toBe(before.domains + n);
    await vi.waitFor(() => expect(resources(host)).toEqual(before), 5000);
  });
});

describe('credit2 in real time', () => {
  const sizes = FULL ? [2, 4, 8] : [4];
  const seconds = FULL ? 10 : 3;

  it.each(sizes)(`%i busy domains share a pCPU by their weights, over ${seconds} s`, (n) =>
    onHost({ memoryMiB: 1024, pcpus: 1 }, async (host) => {
      const weights = Array.from({ length: n }, (_, i) => 128 * (1 + (i % 4)));
      const domids = weights.map((weight, i) => {
        const { domain } = createLoad(host, `busy${i}`, 'busy');
        host.xen.scheduler.domainPut(domain.domid, CREDIT2, { weight });
        domain.unpause();
        return domain.domid;
      });
      await sleep(500);
      const before = domids.map((d) => cpuTime(host, d));
      await sleep(seconds * 1000);
      const used = domids.map((d, i) => cpuTime(host, d) - before[i]);
      const all = used.reduce((a, b) => a + b);
      const total = weights.reduce((a, b) => a + b);
      const off = used.map((u, i) => u / all / (weights[i] / total) - 1);
      console.log(`shares of ${n}: off by ${off.map((x) => `${(x * 100).toFixed(2)} %`).join(', ')}`);
      for (const x of off) expect(Math.abs(x)).toBeLessThan(FULL ? 0.02 : 0.06);
    }),
  );

  it('a cap of 25 % gives 25 ± 1 %', () =>
    onHost({ memoryMiB: 1024, pcpus: 1 }, async (host) => {
      const { domain } = createLoad(host, 'capped', 'busy');
      host.xen.scheduler.domainPut(domain.domid, CREDIT2, { cap: 25 });
      domain.unpause();
      await sleep(500);
      const [used, at] = [cpuTime(host, domain.domid), performance.now()];
      await sleep(seconds * 1000);
      const share = (cpuTime(host, domain.domid) - used) / ((performance.now() - at) * 1e6);
      console.log(`a cap of 25 % gave ${(share * 100).toFixed(2)} %`);
      // On a host that does not give the pCPU its time, what a period would have allowed is lost.
      expect(share).toBeLessThan(0.26);
      expect(share).toBeGreaterThan(FULL ? 0.24 : 0.1);
    }));

  it('an I/O-bound domain wakes in time beside busy ones', () =>
    onHost({ memoryMiB: 1024, pcpus: 1 }, async (host) => {
      const late = async (name: string) => {
        const g = createLoad(host, name, `io ${FULL ? 1500 : 200}`);
        g.domain.unpause();
        await g.domain.ended;
        console.log(`${name}: ${g.output().trim().split('\n').at(-1)}`);
        const [, median, p99] = /late: (\d+) median, (\d+) p99 us/.exec(g.output())!.map(Number);
        return { median, p99 };
      };
      // The host may be late as well: what counts is how much later it is for the others' sake.
      const alone = await late('alone');
      for (let i = 0; i < 3; i++) createLoad(host, `busy${i}`, 'busy').domain.unpause();
      const beside = await late('beside three busy ones');
      expect(beside.median - alone.median).toBeLessThan(FULL ? 5000 : 20_000);
      if (FULL) expect(beside.p99).toBeLessThan(5000);
    }));
});

it('domains that are paused, pinned, moved, capped and destroyed while they work leave nothing behind', () =>
  onHost({ memoryMiB: 1024, pcpus: 2 }, async (host) => {
    const { xen } = host;
    const cycle = async (seconds: number) => {
      const guests: LoadGuest[] = [];
      let made = 0;
      const make = () => {
        const g = createLoad(host, `g${made}`, ['busy', 'toggle', 'work 3', 'toggle'][made++ % 4], 8);
        g.domain.unpause();
        return g;
      };
      for (let i = 0; i < 8; i++) guests.push(make());
      // A generator of its own: the same operations each time.
      let seed = 42;
      const pick = (n: number) => {
        seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
        return (seed >>> 8) % n;
      };
      let ops = 0;
      const once = (): void => {
        const i = pick(guests.length);
        const { domid } = guests[i].domain;
        ops++;
        switch (pick(10)) {
          case 0:
            guests[i].domain.destroy();
            guests[i] = make();
            return;
          case 1:
          case 2:
            xen.domctl.pauseDomain(domid);
            xen.domctl.getVcpuContext(domid, 0);
            xen.domctl.unpauseDomain(domid);
            return;
          case 3:
          case 4: {
            const pool = xen.cpupool.info(xen.domctl.getDomainInfo(domid)!.cpupool)!;
            const map = BigInt(1 + pick(3));
            if (map & pool.cpus) xen.domctl.setVcpuAffinity(domid, 0, map, BigInt(1 + pick(3)));
            return;
          }
          case 5:
            if (xen.domctl.getDomainInfo(domid)!.cpupool === 0)
              xen.scheduler.domainPut(domid, CREDIT2, { weight: 64 << pick(4), cap: pick(3) * 40 });
            return;
          case 6:
          case 7:
            xen.cpupool.moveDomain(xen.cpupool.info(1) ? pick(2) : 0, domid);
            return;
          case 8: {
            // The second pCPU changes pools: what is in pool 1 goes home first.
            if (!xen.cpupool.info(1)) {
              xen.cpupool.removeCpu(0, 1);
              xen.cpupool.create([CREDIT, CREDIT2, RTDS, NULL][pick(4)], 1);
              xen.cpupool.addCpu(1, 1);
              return;
            }
            for (const d of xen.sysctl.domainInfoList()) if (d.cpupool === 1) xen.cpupool.moveDomain(0, d.domid);
            xen.cpupool.removeCpu(1, 1);
            xen.cpupool.destroy(1);
            xen.cpupool.addCpu(0, 1);
            return;
          }
          default:
            if (xen.cpupool.info(1)) return;
            xen.sysctl.cpuHotplug(1, false);
            xen.sysctl.cpuHotplug(1, true);
        }
      };
      const end = performance.now() + seconds * 1000;
      while (performance.now() < end) {
        for (let i = 0; i < 20; i++) once();
        await sleep(pick(4));
      }
      if (xen.cpupool.info(1)) {
        for (const d of xen.sysctl.domainInfoList()) if (d.cpupool === 1) xen.cpupool.moveDomain(0, d.domid);
        xen.cpupool.removeCpu(1, 1);
        xen.cpupool.destroy(1);
        xen.cpupool.addCpu(0, 1);
      }
      // Everyone still gets its turn. Who ran while the host had put its pCPU aside pays for that time first.
      for (const g of guests) xen.scheduler.domainPut(g.domain.domid, CREDIT2, { weight: 256, cap: 0 });
      const before = guests.map((g) => cpuTime(host, g.domain.domid));
      const stuck = () =>
        guests.filter(
          (g, i) =>
            g.domain.config.cmdline === 'busy' &&
            !xen.domctl.getDomainInfo(g.domain.domid)!.shutdown &&
            cpuTime(host, g.domain.domid) === before[i],
        );
      for (let i = 0; i < 50 && stuck().length > 0; i++) await sleep(100);
      const names = stuck().map((g) => {
        const v = xen.domctl.getVcpuInfo(g.domain.domid, 0);
        return `${g.domain.name}: ${v.blocked ? 'blocked' : v.running ? 'running' : 'runnable'} on ${v.cpu}`;
      });
      for (const g of guests) g.domain.destroy();
      return { ops, made, stuck: names };
    };
    await cycle(0.5);
    const free = freePages(host);
    const { ops, made, stuck } = await cycle(count('XENOLITH_STRESS_SECONDS', 10));
    console.log(`${ops} operations on ${made} domains`);
    expect(stuck).toEqual([]);
    expect(freePages(host)).toBe(free);
    expect(xen.sysctl.domainInfoList()).toHaveLength(1);
  }));
