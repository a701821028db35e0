/** Page-table rules as dom0's builder meets them: pinning and updating another domain's tables (XEN-ABI, direct paging). */
import { beforeEach, describe, expect, test } from 'vitest';
import { ERRNO } from '../../src/abi/errno.ts';
import { MMU, MMUEXT } from '../../src/abi/xen.ts';
import {
  A,
  D,
  G,
  GUEST_KERNEL,
  MmMachine,
  makeGuest,
  NX,
  P,
  PAGE,
  PSE,
  pte,
  RW,
  type TestGuest,
  US,
} from './mm-machine.ts';

let m: MmMachine;
let g: TestGuest;
const at = (mfn: number, i: number) => mfn * PAGE + i * 8;
const pin = (level: 1 | 2 | 3 | 4, mfn: number) => m.mmuext(MMUEXT.PIN_L1_TABLE + level - 1, mfn, 0, g.domid);
const unpin = (mfn: number) => m.mmuext(MMUEXT.UNPIN_TABLE, mfn, 0, g.domid);
const set = (mfn: number, i: number, v: bigint) => m.mmuUpdate(g.domid, [at(mfn, i), v]).rc;
/** A frame of the hypervisor's: the frame table's first. */
const XEN_FRAME = 0x102;

beforeEach(() => {
  m = new MmMachine();
  g = makeGuest(m);
});

describe('validation', () => {
  test('a proper tree is pinned; entries are adjusted as Xen adjusts them', () => {
    m.setEntry(g.l1, 5, pte(g.mfns[5], P | RW | US));
    expect(pin(4, g.l4)).toBe(0);
    expect(m.entry(g.l1, 5)).toBe(pte(g.mfns[5], P | RW | US | G));
    expect(m.entry(g.l1, 6)).toBe(pte(g.mfns[6], P | RW | US | GUEST_KERNEL));
    expect(m.entry(g.l2, 0)).toBe(pte(g.l1, P | RW | US));
    expect(m.entry(g.l4, 0)).toBe(pte(g.l3, P | RW | US | A));
    for (let i = 257; i < 272; i++) expect(m.entry(g.l4, i)).toBe(0n);
  });

  test('pinning twice, as another type, or what is not pinned', () => {
    expect(pin(4, g.l4)).toBe(0);
    expect(pin(4, g.l4)).toBe(-ERRNO.EINVAL);
    expect(pin(3, g.l4)).toBe(-ERRNO.EINVAL);
    expect(unpin(g.l3)).toBe(-ERRNO.EINVAL);
    expect(unpin(g.l4)).toBe(0);
    expect(unpin(g.l4)).toBe(-ERRNO.EINVAL);
  });

  test.each<[string, () => bigint, 'EBUSY' | 'EPERM' | 'EINVAL']>([
    ['a frame of the hypervisor', () => pte(XEN_FRAME, P), 'EBUSY'],
    ['a free frame', () => pte(8000, P), 'EBUSY'],
    ['a frame beyond memory', () => pte(0x12345678, P), 'EPERM'],
    ['all address bits', () => 0xf_ffff_ffff_f001n, 'EINVAL'],
    ['a writable mapping of itself', () => pte(g.l1, P | RW), 'EBUSY'],
    ['write-through', () => pte(g.mfns[9], P | 8n), 'EINVAL'],
    ['PAT', () => pte(g.mfns[9], P | PSE), 'EINVAL'],
  ])('L1 with %s fails and leaves nothing behind', (_, entry, errno) => {
    m.setEntry(g.l1, 20, entry());
    expect(pin(1, g.l1)).toBe(-ERRNO[errno]);
    expect(pin(4, g.l4)).toBeLessThan(0);
    // No reference is left: with the entry gone all is well.
    m.setEntry(g.l1, 20, 0n);
    expect(pin(4, g.l4)).toBe(0);
    expect(unpin(g.l4)).toBe(0);
    // Every page is an ordinary one again.
    for (const mfn of g.mfns) expect(m.mmuext(MMUEXT.CLEAR_PAGE, mfn, 0, g.domid)).toBe(0);
  });

  test('a tree that maps one of its own upper tables writable fails', () => {
    for (const table of [g.l4, g.l3, g.l2]) {
      m.setEntry(g.l1, 20, pte(table, P | RW));
      expect(pin(4, g.l4)).toBeLessThan(0);
    }
    m.setEntry(g.l1, 20, 0n);
    expect(pin(4, g.l4)).toBe(0);
  });

  test('upper levels refuse superpages, global entries and tables of a wrong level', () => {
    m.setEntry(g.l2, 1, pte(g.mfns[8], P | PSE));
    expect(pin(2, g.l2)).toBe(-ERRNO.EINVAL);
    m.setEntry(g.l2, 1, pte(g.mfns[8], P | G));
    expect(pin(2, g.l2)).toBe(-ERRNO.EINVAL);
    m.setEntry(g.l2, 1, 0n);
    m.setEntry(g.l3, 1, pte(g.l1, P));
    // The L1 is typed L1 by slot 0's L2 first.
    expect(pin(3, g.l3)).toBe(-ERRNO.EINVAL);
    m.setEntry(g.l3, 1, 0n);
    expect(pin(3, g.l3)).toBe(0);
  });

  test('linear page tables: read-only only, of validated tables, one level deep', () => {
    m.setEntry(g.l4, 5, pte(g.l4, P | RW));
    expect(pin(4, g.l4)).toBe(-ERRNO.EINVAL);
    m.setEntry(g.l4, 5, pte(g.l4, P));
    expect(pin(4, g.l4)).toBe(0);
    const other = g.mfns[10];
    expect(set(g.l1, 10, pte(other, P))).toBe(0);
    expect(m.mmuext(MMUEXT.CLEAR_PAGE, other, 0, g.domid)).toBe(0);
    m.setEntry(other, 7, pte(g.l4, P));
    expect(pin(4, other)).toBe(0);
    // `other` maps g.l4 linearly, so it cannot be mapped so itself; nor can g.l4 map others now.
    expect(set(g.l4, 6, pte(other, P))).toBe(-ERRNO.EINVAL);
    expect(unpin(g.l4)).toBe(0);
    // It is kept alive by the linear use.
    expect(m.mmuext(MMUEXT.CLEAR_PAGE, g.l1, 0, g.domid)).toBe(-ERRNO.EINVAL);
    expect(unpin(other)).toBe(0);
    expect(m.mmuext(MMUEXT.CLEAR_PAGE, g.l1, 0, g.domid)).toBe(0);
  });
});

