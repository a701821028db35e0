/**
 * Grant tables of version 2 between domains: status frames, parts of pages, transitive grants. (What one domain can see
 * alone is compared with real Xen: test/guests, grants2.)
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { ERRNO } from '../../src/abi/errno.ts';
import { GNTST, GNTTABOP, GTF } from '../../src/abi/grant_table.ts';
import { XENMEM_resource_grant_table_id } from '../../src/abi/memory.ts';
import { DOMID, HYPERCALL } from '../../src/abi/xen.ts';
import { Hypercalls } from '../../src/dom0/kernel/hypercalls.ts';
import type { HypervisorPort } from '../../src/dom0/kernel/memory.ts';
import { ARG_PAGE, GuestCalls, start, va } from './guest-script.ts';
import { MmMachine, makeGuest, PAGE, type TestGuest } from './mm-machine.ts';

let m: MmMachine;
let xen: Hypercalls;
/** Grants pages of its own; passes them on to the control domain. */
let a: TestGuest;
let b: TestGuest;
let free: number;
let own: number;

const STATUS = XENMEM_resource_grant_table_id.status;
const marks = (g: TestGuest, ref: number) => m.view.getUint16(m.grantFrame(g.domid, STATUS) * PAGE + ref * 2, true);

interface Entry {
  readonly flags: number;
  readonly domid: number;
  readonly off?: number;
  readonly length?: number;
  readonly frame: number | bigint;
}
function put(g: TestGuest, ref: number, e: Entry): void {
  const at = m.grantFrame(g.domid) * PAGE + ref * 16;
  m.view.setUint16(at + 2, e.domid, true);
  m.view.setUint16(at + 4, e.off ?? 0, true);
  m.view.setUint16(at + 6, e.length ?? 0, true);
  m.view.setBigUint64(at + 8, BigInt(e.frame), true);
  m.view.setUint16(at, e.flags, true);
}
const passOn = (ref: number, to: number, from: TestGuest, theirs: number) =>
  put(b, ref, { flags: GTF.transitive, domid: to, off: from.domid, frame: theirs });

/** The version that a guest's own set_version gives. */
function setVersion(g: TestGuest, version: number): [number, number] {
  const c = new GuestCalls(m, g);
  let rc = 0;
  m.guest(function* () {
    m.view.setUint32(c.argHost, version, true);
    rc = yield* c.call(HYPERCALL.grant_table_op, GNTTABOP.set_version, va(ARG_PAGE), 1);
  });
  return [rc, m.view.getUint32(c.argHost, true)];
}
const copyFrom = (g: TestGuest, ref: number, offset = 0, length = 4) =>
  xen.grant.copy([{ source: { domid: g.domid, ref, offset }, dest: { mfn: own, offset: 0 }, length }])[0];
const copyTo = (g: TestGuest, ref: number, offset = 0, length = 4) =>
  xen.grant.copy([{ source: { mfn: own, offset: 0 }, dest: { domid: g.domid, ref, offset }, length }])[0];

beforeEach(() => {
  m = new MmMachine();
  xen = new Hypercalls({
    memory: m.memory,
    hypercall: (op: number, a1 = 0n, a2 = 0n, a3 = 0n, a4 = 0n, a5 = 0n) => m.dom0.hypercall(op, a1, a2, a3, a4, a5),
    hypervisor: m.dom0,
  } as unknown as HypervisorPort);
  own = xen.memoryOp.increaseReservation(DOMID.SELF, 1)[0];
  free = m.freeFrames();
  // One after the other, so that the one script is the running guest's.
  b = makeGuest(m);
  start(m, b);
  expect(setVersion(b, 2)).toEqual([0, 2]);
  expect(m.domctlPause(b.domid)).toBe(0);
  a = makeGuest(m);
  start(m, a);
});

describe('status frames', () => {
  test('are there in version 2 only, and for every shared frame', () => {
    const acquire = (domid: number, id: number, first: number, n: number) => () =>
      xen.memoryOp.acquireResource(domid, 1, id, first, n);
    expect(acquire(a.domid, STATUS, 0, 1)).toThrow(/EINVAL/);
    expect(acquire(b.domid, STATUS, 0, 1)().length).toBe(1);
    // The domain may have four shared frames: one status frame does.
    expect(acquire(b.domid, STATUS, 0, 2)).toThrow(/EINVAL/);
    expect(acquire(b.domid, 0, 0, 4)().length).toBe(4);
    m.destroyDomain(a.domid);
    m.destroyDomain(b.domid);
    expect(m.freeFrames()).toBe(free);
  });

  test('say what is in use; a mapped reference keeps the version', () => {
    expect(setVersion(a, 2)).toEqual([0, 2]);
    put(a, 8, { flags: GTF.permit_access, domid: 0, frame: a.mfns[30] });
    const [r] = xen.grant.map([{ domid: a.domid, ref: 8 }]);
    expect(r).toMatchObject({ status: GNTST.okay, address: a.mfns[30] * PAGE });
    expect(marks(a, 8)).toBe(GTF.reading | GTF.writing);
    expect(setVersion(a, 1)).toEqual([-ERRNO.EBUSY, 2]);
    expect(xen.grant.unmap([r.handle])).toEqual([GNTST.okay]);
    expect(marks(a, 8)).toBe(0);
    expect(setVersion(a, 1)).toEqual([0, 1]);
  });

  test('a reserved reference may be mapped all the while', () => {
    const at = m.grantFrame(a.domid) * PAGE;
    m.view.setUint32(at + 8 + 4, a.mfns[30], true);
    m.view.setUint32(at + 8, GTF.permit_access, true);
    const [r] = xen.grant.map([{ domid: a.domid, ref: 1 }]);
    expect(setVersion(a, 2)).toEqual([0, 2]);
    expect(marks(a, 1)).toBe(GTF.reading | GTF.writing);
    expect(setVersion(a, 1)).toEqual([0, 1]);
    expect(m.view.getUint16(at + 8, true)).toBe(GTF.permit_access | GTF.reading | GTF.writing);
    expect(setVersion(a, 2)).toEqual([0, 2]);
    expect(xen.grant.unmap([r.handle])).toEqual([GNTST.okay]);
    expect(marks(a, 1)).toBe(0);
  });
});

