/**
 * Hostile neighbours: two domains of two vCPUs each make random hypercalls (test/guests/src/fuzz.c) on two pCPUs, while two others
 * do work whose result is known. A hostile domain that ends itself is followed by the next. In between everything stands
 * still and an independent walk over all tables accounts for every reference, mapping, grant and lock.
 *
 * HOSTILE_CALLS: hypercalls in all (10,000,000 by hand).
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Host } from '../../src/dom0/host.ts';
import type { ForeignMapping } from '../../src/dom0/kernel/memory.ts';
import { MachineAudit } from '../hypervisor/machine-audit.ts';

const CALLS = Number(process.env.HOSTILE_CALLS ?? 150_000);
const SEED = Number(process.env.HOSTILE_SEED ?? 1);
/** Calls of one domain's life at most, and time, if it waits for something that does not come. */
const LIFE_CALLS = 50_000;
const LIFE_MS = 20_000;
const AUDIT_MS = 700;
const MEMORY_MIB = 8;
/** A call takes under 100 µs, even on a machine that has other things to do. */
const TIMEOUT_MS = 60_000 + CALLS / 5;

let host: Host;
let audit: MachineAudit;
let failure: Error | undefined;
/** Frames that the control domain has mapped. */
const foreign: number[] = [];

/** Every foreignMap of the control domain's is noted. */
function noteForeignMaps(h: Host): void {
  const memory = h.xen.memory;
  const map = memory.foreignMap.bind(memory);
  memory.foreignMap = (domid, mfn): ForeignMapping => {
    const m = map(domid, mfn);
    foreign.push(mfn);
    const unmap = () => {
      const i = foreign.indexOf(mfn);
      if (i >= 0) foreign.splice(i, 1);
      m.unmap();
    };
    return { address: m.address, unmap };
  };
}

function start(name: string, image: string, vcpus: number, cmdline: string) {
  const domain = host.toolstack.create({
    name,
    memoryMiB: MEMORY_MIB,
    vcpus,
    kernel: new Uint8Array(readFileSync(new URL(`../guests/images/${image}.elf`, import.meta.url))),
    kernelName: image,
    cmdline,
    onReboot: 'preserve',
    onCrash: 'preserve',
  });
  const chunks: Uint8Array[] = [];
  domain.console.attach({ paces: false, write: (bytes) => chunks.push(bytes.slice()) > 0, onDrain: () => {} });
  domain.unpause();
  return { domain, text: () => Buffer.concat(chunks).toString('latin1').replaceAll('\r', '') };
}
type Guest = ReturnType<typeof start>;

beforeAll(async () => {
  host = await Host.create({ memoryMiB: 256, pcpus: 2 });
  host.onFailure((e) => {
    failure = e;
  });
  noteForeignMaps(host);
  audit = new MachineAudit(host.machine.memory);
});
afterAll(() => host?.stop());

it(`${CALLS} random hypercalls harm nobody else`, { timeout: TIMEOUT_MS, retry: 0 }, async () => {
  const free = () => host.xen.sysctl.physInfo().freePages;
  const freeBefore = free();
  const workers = ['worker1', 'worker2'].map((name) => start(name, 'work', 1, '100000000'));
  const alive = new Set<Guest>(workers);
  let calls = 0;
  let lives = 0;
  let audits = 0;

  /** With all domains paused, and the pCPUs idle. */
  async function check(): Promise<void> {
    const all = [...alive];
    for (const { domain } of all) host.xen.domctl.pauseDomain(domain.domid);
    expect(audit.check(foreign), `audit ${audits}, seed ${SEED}`).toEqual([]);
    // An idle pCPU may look at its timers just now.
    let held = audit.heldLocks();
    for (let i = 0; i < 50 && held.length; i++) {
      await new Promise((r) => setTimeout(r, 10));
      held = audit.heldLocks();
    }
    expect(held).toEqual([]);
    for (const { domain } of all) host.xen.domctl.unpauseDomain(domain.domid);
    audits++;
  }

  /** One hostile domain after the other. */
  async function hostile(lane: number): Promise<void> {
    while (calls < CALLS && !failure) {
      const g = start(`hostile${lane}`, 'fuzz', 2, `${SEED * 1_000_003 + lives++} ${LIFE_CALLS}`);
      alive.add(g);
      let timer: NodeJS.Timeout | undefined;
      const tooLong = new Promise((r) => {
        timer = setTimeout(r, LIFE_MS);
      });
      await Promise.race([g.domain.ended, tooLong]);
      clearTimeout(timer);
      while (auditing) await auditing;
      calls += audit.hypercalls(g.domain.domid);
      alive.delete(g);
      g.domain.destroy();
    }
  }

  let auditing: Promise<void> | undefined;
  let broken: unknown;
  const timer = setInterval(() => {
    auditing ??= check()
      .catch((e) => {
        broken = e;
      })
      .finally(() => {
        auditing = undefined;
      });
  }, AUDIT_MS);
  await Promise.all([hostile(0), hostile(1)]);
  clearInterval(timer);
  await auditing;
  if (broken) throw broken;
  expect(failure).toBeUndefined();
  await check();
  expect(audits).toBeGreaterThan(1);

  // The workers have got somewhere, with the same results.
  const rounds = workers.map((w) => w.text().match(/^round .*$/gm) ?? []);
  const both = Math.min(rounds[0].length, rounds[1].length);
  expect(both).toBeGreaterThan(0);
  expect(rounds[0].slice(0, both)).toEqual(rounds[1].slice(0, both));
  for (const w of workers) expect(w.text()).not.toContain('failed');
  for (const w of workers) w.domain.destroy();
  console.log(`${calls} hypercalls in ${lives} lives, ${audits} audits, ${both * 50} rounds of work`);
  expect(free()).toBe(freeBefore);
  expect(foreign).toEqual([]);
});
