/** The control domain's typed grant calls (src/dom0/kernel), over the real hypervisor. */
import { beforeEach, describe, expect, test } from 'vitest';
import { GNTST, GTF } from '../../src/abi/grant_table.ts';
import { DOMID } from '../../src/abi/xen.ts';
import { GrantLimit, GrantMap } from '../../src/dom0/kernel/grant-map.ts';
import { GrantError } from '../../src/dom0/kernel/hypercalls/grant-table.ts';
import { Hypercalls } from '../../src/dom0/kernel/hypercalls.ts';
import type { HypervisorPort } from '../../src/dom0/kernel/memory.ts';
import { PersistentGrants } from '../../src/dom0/kernel/persistent-grants.ts';
import { MmMachine, makeGuest, PAGE, type TestGuest } from './mm-machine.ts';

let m: MmMachine;
let g: TestGuest;
let xen: Hypercalls;
let table: number;
/** Frames the control domain said it has written. */
let written: number[];

const grant = (ref: number, page: number, flags: number = GTF.permit_access) => {
  m.view.setUint16(table * PAGE + ref * 8 + 2, 0, true);
  m.view.setUint32(table * PAGE + ref * 8 + 4, g.mfns[page], true);
  m.view.setUint16(table * PAGE + ref * 8, flags, true);
};
const inUse = (ref: number) => (m.view.getUint16(table * PAGE + ref * 8, true) & (GTF.reading | GTF.writing)) !== 0;

beforeEach(() => {
  m = new MmMachine();
  g = makeGuest(m);
  table = m.grantFrame(g.domid);
  written = [];
  const frame_written = (mfn: number) => {
    written.push(mfn);
    m.dom0.frame_written(mfn);
  };
  xen = new Hypercalls({
    memory: m.memory,
    hypercall: (op: number, a1 = 0n, a2 = 0n, a3 = 0n, a4 = 0n, a5 = 0n) => m.dom0.hypercall(op, a1, a2, a3, a4, a5),
    hypervisor: { ...m.dom0, frame_written },
  } as unknown as HypervisorPort);
});

describe('calls', () => {
  test('map and unmap, each with its own status', () => {
    grant(8, 30);
    grant(9, 31, GTF.permit_access | GTF.readonly);
    const maps = xen.grant.map([
      { domid: g.domid, ref: 8 },
      { domid: g.domid, ref: 9 },
      { domid: g.domid, ref: 9, readonly: true },
      { domid: 77, ref: 8 },
    ]);
    expect(maps.map((r) => r.status)).toEqual([GNTST.okay, GNTST.general_error, GNTST.okay, GNTST.bad_domain]);
    expect(maps[0].address).toBe(g.mfns[30] * PAGE);
    const unmaps = xen.grant.unmap([maps[0].handle, maps[0].handle, maps[2].handle]);
    expect(unmaps).toEqual([GNTST.okay, GNTST.bad_handle, GNTST.okay]);
    expect([inUse(8), inUse(9)]).toEqual([false, false]);
  });

  test('copies to and from pages of its own, in batches of any length', () => {
    const own = xen.memoryOp.increaseReservation(DOMID.SELF, 2);
    expect(own.length).toBe(2);
    m.bytes.fill(0x5a, g.mfns[30] * PAGE, g.mfns[31] * PAGE);
    grant(8, 30);
    const one = (i: number) => ({
      source: { domid: g.domid, ref: 8, offset: i },
      dest: { mfn: own[1], offset: i },
      length: 1,
    });
    expect(new Set(xen.grant.copy(Array.from({ length: 1000 }, (_, i) => one(i))))).toEqual(new Set([GNTST.okay]));
    expect([...m.bytes.subarray(own[1] * PAGE + 998, own[1] * PAGE + 1002)]).toEqual([0x5a, 0x5a, 0, 0]);
    const bad = { ...one(0), source: { domid: g.domid, ref: 9, offset: 0 } };
    expect(xen.grant.copy([bad, one(0)])).toEqual([GNTST.general_error, GNTST.okay]);
    expect(xen.memoryOp.decreaseReservation(DOMID.SELF, own)).toBe(2);
  });

  test('the version and size of a table', () => {
    expect(xen.grant.getVersion(g.domid)).toBe(1);
    expect(xen.grant.querySize(g.domid)).toEqual({ frames: 1, maxFrames: 4 });
    expect(() => xen.grant.querySize(77)).toThrow(GrantError);
  });
});