describe('mmu_update', () => {
  beforeEach(() => expect(pin(4, g.l4)).toBe(0));

  test('maps and unmaps, with the errnos of Xen for what it refuses', () => {
    expect(set(g.l1, 100, pte(g.mfns[30], P | RW | US))).toBe(0);
    expect(m.entry(g.l1, 100)).toBe(pte(g.mfns[30], P | RW | US | G));
    expect(set(g.l1, 100, pte(g.l1, P | RW))).toBe(-ERRNO.EBUSY);
    expect(set(g.l1, 100, pte(XEN_FRAME, P))).toBe(-ERRNO.EBUSY);
    expect(set(g.l1, 100, pte(0x12345678, P))).toBe(-ERRNO.EPERM);
    expect(set(g.l1, 100, pte(g.mfns[30], P | 0x10n))).toBe(-ERRNO.EINVAL);
    expect(m.entry(g.l1, 100)).toBe(pte(g.mfns[30], P | RW | US | G));
    expect(set(g.l1, 100, 0n)).toBe(0);
    expect(m.entry(g.l1, 100)).toBe(0n);
    expect(set(g.l1, 100, pte(g.l1, P | NX))).toBe(0);
  });

  test("Xen's slots of an L4 cannot be changed", () => {
    for (const slot of [256, 260, 271]) expect(set(g.l4, slot, 0n)).toBe(-ERRNO.EINVAL);
    expect(set(g.l4, 255, pte(g.l1, P))).toBe(-ERRNO.EINVAL);
    expect(set(g.l4, 272, 0n)).toBe(0);
  });

  test('a page mapped writable does not become a table, nor a table a page mapped writable', () => {
    // mfns[20] is mapped read-write at slot 20.
    expect(set(g.l2, 1, pte(g.mfns[20], P))).toBe(-ERRNO.EINVAL);
    expect(set(g.l1, 20, pte(g.mfns[20], P))).toBe(0);
    m.tlbCalls.length = 0;
    expect(set(g.l2, 1, pte(g.mfns[20], P))).toBe(0);
    expect(set(g.l1, 20, pte(g.mfns[20], P | RW))).toBe(-ERRNO.EBUSY);
    expect(set(g.l2, 1, 0n)).toBe(0);
    expect(set(g.l1, 20, pte(g.mfns[20], P | RW))).toBe(0);
  });

  test('preserve A/D', () => {
    m.setEntry(g.l1, 30, m.entry(g.l1, 30) | A | D);
    const rc = m.mmuUpdate(g.domid, [BigInt(at(g.l1, 30) | MMU.PT_UPDATE_PRESERVE_AD), pte(g.mfns[30], P | US)]).rc;
    expect(rc).toBe(0);
    expect(m.entry(g.l1, 30)).toBe(pte(g.mfns[30], P | US | G | A | D));
    expect(set(g.l1, 30, pte(g.mfns[30], P | US))).toBe(0);
    expect(m.entry(g.l1, 30)).toBe(pte(g.mfns[30], P | US | G));
  });

  test('a batch stops at the first error and says how far it came', () => {
    const r = m.mmuUpdate(
      g.domid,
      [at(g.l1, 101), pte(g.l1, P)],
      [at(g.l1, 102), pte(g.l1, P | RW)],
      [at(g.l1, 103), 0n],
    );
    expect(r).toEqual({ rc: -ERRNO.EBUSY, done: 1 });
    expect(m.entry(g.l1, 101)).not.toBe(0n);
  });

  test('an ordinary page is written as such; unaligned and unknown commands are refused', () => {
    expect(set(g.mfns[40], 3, 0x1234n)).toBe(0);
    expect(m.entry(g.mfns[40], 3)).toBe(0x1234n);
    expect(m.mmuUpdate(g.domid, [at(g.l1, 3) + 4, 0n]).rc).toBe(-ERRNO.ENOSYS);
    expect(m.mmuUpdate(g.domid, [at(XEN_FRAME, 0), 0n]).rc).toBe(-ERRNO.EINVAL);
    expect(m.mmuUpdate(g.domid, [1n << 45n, 0n]).rc).toBe(-ERRNO.EINVAL);
    expect(m.mmuUpdate(99, [at(g.l1, 3), 0n]).rc).toBe(-ERRNO.ESRCH);
  });

  test('another domain cannot be mapped into this one', () => {
    const other = makeGuest(m);
    expect(set(g.l1, 100, pte(other.mfns[20], P))).toBe(-ERRNO.EBUSY);
    expect(set(g.l2, 1, pte(other.mfns[20], P))).toBe(-ERRNO.EINVAL);
  });

  test('pinned and mapped pages that are given up are not free before that ends', () => {
    const before = m.freeFrames();
    const list = m.list([g.l4, g.mfns[20]]);
    expect(m.reservation(1, g.domid, list, 2, 0)).toBe(2);
    expect(m.freeFrames()).toBe(before);
    expect(set(g.l1, 20, 0n)).toBe(0);
    expect(m.freeFrames()).toBe(before + 1);
    expect(unpin(g.l4)).toBe(0);
    expect(m.freeFrames()).toBe(before + 2);
  });
});

