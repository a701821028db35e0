/**
 * Page tables are checked and taken apart piece by piece: a hypercall stops when something else is due, and goes on where
 * it was; also if the guest does something else in between, or never comes back. After every few steps each reference is
 * accounted for.
 */
import { describe, expect, test } from 'vitest';
import { ERRNO } from '../../src/abi/errno.ts';
import { HYPERCALL, MMUEXT } from '../../src/abi/xen.ts';
import { audit, frameInfo, gdtFrames, type Held, oldTable, TYPE } from './frame-audit.ts';
import { GuestCalls, start, va } from './guest-script.ts';
import { type GuestScript, MmMachine, makeGuest, P, pte, RW, type TestGuest, US } from './mm-machine.ts';

/** Numbers from 0 to n - 1, the same for the same seed (xorshift32). */
function rng(seed: number): (n: number) => number {
  let s = seed * 2654435761 || 1;
  return (n) => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>> 0) % n;
  };
}

/** A tree of tables in the guest's unmapped pages from `first` on: `fan` entries in each but the L1s, which map `page`. */
function tree(m: MmMachine, g: TestGuest, first: number, fan: number): { root: number; tables: number } {
  let next = first;
  const make = (level: number): number => {
    const mfn = g.mfns[next++];
    m.bytes.fill(0, mfn * 4096, mfn * 4096 + 4096);
    for (let i = 0; i < fan; i++) {
      const to = level > 1 ? make(level - 1) : g.mfns[30];
      m.setEntry(mfn, i, pte(to, P | US | (level > 1 ? RW : 0n)));
    }
    return mfn;
  };
  const root = make(4);
  return { root, tables: next - first };
}