describe('a set of mappings', () => {
  const mapOf = (limit: number) => new GrantMap(xen, { domid: g.domid, limit });

  test('maps all or none', () => {
    const map = mapOf(8);
    grant(8, 30);
    grant(9, 31);
    const pages = map.map([8, 9], false);
    expect(pages.map((p) => p.address)).toEqual([g.mfns[30] * PAGE, g.mfns[31] * PAGE]);
    expect(map.count).toBe(2);
    map.unmap(pages);
    map.unmap(pages);
    expect([map.count, inUse(8), inUse(9)]).toEqual([0, false, false]);
    expect(() => map.map([8, 9, 10], false)).toThrow(/^mapping grant 10 of domain \d+: general_error$/);
    expect([map.count, inUse(8), inUse(9)]).toEqual([0, false, false]);
  });

  test('maps what is granted for reading only to be read', () => {
    const map = mapOf(2);
    grant(8, 30, GTF.permit_access | GTF.readonly);
    expect(() => map.map([8], false)).toThrow(GrantError);
    expect(map.map([8], true)[0].bytes[0]).toBe(m.bytes[g.mfns[30] * PAGE]);
    map.close();
    expect(inUse(8)).toBe(false);
  });

  test('has a limit', () => {
    const map = mapOf(2);
    for (let i = 0; i < 4; i++) grant(8 + i, 30 + i);
    const two = map.map([8, 9], false);
    expect(() => map.map([10], false)).toThrow(GrantLimit);
    map.unmap(two.slice(1));
    map.map([10], false);
    map.close();
    expect([map.count, inUse(8), inUse(10)]).toEqual([0, false, false]);
  });

  test('maps more than one hypercall takes', () => {
    const map = mapOf(200);
    grant(8, 30);
    const pages = map.map(Array<number>(100).fill(8), false);
    expect(new Set(pages.map((p) => p.handle)).size).toBe(100);
    map.close();
    expect([map.count, inUse(8)]).toEqual([0, false]);
  });

  test('says which pages it has written', () => {
    const map = mapOf(1);
    grant(8, 30);
    map.written(map.map([8], false)[0]);
    expect(written).toEqual([g.mfns[30]]);
  });

  test('outlives its domain', () => {
    const map = mapOf(2);
    grant(8, 30);
    const [page] = map.map([8], false);
    page.bytes[0] = 7;
    m.destroyDomain(g.domid);
    const free = m.freeFrames();
    expect(page.bytes[0]).toBe(7);
    map.close();
    expect(m.freeFrames()).toBeGreaterThan(free);
  });
});

describe('persistent grants', () => {
  test('stay mapped, and the least recently used go', () => {
    const map = new GrantMap(xen, { domid: g.domid, limit: 8 });
    const kept = new PersistentGrants(map, 2);
    for (let i = 0; i < 4; i++) grant(8 + i, 30 + i);
    const [a] = kept.get([8]);
    expect(kept.get([8, 8])).toEqual([a, a]);
    kept.get([9]);
    kept.get([8]);
    kept.get([10, 11]);
    expect(map.count).toBe(4);
    kept.trim();
    expect([8, 9, 10, 11].map(inUse)).toEqual([false, false, true, true]);
    expect(() => kept.get([10, 12])).toThrow(GrantError);
    expect(kept.get([10])[0].address).toBe(g.mfns[32] * PAGE);
    map.close();
  });
});
