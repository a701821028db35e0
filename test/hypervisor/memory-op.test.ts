/** memory_op: reservations, exchange, claims, memory maps (public/memory.h). */
import { beforeEach, describe, expect, test } from 'vitest';
import { ERRNO } from '../../src/abi/errno.ts';
import {
  E820Entry,
  ForeignMemoryMap,
  MachphysMapping,
  MemAcquireResource,
  MemoryExchange,
  MemoryMap,
  MemoryReservation,
  XENMEM,
} from '../../src/abi/memory.ts';
import { HYPERCALL, SharedInfo } from '../../src/abi/xen.ts';
import { ARG_PAGE, GuestCalls, start, va } from './guest-script.ts';
import { MmMachine, makeGuest, PAGE, SELF, type TestGuest } from './mm-machine.ts';

let m: MmMachine;
let g: TestGuest;

beforeEach(() => {
  m = new MmMachine();
  g = makeGuest(m);
});

const op = (cmd: number, arg: number) => m.hypercall(HYPERCALL.memory_op, cmd, arg);
const domainOp = (cmd: number, domid: number) => {
  const at = m.arg(2);
  m.view.setUint16(at, domid, true);
  return op(cmd, at);
};
const values = (list: number, n: number) =>
  Array.from({ length: n }, (_, i) => Number(m.view.getBigUint64(list + i * 8, true)));

describe('reservations', () => {
  test('are bounded by max_pages and counted', () => {
    expect(domainOp(XENMEM.current_reservation, g.domid)).toBe(64);
    expect(domainOp(XENMEM.maximum_reservation, g.domid)).toBe(128);
    const list = m.list(Array.from({ length: 100 }, (_, i) => 1000 + i));
    expect(m.reservation(XENMEM.populate_physmap, g.domid, list, 100, 0)).toBe(64);
    expect(domainOp(XENMEM.current_reservation, g.domid)).toBe(128);
  });

  test('give and take extents of several pages, aligned to their size', () => {
    const free = m.freeFrames();
    const list = m.list([512]);
    expect(m.reservation(XENMEM.populate_physmap, g.domid, list, 1, 5)).toBe(1);
    const [mfn] = values(list, 1);
    expect(mfn % 32).toBe(0);
    expect(m.freeFrames()).toBe(free - 32);
    expect(m.reservation(XENMEM.decrease_reservation, g.domid, m.list([mfn]), 1, 5)).toBe(1);
    expect(m.freeFrames()).toBe(free);
    // Freed frames are used before fresh ones.
    expect(m.reservation(XENMEM.increase_reservation, g.domid, m.list([0]), 1, 5)).toBe(1);
    expect(values(0x80000, 1)).toEqual([mfn]);
  });

  test('refuse what is not the domain’s, and nonsense', () => {
    const other = makeGuest(m);
    const give = (mfn: number | bigint) => m.reservation(XENMEM.decrease_reservation, g.domid, m.list([mfn]), 1, 0);
    expect(give(other.mfns[5])).toBe(0);
    expect(give(0x102)).toBe(0);
    expect(give(1n << 40n)).toBe(0);
    expect(give((1n << 64n) - 1n)).toBe(0);
    expect(give(g.mfns[5])).toBe(1);
    expect(give(g.mfns[5])).toBe(0);
    expect(m.reservation(XENMEM.populate_physmap, 99, m.list([0]), 1, 0)).toBe(0);
    expect(m.reservation(XENMEM.populate_physmap, g.domid, m.list([0]), 1, 60)).toBe(0);
    expect(m.reservation(XENMEM.populate_physmap, g.domid, 0xfffffff0, 1000, 0)).toBe(0);
  });

  test('unknown and unimplemented operations', () => {
    for (const cmd of [8, 20, 21, 22, 29, 63]) expect(op(cmd, m.arg(64))).toBe(-ERRNO.ENOSYS);
    for (const cmd of [XENMEM.add_to_physmap, XENMEM.remove_from_physmap])
      expect(domainOp(cmd, g.domid)).toBe(-ERRNO.EACCES);
    expect(domainOp(XENMEM.get_vnumainfo, g.domid)).toBe(-ERRNO.EOPNOTSUPP);
  });
});