describe('a tree of tables', () => {
  /** Runs `script` in a guest with pages 64 on unmapped. */
  function withGuest(script: (m: MmMachine, g: TestGuest, c: GuestCalls) => GuestScript): void {
    const m = new MmMachine();
    m.destroyDomain(makeGuest(m, 256).domid);
    const free = m.freeFrames();
    const g = makeGuest(m, 256);
    const c = new GuestCalls(m, g);
    start(m, g);
    m.guest(function* () {
      for (let i = 64; i < 256; i++) yield* c.call(HYPERCALL.update_va_mapping, va(i), 0, 0);
      m.busy = true;
      yield* script(m, g, c);
      m.busy = false;
    });
    m.destroyDomain(g.domid);
    expect(m.freeFrames()).toBe(free);
  }
  const check = (m: MmMachine, g: TestGuest, roots: number[]) => {
    const held: Held[] = [...gdtFrames(m, m.runningCpu), ...oldTable(m, m.runningCpu)];
    for (const mfn of [g.l4, ...roots]) held.push({ mfn, typed: true });
    expect(audit(m, [...g.mfns, m.grantFrame(g.domid), m.sharedInfoFrame(g.domid)], held)).toEqual([]);
  };

  test('is pinned and unpinned in as many pieces as it has tables below the second level', () => {
    withGuest(function* (m, g, c) {
      const { root, tables } = tree(m, g, 64, 4);
      expect(tables).toBe(85);
      m.continuations = 0;
      expect(yield* c.mmuext(MMUEXT.PIN_L4_TABLE, root)).toBe(0);
      // 64 L1 tables, each of which is one piece; the first after each stop is not preceded by another.
      expect(m.continuations).toBeGreaterThan(40);
      check(m, g, []);
      m.continuations = 0;
      expect(yield* c.mmuext(MMUEXT.UNPIN_TABLE, root)).toBe(0);
      expect(m.continuations).toBeGreaterThan(40);
      check(m, g, []);
      expect(frameInfo(m, root).typeCount).toBe(0);
    });
  });

  test('with a fault in its last table is refused, and leaves nothing', () => {
    withGuest(function* (m, g, c) {
      const { root, tables } = tree(m, g, 64, 4);
      m.setEntry(g.mfns[64 + tables - 1], 3, pte(0x102, P));
      m.continuations = 0;
      expect(yield* c.mmuext(MMUEXT.PIN_L4_TABLE, root)).toBe(-ERRNO.EINVAL);
      expect(m.continuations).toBeGreaterThan(80);
      check(m, g, []);
      for (let i = 64; i < 64 + tables; i++) expect(frameInfo(m, g.mfns[i]).typeCount).toBe(0);
    });
  });

  test('that is half checked is no table and cannot be written; the next call goes on', () => {
    withGuest(function* (m, g, c) {
      const { root } = tree(m, g, 64, 4);
      m.abandon = () => m.continuations === 20;
      m.continuations = 0;
      expect(yield* c.mmuext(MMUEXT.PIN_L4_TABLE, root)).toBe(-ERRNO.ERESTART);
      m.abandon = () => false;
      expect(frameInfo(m, root).partial).toMatchObject({ owned: false });
      check(m, g, []);
      expect(yield* c.call(HYPERCALL.update_va_mapping, va(64), pte(root, P | RW), 0)).toBe(-ERRNO.EBUSY);
      expect(yield* c.mmuext(MMUEXT.PIN_L3_TABLE, root)).toBe(-ERRNO.EINVAL);
      expect(yield* c.mmuext(MMUEXT.UNPIN_TABLE, root)).toBe(-ERRNO.EINVAL);
      expect(yield* c.mmuUpdate(root * 4096, 0n)).toBe(-ERRNO.EINVAL);
      expect(yield* c.mmuext(MMUEXT.PIN_L4_TABLE, root)).toBe(0);
      check(m, g, []);
    });
  });

  test('that is half taken apart is finished by the next page-table call', () => {
    withGuest(function* (m, g, c) {
      const { root } = tree(m, g, 64, 4);
      expect(yield* c.mmuext(MMUEXT.PIN_L4_TABLE, root)).toBe(0);
      m.abandon = () => m.continuations === 20;
      m.continuations = 0;
      expect(yield* c.mmuext(MMUEXT.UNPIN_TABLE, root)).toBe(-ERRNO.ERESTART);
      m.abandon = () => false;
      expect(frameInfo(m, root).partial).toMatchObject({ owned: true });
      check(m, g, []);
      expect(yield* c.mmuext(MMUEXT.TLB_FLUSH_LOCAL, 0)).toBe(0);
      expect(frameInfo(m, root)).toMatchObject({ partial: undefined, typeCount: 0 });
      check(m, g, []);
    });
  });

  test('goes with its domain, half checked or half taken apart', () => {
    withGuest(function* (m, g, c) {
      const a = tree(m, g, 64, 4);
      const b = tree(m, g, 64 + a.tables, 4);
      m.abandon = () => m.continuations % 20 === 0;
      expect(yield* c.mmuext(MMUEXT.PIN_L4_TABLE, a.root)).toBe(-ERRNO.ERESTART);
      m.abandon = () => false;
      expect(yield* c.mmuext(MMUEXT.PIN_L4_TABLE, b.root)).toBe(0);
      m.abandon = () => m.continuations % 20 === 0;
      expect(yield* c.mmuext(MMUEXT.UNPIN_TABLE, b.root)).toBe(-ERRNO.ERESTART);
      m.abandon = () => false;
      expect([a.root, b.root].map((r) => frameInfo(m, r).partial?.owned)).toEqual([false, true]);
    });
  });
});

test('a guest that does nothing but long hypercalls makes way for timers all the same', () => {
  const m = new MmMachine();
  const g = makeGuest(m, 256);
  const c = new GuestCalls(m, g);
  start(m, g);
  m.guest(function* () {
    for (let i = 64; i < 256; i++) yield* c.call(HYPERCALL.update_va_mapping, va(i), 0, 0);
    const { root } = tree(m, g, 64, 4);
    yield* c.call(HYPERCALL.set_timer_op, BigInt(Math.round(performance.now() * 1e6)) + 1_000_000n);
    // Nobody asks for the pCPU but the clock.
    const end = performance.now() + 10_000;
    while (m.continuations === 0 && performance.now() < end) {
      expect(yield* c.mmuext(MMUEXT.PIN_L4_TABLE, root)).toBe(0);
      expect(yield* c.mmuext(MMUEXT.UNPIN_TABLE, root)).toBe(0);
    }
  });
  expect(m.continuations).toBeGreaterThan(0);
});