describe('transitive grants', () => {
  const allow = (flags = 0, extra: Partial<Entry> = {}) =>
    put(a, 8, { flags: GTF.permit_access | flags, domid: b.domid, frame: a.mfns[30], ...extra });
  beforeEach(() => {
    expect(setVersion(a, 2)).toEqual([0, 2]);
    m.bytes.set([1, 2, 3, 4, 5, 6, 7, 8], a.mfns[30] * PAGE);
    allow();
    passOn(9, 0, a, 8);
  });

  test('pass on what their domain may do', () => {
    expect(copyFrom(b, 9, 2, 4)).toBe(GNTST.okay);
    expect([...m.bytes.subarray(own * PAGE, own * PAGE + 4)]).toEqual([3, 4, 5, 6]);
    expect(copyTo(b, 9, 6, 2)).toBe(GNTST.okay);
    expect([...m.bytes.subarray(a.mfns[30] * PAGE + 5, a.mfns[30] * PAGE + 8)]).toEqual([6, 3, 4]);
    expect([marks(a, 8), marks(b, 9)]).toEqual([0, 0]);
  });

  test('and no more than that', () => {
    allow(GTF.readonly);
    expect([copyFrom(b, 9), copyTo(b, 9)]).toEqual([GNTST.okay, GNTST.general_error]);
    allow(GTF.sub_page, { off: 100, length: 50 });
    expect([copyFrom(b, 9), copyFrom(b, 9, 100, 50), copyFrom(b, 9, 100, 51)]).toEqual([
      GNTST.general_error,
      GNTST.okay,
      GNTST.general_error,
    ]);
    // Not ours to use directly; nor is b's for anybody else.
    expect(copyFrom(a, 8)).toBe(GNTST.general_error);
    passOn(9, 55, a, 8);
    expect(copyFrom(b, 9)).toBe(GNTST.general_error);
    passOn(9, 0, a, 4000);
    expect(copyFrom(b, 9)).toBe(GNTST.bad_gntref);
    put(b, 9, { flags: GTF.transitive | GTF.readonly, domid: 0, off: a.domid, frame: 8 });
    allow();
    expect([copyFrom(b, 9), copyTo(b, 9)]).toEqual([GNTST.okay, GNTST.general_error]);
    expect([marks(a, 8), marks(b, 9)]).toEqual([0, 0]);
  });

  test('not over two steps, and not to be mapped', () => {
    put(a, 10, { flags: GTF.transitive, domid: b.domid, off: a.domid, frame: 8 });
    passOn(11, 0, a, 10);
    expect(copyFrom(b, 11)).toBe(GNTST.general_error);
    expect(xen.grant.map([{ domid: b.domid, ref: 9 }])[0].status).toBe(GNTST.general_error);
    expect([marks(a, 8), marks(a, 10), marks(b, 9), marks(b, 11)]).toEqual([0, 0, 0, 0]);
  });

  test('an entry that becomes transitive while it is mapped is used no further', () => {
    put(b, 9, { flags: GTF.permit_access, domid: 0, frame: b.mfns[30] });
    const [r] = xen.grant.map([{ domid: b.domid, ref: 9, readonly: true }]);
    expect(r.status).toBe(GNTST.okay);
    passOn(9, 0, a, 8);
    expect(copyFrom(b, 9)).toBe(GNTST.general_error);
    expect([marks(a, 8), marks(b, 9)]).toEqual([0, GTF.reading]);
    expect(xen.grant.unmap([r.handle])).toEqual([GNTST.okay]);
    expect(copyFrom(b, 9)).toBe(GNTST.okay);
  });

  test('end with the domain that granted', () => {
    m.destroyDomain(a.domid);
    expect(copyFrom(b, 9)).toBe(GNTST.general_error);
    m.destroyDomain(b.domid);
    expect(m.freeFrames()).toBe(free);
  });
});

test('a transfer tells the frame in either version', () => {
  const c = new GuestCalls(m, a);
  put(b, 20, { flags: GTF.accept_transfer, domid: a.domid, frame: 77 });
  let status = 0;
  m.guest(function* () {
    yield* c.call(HYPERCALL.update_va_mapping, va(40), 0, 0);
    m.bytes.fill(0, c.argHost, c.argHost + 64);
    m.view.setBigUint64(c.argHost, BigInt(a.mfns[40]), true);
    m.view.setUint16(c.argHost + 8, b.domid, true);
    m.view.setUint32(c.argHost + 12, 20, true);
    yield* c.call(HYPERCALL.grant_table_op, GNTTABOP.transfer, va(ARG_PAGE), 1);
    status = m.view.getInt16(c.argHost + 16, true);
  });
  expect(status).toBe(GNTST.okay);
  expect(m.view.getBigUint64(m.grantFrame(b.domid) * PAGE + 20 * 16 + 8, true)).toBe(BigInt(a.mfns[40]));
  expect(m.dom0.foreign_page(b.domid, a.mfns[40])).toBe(a.mfns[40] * PAGE);
});
