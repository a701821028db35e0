/** A domain that ends gives back every frame, whatever state its page tables are in. */
import { beforeEach, expect, test } from 'vitest';
import { MMUEXT } from '../../src/abi/xen.ts';
import { MmMachine, makeGuest, P, pte, type TestGuest } from './mm-machine.ts';

let m: MmMachine;
let free: number;

beforeEach(() => {
  m = new MmMachine();
  // What boot and the first calls allocate lazily is not the domain's.
  m.destroyDomain(makeGuest(m).domid);
  free = m.freeFrames();
});

const cases: Record<string, (g: TestGuest) => void> = {
  'no tables': () => {},
  'a pinned tree': (g) => expect(m.mmuext(MMUEXT.PIN_L4_TABLE, g.l4, 0, g.domid)).toBe(0),
  'each level pinned': (g) => {
    for (const [cmd, mfn] of [
      [0, g.l1],
      [1, g.l2],
      [2, g.l3],
      [3, g.l4],
    ])
      expect(m.mmuext(cmd, mfn, 0, g.domid)).toBe(0);
  },
  'tables that map themselves and each other': (g) => {
    const other = g.mfns[10];
    m.setEntry(g.l1, 10, pte(other, P));
    m.setEntry(g.l4, 5, pte(g.l4, P));
    expect(m.mmuext(MMUEXT.PIN_L4_TABLE, g.l4, 0, g.domid)).toBe(0);
    m.setEntry(other, 0, pte(g.l4, P));
    m.setEntry(other, 1, pte(g.l4, P));
    m.setEntry(other, 2, pte(g.l3, P));
    expect(m.mmuext(MMUEXT.PIN_L4_TABLE, other, 0, g.domid)).toBe(0);
    expect(m.mmuext(MMUEXT.UNPIN_TABLE, g.l4, 0, g.domid)).toBe(0);
  },
  'pages given up while pinned': (g) => {
    expect(m.mmuext(MMUEXT.PIN_L4_TABLE, g.l4, 0, g.domid)).toBe(0);
    const list = m.list([g.l4, g.l3, g.l1]);
    expect(m.reservation(1, g.domid, list, 3, 0)).toBe(3);
  },
  'a vCPU with page tables installed': (g) => {
    expect(m.setVcpuContext(g.domid, g.l4, 0x8000n)).toBe(0);
  },
};

test.each(Object.keys(cases))('%s', (name) => {
  const g = makeGuest(m);
  cases[name](g);
  m.destroyDomain(g.domid);
  expect(m.freeFrames()).toBe(free);
});

test('a frame of a dead domain is zeroed before it is used again', () => {
  const g = makeGuest(m);
  for (const mfn of g.mfns) m.setEntry(mfn, 5, 0xdeadn);
  m.destroyDomain(g.domid);
  const next = makeGuest(m);
  expect(next.mfns.some((mfn) => g.mfns.includes(mfn))).toBe(true);
  for (const mfn of next.mfns.slice(4)) expect(m.entry(mfn, 5)).toBe(0n);
});

test('a domain that maps a page of another keeps it, and the other, until it lets go', () => {
  const g = makeGuest(m);
  const address = m.dom0.foreign_map(g.domid, g.mfns[9]);
  expect(address).toBe(g.mfns[9] * 4096);
  m.destroyDomain(g.domid);
  const held = free - m.freeFrames();
  expect(held).toBeGreaterThan(0);
  m.dom0.foreign_unmap(g.mfns[9]);
  expect(m.freeFrames()).toBe(free);
});