/** Pages of each level that the random guest plays with. */
const LEVEL = 8;
const STEPS = Number(process.env.MM_PREEMPT_STEPS ?? 1200);
const FIRST = 64;

test.each([1, 2, 3, 4])('random trees, calls that stop and are left at that: seed %i', (seed) => {
  const m = new MmMachine();
  const random = rng(seed);
  m.destroyDomain(makeGuest(m, 128).domid);
  const free = m.freeFrames();
  const g = makeGuest(m, 128);
  const c = new GuestCalls(m, g);
  start(m, g);
  /** A page that is meant to be a table of the level (1 to 4; 0: no table). */
  const page = (level: number) => g.mfns[FIRST + level * LEVEL + random(LEVEL)];
  /** An entry for a table of the level: mostly right. */
  const entry = (level: number): bigint => {
    switch (random(40)) {
      case 0:
        return pte(page(random(5)), P | RW | US);
      case 1:
        return 0n;
      case 2:
      case 3:
      case 4:
        // Linear, or to oneself.
        return level === 1 ? 0n : pte(page(level), P | US);
    }
    return pte(page(level - 1), P | US | (level === 1 ? [0n, RW][random(2)] : RW));
  };
  let user = 0;
  let ok = 0;
  const check = () => {
    const held: Held[] = [...gdtFrames(m, m.runningCpu), ...oldTable(m, m.runningCpu)];
    for (const mfn of [g.l4, user]) if (mfn) held.push({ mfn, typed: true });
    expect(audit(m, [...g.mfns, m.grantFrame(g.domid), m.sharedInfoFrame(g.domid)], held)).toEqual([]);
  };

  function* step(): Generator<never, number, bigint> {
    const level = 1 + random(4);
    const mfn = page(level);
    switch (random(8)) {
      case 0:
      case 1:
      case 2: {
        if ((yield* c.mmuext(MMUEXT.CLEAR_PAGE, mfn)) !== 0) return 1;
        for (let i = 0; i < 6; i++) m.setEntry(mfn, [0, 1, 2, 3, 300, 511][i], entry(level));
        return 0;
      }
      case 3:
      case 4:
        return yield* c.mmuext(MMUEXT.PIN_L1_TABLE + level - 1, mfn);
      case 5:
        return yield* c.mmuext(MMUEXT.UNPIN_TABLE, mfn);
      case 6: {
        const root = random(3) ? page(4) : 0;
        const rc = yield* c.mmuext(MMUEXT.NEW_USER_BASEPTR, root);
        // One that was left may have been done all the same.
        if (rc === 0) user = root;
        return rc;
      }
      default:
        return yield* c.mmuUpdate(mfn * 4096 + [0, 1, 2, 3, 300, 511][random(6)] * 8, entry(level));
    }
  }

  m.guest(function* () {
    for (let i = FIRST; i < FIRST + 5 * LEVEL; i++) yield* c.call(HYPERCALL.update_va_mapping, va(i), 0, 0);
    m.busy = true;
    for (let i = 0; i < STEPS; i++) {
      // A new user root that has been set, but whose old one is not taken apart yet, is not left.
      const may = random(4) === 0;
      m.abandon = () => may && random(6) === 0 && oldTable(m, m.runningCpu).length === 0;
      if ((yield* step()) === 0) ok++;
      if (i % 10 === 0) check();
    }
    m.busy = false;
    check();
  });
  expect(ok).toBeGreaterThan(STEPS / 5);
  expect(m.continuations).toBeGreaterThan(STEPS / 4);
  const tables = g.mfns.filter((f) => frameInfo(m, f).type !== TYPE.writable).length;
  expect(tables).toBeGreaterThan(10);
  m.destroyDomain(g.domid);
  expect(m.freeFrames()).toBe(free);
});
