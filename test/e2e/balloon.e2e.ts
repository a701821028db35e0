/** Linux's balloon driver: XenStore's memory/target moves memory from a domain to the machine and back, within its limit. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { HostGuest } from './host-guest.ts';

const MIB = 256;
let guest: HostGuest;

beforeAll(async () => {
  guest = await HostGuest.boot({ host: { memoryMiB: 512 }, domain: { memoryMiB: MIB } });
});
afterAll(() => guest?.host.stop());

const reservation = () => guest.host.xen.memoryOp.currentReservation(guest.domain.domid) / 256;
const free = () => guest.host.xen.sysctl.physInfo().freePages / 256;
const setTarget = (mib: number) =>
  guest.host.store.write(`/local/domain/${guest.domain.domid}/memory/target`, String(mib * 1024));

/** Waits until the domain has `mib` MiB, give or take what the driver does not count. */
async function reaches(mib: number): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (Math.abs(reservation() - mib) > 4) {
    if (Date.now() > deadline) throw new Error(`${reservation()} MiB, not ${mib}`);
    await new Promise((r) => setTimeout(r, 100));
  }
}
const freeInGuest = async () => Number(/\d+/.exec(await guest.shell('grep MemFree /proc/meminfo'))?.[0]) / 1024;

it('down and up', async () => {
  const [machine, inGuest] = [free(), await freeInGuest()];
  setTarget(160);
  await reaches(160);
  expect(free() - machine).toBeGreaterThan(MIB - 160 - 6);
  expect(inGuest - (await freeInGuest())).toBeGreaterThan(MIB - 160 - 16);
  // What it has left still works.
  expect(await guest.shell('dd if=/dev/zero bs=1M count=32 2>/dev/null | md5sum')).toContain(
    '58f06dd588d8ffb3beb46ada6309436b',
  );
  setTarget(232);
  await reaches(232);
  expect(machine - free()).toBeLessThan(MIB - 232 + 6);
  expect(await freeInGuest()).toBeGreaterThan(inGuest - 24 - 16);
});

it('not beyond the limit of the domain', async () => {
  guest.host.xen.domctl.setMaxMem(guest.domain.domid, 236 * 1024);
  setTarget(300);
  await new Promise((r) => setTimeout(r, 3000));
  expect(reservation()).toBeLessThanOrEqual(236);
  expect(await guest.shell('echo alive')).toContain('alive');
  setTarget(200);
  await reaches(200);
});