describe('exchange', () => {
  const exchange = (give: number[], giveOrder: number, wantPfns: number[], wantOrder: number) => {
    const inList = m.list(give);
    const outList = m.list(wantPfns);
    const at = m.arg(MemoryExchange.size);
    const put = (part: number, list: number, n: number, order: number) => {
      m.view.setBigUint64(at + part + MemoryReservation.off.extent_start, BigInt(list), true);
      m.view.setBigUint64(at + part + MemoryReservation.off.nr_extents, BigInt(n), true);
      m.view.setUint32(at + part + MemoryReservation.off.extent_order, order, true);
      m.view.setUint16(at + part + MemoryReservation.off.domid, g.domid, true);
    };
    put(MemoryExchange.off.in, inList, give.length, giveOrder);
    put(MemoryExchange.off.out, outList, wantPfns.length, wantOrder);
    const rc = op(XENMEM.exchange, at);
    return {
      rc,
      done: Number(m.view.getBigUint64(at + MemoryExchange.off.nr_exchanged, true)),
      out: values(outList, wantPfns.length),
    };
  };

  test('single pages for an aligned block, and back', () => {
    const free = m.freeFrames();
    const r = exchange(g.mfns.slice(8, 16), 0, [200], 3);
    expect(r.rc).toBe(0);
    expect(r.done).toBe(8);
    expect(r.out[0] % 8).toBe(0);
    expect(m.freeFrames()).toBe(free);
    expect(domainOp(XENMEM.current_reservation, g.domid)).toBe(64);
    const back = exchange([r.out[0]], 3, [300, 301, 302, 303, 304, 305, 306, 307], 0);
    expect(back).toMatchObject({ rc: 0, done: 1 });
    expect(new Set(back.out).size).toBe(8);
    expect(m.freeFrames()).toBe(free);
  });

  test('a chunk that cannot be taken whole is given back', () => {
    const free = m.freeFrames();
    expect(exchange([g.mfns[8], 0x102], 0, [200], 1)).toMatchObject({ rc: -ERRNO.EINVAL, done: 0 });
    expect(exchange([g.mfns[8], g.mfns[8]], 0, [200], 1)).toMatchObject({ rc: -ERRNO.EINVAL, done: 0 });
    expect(exchange([g.mfns[8]], 0, [200], 1)).toMatchObject({ rc: -ERRNO.EINVAL, done: 0 });
    expect(m.freeFrames()).toBe(free);
    expect(exchange([g.mfns[8], g.mfns[9]], 0, [200], 1)).toMatchObject({ rc: 0, done: 2 });
    m.destroyDomain(g.domid);
  });

  test('a mapped page stays', () => {
    expect(m.mmuext(3, g.l4, 0, g.domid)).toBe(0);
    expect(exchange([g.mfns[20]], 0, [20], 0)).toMatchObject({ rc: -ERRNO.EINVAL, done: 0 });
  });
});

test('claims set frames aside', () => {
  const claim = (pages: number) => {
    const at = m.arg(MemoryReservation.size);
    m.view.setBigUint64(at + MemoryReservation.off.nr_extents, BigInt(pages), true);
    m.view.setUint16(at + MemoryReservation.off.domid, g.domid, true);
    return op(XENMEM.claim_pages, at);
  };
  expect(claim(32)).toBe(-ERRNO.EINVAL);
  expect(claim(1000)).toBe(-ERRNO.EINVAL);
  expect(claim(128)).toBe(0);
  expect(claim(128)).toBe(-ERRNO.EINVAL);
  expect(m.reservation(XENMEM.populate_physmap, g.domid, m.list([1, 2]), 2, 0)).toBe(2);
  expect(claim(0)).toBe(0);
  m.destroyDomain(g.domid);
});

