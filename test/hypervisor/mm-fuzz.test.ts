/**
 * A hostile guest: random page-table, descriptor, reservation and grant operations on a handful of its pages. After
 * every few the frame table is audited; at the end the domains are destroyed and every frame must be back.
 */
import { expect, test } from 'vitest';
import { GNTMAP, GNTTABOP, GnttabMapGrantRef, GnttabUnmapGrantRef, GTF } from '../../src/abi/grant_table.ts';
import { MemoryExchange, MemoryReservation, XENMEM } from '../../src/abi/memory.ts';
import { HYPERCALL, MMU, MMUEXT, VMASST_CMD, VMASST_TYPE } from '../../src/abi/xen.ts';
import { audit, frameInfo, gdtFrames, type Held, oldTable, TYPE } from './frame-audit.ts';
import { ARG_PAGE, CODE_PAGE, GuestCalls, STACK_PAGE, start, va } from './guest-script.ts';
import { type GuestScript, MmMachine, makeGuest, P, PAGE, pte, RW, SELF, US } from './mm-machine.ts';

const STEPS = 1500;
const AUDIT_EVERY = 25;
/** Pages the guest plays with; the rest keep it running. */
const FIRST_PLAY = 32;
const PLAY = 20;

/** Numbers from 0 to n - 1, the same for the same seed (mulberry32). */
function rng(seed: number): (n: number) => number {
  let s = seed;
  return (n) => {
    s = (s + 0x6d2b79f5) | 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

/** How hypercalls end: at once; as early as they can, to be made again; or, now and then, left at that. */
type Manner = 'whole' | 'preempted' | 'abandoned';

test.each([
  [1, 'whole'],
  [2, 'whole'],
  [3, 'whole'],
  [4, 'preempted'],
  [5, 'preempted'],
  [6, 'abandoned'],
  [7, 'abandoned'],
  [8, 'abandoned'],
] as [number, Manner][])('seed %i, hypercalls %s', (seed, manner) => {
  const m = new MmMachine();
  const random = rng(seed);
  const pick = <T>(a: readonly T[]): T => a[random(a.length)];
  m.destroyDomain(makeGuest(m).domid);
  const free = m.freeFrames();
  const g = makeGuest(m);
  const other = makeGuest(m);
  const c = new GuestCalls(m, g);
  const table = m.grantFrame(other.domid);
  const special = [table, m.grantFrame(g.domid), m.sharedInfoFrame(g.domid), m.sharedInfoFrame(other.domid)];
  start(m, g);
  const keep = g.mfns.filter((_, i) => i < FIRST_PLAY || i >= FIRST_PLAY + PLAY);
  let play = g.mfns.slice(FIRST_PLAY, FIRST_PLAY + PLAY);
  const mappings: { handle: number; host: bigint; held: Held[] }[] = [];
  let cpu = 0;
  let ok = 0;
  let userRoot = 0;

  // The other domain grants two pages and a page table.
  expect(m.mmuext(MMUEXT.PIN_L4_TABLE, other.l4, 0, other.domid)).toBe(0);
  [other.mfns[30], other.mfns[31], other.l1].forEach((mfn, i) => {
    m.view.setUint16(table * PAGE + (8 + i) * 8 + 2, g.domid, true);
    m.view.setUint32(table * PAGE + (8 + i) * 8 + 4, mfn, true);
    m.view.setUint16(table * PAGE + (8 + i) * 8, GTF.permit_access, true);
  });

  const known = () => [...keep, ...play, ...other.mfns, ...special];
  const anyFrame = () =>
    random(12) === 0 ? pick([other.mfns[5], 0x102, 8100, 1 << 20, table, g.l1, g.l4]) : pick(play);
  const anyEntry = () => {
    const flags = pick([P, P | RW, P | US, P | RW | US, P | RW, P, 0n, P | 8n, P | 0x80n]);
    return flags === 0n ? 0n : pte(anyFrame(), flags);
  };
  const anySlot = () => pick([0, 0, 1, 2, 255, 256, 257, 272, 511]);

  function check(): void {
    // Only the guest that runs has roots and a GDT that are not entries of tables.
    const held: Held[] = [...gdtFrames(m, cpu), ...oldTable(m, cpu), ...mappings.flatMap((x) => x.held)];
    for (const mfn of [g.l4, userRoot]) if (mfn) held.push({ mfn, typed: true });
    expect(audit(m, known(), held)).toEqual([]);
  }

  /** Stores of the guest's through a writable mapping: to a page that has one, or could have one. */
  function* scribble(): Generator<never, number, bigint> {
    const mfn = pick(play);
    // Its type may still say what it was; a writable use changes that.
    if (frameInfo(m, mfn).type !== TYPE.writable && (yield* c.mmuext(MMUEXT.CLEAR_PAGE, mfn)) !== 0) return 1;
    for (let i = 0; i < 4; i++) m.setEntry(mfn, anySlot(), anyEntry());
    return 0;
  }

  function* step(): Generator<never, number, bigint> {
    const mfn = anyFrame();
    switch (random(16)) {
      case 0:
      case 1:
        return yield* scribble();
      case 2:
      case 3:
        return yield* c.mmuext(MMUEXT.PIN_L1_TABLE + random(4), mfn);
      case 4:
        return yield* c.mmuext(MMUEXT.UNPIN_TABLE, mfn);
      case 5:
      case 6:
      case 7:
        // Not its own roots: it would only cut itself off.
        return yield* c.mmuUpdate(
          (pick(play) * PAGE + anySlot() * 8) | pick([0, MMU.PT_UPDATE_PRESERVE_AD]),
          anyEntry(),
        );
      case 8:
        return yield* c.call(HYPERCALL.update_va_mapping, va(100 + random(4)), anyEntry(), random(3));
      case 9: {
        const root = random(3) ? mfn : 0;
        const rc = yield* c.mmuext(MMUEXT.NEW_USER_BASEPTR, root);
        if (rc === 0) userRoot = root;
        return rc;
      }
      case 10: {
        m.view.setBigUint64(c.argHost, BigInt(mfn), true);
        return yield* c.call(HYPERCALL.set_gdt, va(ARG_PAGE), pick([0, 512, 512]));
      }
      case 11:
        return yield* c.call(
          HYPERCALL.update_descriptor,
          mfn * PAGE + 8 * random(512),
          pick([0n, 0x00af9b000000ffffn]),
        );
      case 12:
        return yield* exchange();
      case 13:
        return yield* grantOp();
      case 14: {
        // A store to the L1 that maps its own memory, which goes through ptwr.
        m.bytes.set([0x48, 0x89, 0x08], g.mfns[CODE_PAGE] * PAGE);
        const at = va(3, (104 + random(4)) * 8);
        yield { va: at, error: 7, rip: va(CODE_PAGE), regs: { 0: at, 1: anyEntry(), 4: va(STACK_PAGE + 1) } } as never;
        return 0;
      }
      default:
        return yield* c.mmuext(pick([MMUEXT.CLEAR_PAGE, MMUEXT.COPY_PAGE]), mfn, anyFrame());
    }
  }

  /** Trades one or two pages. */
  function* exchange(): Generator<never, number, bigint> {
    const n = 1 + random(2);
    const give = Array.from({ length: n }, () => pick(play));
    const at = c.argHost;
    m.bytes.fill(0, at, at + 256);
    give.forEach((mfn, i) => {
      m.view.setBigUint64(at + 128 + i * 8, BigInt(mfn), true);
      m.view.setBigUint64(at + 192 + i * 8, BigInt(400 + i), true);
    });
    for (const [part, list] of [
      [MemoryExchange.off.in, 128],
      [MemoryExchange.off.out, 192],
    ]) {
      m.view.setBigUint64(at + part + MemoryReservation.off.extent_start, va(ARG_PAGE, list), true);
      m.view.setBigUint64(at + part + MemoryReservation.off.nr_extents, BigInt(n), true);
      m.view.setUint16(at + part + MemoryReservation.off.domid, SELF, true);
    }
    const rc = yield* c.call(HYPERCALL.memory_op, XENMEM.exchange, va(ARG_PAGE));
    const done = Number(m.view.getBigUint64(at + MemoryExchange.off.nr_exchanged, true));
    for (let i = 0; i < done; i++) {
      const got = Number(m.view.getBigUint64(at + 192 + i * 8, true));
      play = play.map((f) => (f === give[i] ? got : f));
    }
    return rc;
  }

  function* grantOp(): Generator<never, number, bigint> {
    const at = c.argHost;
    m.bytes.fill(0, at, at + 64);
    if (mappings.length > 3 || (mappings.length && random(2))) {
      const x = pick(mappings);
      const off = GnttabUnmapGrantRef.off;
      m.view.setUint32(at + off.handle, x.handle, true);
      m.view.setBigUint64(at + off.host_addr, x.host, true);
      m.view.setBigUint64(at + off.dev_bus_addr, x.held.length ? BigInt(x.held[0].mfn * PAGE) : 0n, true);
      yield* c.call(HYPERCALL.grant_table_op, GNTTABOP.unmap_grant_ref, va(ARG_PAGE), 1);
      const status = m.view.getInt16(at + off.status, true);
      if (status === 0) mappings.splice(mappings.indexOf(x), 1);
      return status;
    }
    const off = GnttabMapGrantRef.off;
    const flags = pick([GNTMAP.host_map, GNTMAP.device_map]) | pick([0, GNTMAP.readonly]);
    const host = flags & GNTMAP.host_map ? va(108 + random(4)) : 0n;
    m.view.setBigUint64(at + off.host_addr, host, true);
    m.view.setUint32(at + off.flags, flags, true);
    m.view.setUint32(at + off.ref, 8 + random(4), true);
    m.view.setUint16(at + off.dom, other.domid, true);
    yield* c.call(HYPERCALL.grant_table_op, GNTTABOP.map_grant_ref, va(ARG_PAGE), 1);
    const status = m.view.getInt16(at + off.status, true);
    if (status === 0) {
      const mfn = Number(m.view.getBigUint64(at + off.dev_bus_addr, true) / 4096n);
      const held = flags & GNTMAP.device_map ? [{ mfn, typed: !(flags & GNTMAP.readonly) }] : [];
      mappings.push({ handle: m.view.getUint32(at + off.handle, true), host, held });
    }
    return status;
  }

  m.guest(function* (): GuestScript {
    // A page fault that is not emulated ends in a handler, not in the domain's end.
    m.bytes.set([14, 0, 0x33, 0xe0, 0, 0, 0, 0], c.argHost);
    m.view.setBigUint64(c.argHost + 8, va(CODE_PAGE, 0x800), true);
    m.bytes.fill(0, c.argHost + 16, c.argHost + 32);
    yield* c.call(HYPERCALL.set_trap_table, va(ARG_PAGE));
    yield* c.call(HYPERCALL.vm_assist, VMASST_CMD.enable, VMASST_TYPE.writable_pagetables);
    cpu = m.runningCpu;
    // The pages are not mapped to begin with: they can become anything.
    for (let i = FIRST_PLAY; i < FIRST_PLAY + PLAY; i++) yield* c.call(HYPERCALL.update_va_mapping, va(i), 0, 0);
    m.busy = manner !== 'whole';
    if (manner === 'abandoned') m.abandon = () => random(3) === 0;
    for (let i = 0; i < STEPS; i++) {
      if ((yield* step()) === 0) ok++;
      if (i % AUDIT_EVERY === 0) check();
    }
    check();
  });
  expect(m.continuations > 10).toBe(manner !== 'whole');
  // The walk is of no use if nearly everything is refused.
  expect(ok).toBeGreaterThan(STEPS / 5);
  m.destroyDomain(g.domid);
  m.destroyDomain(other.domid);
  expect(m.freeFrames()).toBe(free);
});