describe('mmuext_op', () => {
  test('operations on an address space are for its owner', () => {
    const own = [
      MMUEXT.NEW_BASEPTR,
      MMUEXT.NEW_USER_BASEPTR,
      MMUEXT.TLB_FLUSH_ALL,
      MMUEXT.INVLPG_LOCAL,
      MMUEXT.SET_LDT,
      MMUEXT.FLUSH_CACHE,
    ];
    for (const cmd of own) expect(m.mmuext(cmd, g.l4, 0, g.domid)).toBe(-ERRNO.EPERM);
    expect(m.mmuext(MMUEXT.MARK_SUPER, 0, 0, g.domid)).toBe(-ERRNO.EOPNOTSUPP);
    expect(m.mmuext(14, 0, 0, g.domid)).toBe(-ERRNO.ENOSYS);
    expect(m.mmuext(99, 0, 0, g.domid)).toBe(-ERRNO.ENOSYS);
    expect(m.mmuext(MMUEXT.UNPIN_TABLE, 0, 0, 77)).toBe(-ERRNO.ESRCH);
  });

  test('clear and copy pages, but no tables', () => {
    m.setEntry(g.mfns[11], 0, 0x55n);
    expect(m.mmuext(MMUEXT.COPY_PAGE, g.mfns[12], g.mfns[11], g.domid)).toBe(0);
    expect(m.entry(g.mfns[12], 0)).toBe(0x55n);
    expect(m.mmuext(MMUEXT.CLEAR_PAGE, g.mfns[12], 0, g.domid)).toBe(0);
    expect(m.entry(g.mfns[12], 0)).toBe(0n);
    expect(pin(4, g.l4)).toBe(0);
    expect(m.mmuext(MMUEXT.CLEAR_PAGE, g.l1, 0, g.domid)).toBe(-ERRNO.EINVAL);
    expect(m.mmuext(MMUEXT.COPY_PAGE, g.l1, g.mfns[11], g.domid)).toBe(-ERRNO.EINVAL);
    expect(m.mmuext(MMUEXT.COPY_PAGE, XEN_FRAME, g.mfns[11], g.domid)).toBe(-ERRNO.EINVAL);
  });
});