test('memory maps: what the toolstack set, ENOSYS before', () => {
  const c = new GuestCalls(m, g);
  start(m, g);
  const read = () => {
    let rc = 0;
    m.view.setUint32(c.argHost, 8, true);
    m.view.setBigUint64(c.argHost + MemoryMap.off.buffer, va(ARG_PAGE, 64), true);
    m.guest(function* () {
      rc = yield* c.call(HYPERCALL.memory_op, XENMEM.memory_map, va(ARG_PAGE));
    });
    return rc;
  };
  expect(read()).toBe(-ERRNO.ENOSYS);
  const map = m.arg(2 * E820Entry.size);
  const entry = (i: number, start: bigint, size: bigint, type: number) => {
    m.view.setBigUint64(map + i * 20, start, true);
    m.view.setBigUint64(map + i * 20 + 8, size, true);
    m.view.setUint32(map + i * 20 + 16, type, true);
  };
  entry(0, 0n, 0x40000n, 1);
  entry(1, 0x100000n, 0x1000n, 2);
  const at = m.arg(ForeignMemoryMap.size);
  m.view.setUint16(at, g.domid, true);
  m.view.setUint32(at + ForeignMemoryMap.off.map + MemoryMap.off.nr_entries, 2, true);
  m.view.setBigUint64(at + ForeignMemoryMap.off.map + MemoryMap.off.buffer, BigInt(map), true);
  expect(op(XENMEM.set_memory_map, at)).toBe(0);
  expect(read()).toBe(0);
  expect(m.view.getUint32(c.argHost, true)).toBe(2);
  expect(m.view.getBigUint64(c.argHost + 64 + 20, true)).toBe(0x100000n);
  expect(m.view.getUint32(c.argHost + 64 + 36, true)).toBe(2);
});

test('the M2P: where it is, and the largest pfn a domain says it has', () => {
  const at = m.arg(MachphysMapping.size);
  expect(op(XENMEM.machphys_mapping, at)).toBe(0);
  expect(m.view.getBigUint64(at + MachphysMapping.off.v_start, true)).toBe(0xffff_8000_0000_0000n);
  expect(m.view.getBigUint64(at + MachphysMapping.off.max_mfn, true)).toBe(8191n);
  expect(op(XENMEM.maximum_ram_page, 0)).toBe(8192);
  expect(domainOp(XENMEM.maximum_gpfn, g.domid)).toBe(0);
  expect(SharedInfo.size).toBeLessThanOrEqual(PAGE);
});

test('an unprivileged guest: its own memory only', () => {
  const c = new GuestCalls(m, g);
  const other = makeGuest(m);
  start(m, g);
  const r: number[] = [];
  m.guest(function* () {
    const ask = function* (cmd: number, domid: number) {
      m.view.setUint16(c.argHost, domid, true);
      return yield* c.call(HYPERCALL.memory_op, cmd, va(ARG_PAGE));
    };
    r.push(yield* ask(XENMEM.current_reservation, SELF), yield* ask(XENMEM.current_reservation, other.domid));
    r.push(yield* ask(XENMEM.current_reservation, 99), yield* ask(XENMEM.machine_memory_map, 0));
    const off = MemAcquireResource.off;
    m.bytes.fill(0, c.argHost, c.argHost + 64);
    for (const domid of [g.domid, other.domid, 99]) {
      m.view.setUint16(c.argHost + off.domid, domid, true);
      m.view.setUint16(c.argHost + off.type, 1, true);
      r.push(yield* c.call(HYPERCALL.memory_op, XENMEM.acquire_resource, va(ARG_PAGE)));
    }
  });
  const { EPERM, ESRCH } = ERRNO;
  expect(r).toEqual([64, -EPERM, -ESRCH, -EPERM, -EPERM, -EPERM, -ESRCH]);
});
