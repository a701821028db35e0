/** Grant tables, of version 1 where it matters: what a grant lets another domain do, and no more (public/grant_table.h). */
import { beforeEach, describe, expect, test } from 'vitest';
import { ERRNO } from '../../src/abi/errno.ts';
import {
  GNTCOPY,
  GNTMAP,
  GNTST,
  GNTTABOP,
  GnttabCopy,
  GnttabCopyPtr,
  GnttabGetVersion,
  GnttabMapGrantRef,
  GnttabQuerySize,
  GnttabSetupTable,
  GnttabSwapGrantRef,
  GnttabTransfer,
  GnttabUnmapGrantRef,
  GTF,
} from '../../src/abi/grant_table.ts';
import { HYPERCALL } from '../../src/abi/xen.ts';
import { domainField } from './domain-field.ts';
import { ARG_PAGE, GuestCalls, start, va } from './guest-script.ts';
import { MmMachine, makeGuest, P, PAGE, pte, RW, SELF, type TestGuest } from './mm-machine.ts';

let m: MmMachine;
let g: TestGuest;
let table: number;
let free: number;

const grantFrame = (domid: number) => m.grantFrame(domid);

beforeEach(() => {
  m = new MmMachine();
  // dom0's maptrack gets its first page with the first mapping, and keeps it.
  const first = makeGuest(m);
  table = grantFrame(first.domid);
  grant(8, GTF.permit_access, 0, first.mfns[30]);
  unmap(map(8, GNTMAP.host_map, first.domid).handle);
  m.destroyDomain(first.domid);
  free = m.freeFrames();
  g = makeGuest(m);
  table = grantFrame(g.domid);
});

const grant = (ref: number, flags: number, domid: number, mfn: number, frame = table) => {
  m.view.setUint16(frame * PAGE + ref * 8 + 2, domid, true);
  m.view.setUint32(frame * PAGE + ref * 8 + 4, mfn, true);
  m.view.setUint16(frame * PAGE + ref * 8, flags, true);
};
const flagsOf = (ref: number) => m.view.getUint16(table * PAGE + ref * 8, true);

/** One operation by dom0; its structure's address. */
function op(cmd: number, size: number, fill: (at: number) => void, count = 1): { rc: number; at: number } {
  const at = m.arg(size);
  fill(at);
  return { rc: m.hypercall(HYPERCALL.grant_table_op, cmd, at, count), at };
}

function map(ref: number, flags: number, dom = g.domid) {
  const off = GnttabMapGrantRef.off;
  const { rc, at } = op(GNTTABOP.map_grant_ref, GnttabMapGrantRef.size, (p) => {
    m.view.setUint32(p + off.flags, flags, true);
    m.view.setUint32(p + off.ref, ref, true);
    m.view.setUint16(p + off.dom, dom, true);
  });
  expect(rc).toBe(0);
  return {
    status: m.view.getInt16(at + off.status, true),
    handle: m.view.getUint32(at + off.handle, true),
    address: Number(m.view.getBigUint64(at + off.dev_bus_addr, true)),
  };
}

function unmap(handle: number): number {
  const off = GnttabUnmapGrantRef.off;
  const { at } = op(GNTTABOP.unmap_grant_ref, GnttabUnmapGrantRef.size, (p) =>
    m.view.setUint32(p + off.handle, handle, true),
  );
  return m.view.getInt16(at + off.status, true);
}

describe('mapping by a TypeScript domain', () => {
  test('gives the frame, marks the entry, and takes both back', () => {
    grant(8, GTF.permit_access, 0, g.mfns[30]);
    const a = map(8, GNTMAP.host_map);
    expect(a).toMatchObject({ status: GNTST.okay, address: g.mfns[30] * PAGE });
    expect(flagsOf(8)).toBe(GTF.permit_access | GTF.reading | GTF.writing);
    const b = map(8, GNTMAP.host_map | GNTMAP.readonly);
    expect(b.status).toBe(GNTST.okay);
    expect(unmap(a.handle)).toBe(GNTST.okay);
    expect(flagsOf(8)).toBe(GTF.permit_access | GTF.reading);
    expect(unmap(a.handle)).toBe(GNTST.bad_handle);
    expect(unmap(b.handle)).toBe(GNTST.okay);
    expect(flagsOf(8)).toBe(GTF.permit_access);
  });

  test('is refused with the status of Xen', () => {
    grant(8, GTF.permit_access | GTF.readonly, 0, g.mfns[30]);
    grant(9, GTF.permit_access, 5, g.mfns[30]);
    grant(10, GTF.permit_access, 0, 0x102);
    grant(11, GTF.accept_transfer, 0, g.mfns[30]);
    expect(map(8, GNTMAP.host_map).status).toBe(GNTST.general_error);
    expect(map(9, GNTMAP.host_map).status).toBe(GNTST.general_error);
    expect(map(10, GNTMAP.host_map).status).toBe(GNTST.bad_page);
    expect(map(11, GNTMAP.host_map).status).toBe(GNTST.general_error);
    expect(map(12, GNTMAP.host_map).status).toBe(GNTST.general_error);
    expect(map(512, GNTMAP.host_map).status).toBe(GNTST.bad_gntref);
    expect(map(0xffffffff, GNTMAP.host_map).status).toBe(GNTST.bad_gntref);
    expect(map(8, GNTMAP.readonly).status).toBe(GNTST.bad_gntref);
    expect(map(8, GNTMAP.host_map, 77).status).toBe(GNTST.bad_domain);
    for (const handle of [0, 1, 256, 0xffffffff]) expect(unmap(handle)).toBe(GNTST.bad_handle);
    for (const ref of [8, 9, 10]) expect(flagsOf(ref) & (GTF.reading | GTF.writing)).toBe(0);
  });

  test('page tables are mapped read-only at most', () => {
    expect(m.mmuext(3, g.l4, 0, g.domid)).toBe(0);
    grant(8, GTF.permit_access, 0, g.l1);
    expect(map(8, GNTMAP.host_map).status).toBe(GNTST.general_error);
    expect(flagsOf(8)).toBe(GTF.permit_access);
    const r = map(8, GNTMAP.host_map | GNTMAP.readonly);
    expect(r.status).toBe(GNTST.okay);
    expect(unmap(r.handle)).toBe(GNTST.okay);
  });

  test('keeps the page, though the granting domain gives it up or dies', () => {
    grant(8, GTF.permit_access, 0, g.mfns[30]);
    const r = map(8, GNTMAP.host_map);
    m.destroyDomain(g.domid);
    expect(m.freeFrames()).toBeLessThan(free);
    expect(unmap(r.handle)).toBe(GNTST.okay);
    expect(m.freeFrames()).toBe(free);
  });

  test('handles run out', () => {
    // dom0's maptrack has 1024 frames of 256 handles: too many to fill here; a grant counts to 127 uses.
    grant(8, GTF.permit_access, 0, g.mfns[30]);
    const all = Array.from({ length: 129 }, () => map(8, GNTMAP.host_map | GNTMAP.readonly));
    expect(all.filter((r) => r.status === GNTST.okay).length).toBe(128);
    expect(all[128].status).toBe(GNTST.general_error);
    for (const r of all.slice(0, 128)) expect(unmap(r.handle)).toBe(GNTST.okay);
    expect(flagsOf(8)).toBe(GTF.permit_access);
  });
});

describe('mapping by a PV domain', () => {
  let b: TestGuest;
  let c: GuestCalls;
  beforeEach(() => {
    b = makeGuest(m);
    c = new GuestCalls(m, b);
    start(m, b);
  });

  function* mapOp(ref: number, host: bigint, flags: number) {
    const off = GnttabMapGrantRef.off;
    m.view.setBigUint64(c.argHost + off.host_addr, host, true);
    m.view.setUint32(c.argHost + off.flags, flags, true);
    m.view.setUint32(c.argHost + off.ref, ref, true);
    m.view.setUint16(c.argHost + off.dom, g.domid, true);
    expect(yield* c.call(HYPERCALL.grant_table_op, GNTTABOP.map_grant_ref, va(ARG_PAGE), 1)).toBe(0);
    return {
      status: m.view.getInt16(c.argHost + off.status, true),
      handle: m.view.getUint32(c.argHost + off.handle, true),
    };
  }
  function* unmapOp(handle: number, host: bigint) {
    const off = GnttabUnmapGrantRef.off;
    m.bytes.fill(0, c.argHost, c.argHost + 64);
    m.view.setBigUint64(c.argHost + off.host_addr, host, true);
    m.view.setUint32(c.argHost + off.handle, handle, true);
    expect(yield* c.call(HYPERCALL.grant_table_op, GNTTABOP.unmap_grant_ref, va(ARG_PAGE), 1)).toBe(0);
    return m.view.getInt16(c.argHost + off.status, true);
  }

  test('puts an entry into its page tables, by linear address or by the entry’s own', () => {
    grant(8, GTF.permit_access, b.domid, g.mfns[30]);
    // Whether the frames of others concern it when their types change (mm/tlbflush.ts).
    const mapsForeign = (domid: number) => m.view.getUint32(domainField(m.memory, domid, 'maps_foreign'), true);
    expect(mapsForeign(b.domid)).toBe(0);
    m.guest(function* () {
      const r = yield* mapOp(8, va(100), GNTMAP.host_map);
      expect(r.status).toBe(GNTST.okay);
      expect([mapsForeign(b.domid), mapsForeign(g.domid)]).toEqual([1, 0]);
      expect(m.entry(b.l1, 100) & ~0xfff0000000000f60n).toBe(pte(g.mfns[30], P | RW | 4n));
      expect(yield* unmapOp(r.handle, va(101))).toBe(GNTST.general_error);
      m.tlbCalls.length = 0;
      expect(yield* unmapOp(r.handle, va(100))).toBe(GNTST.okay);
      expect(m.tlbCalls.length).toBeGreaterThan(0);
      expect(m.entry(b.l1, 100)).toBe(0n);
      const entry = BigInt(b.l1 * PAGE + 101 * 8);
      const r2 = yield* mapOp(8, entry, GNTMAP.host_map | GNTMAP.contains_pte | GNTMAP.readonly);
      expect(r2.status).toBe(GNTST.okay);
      expect(m.entry(b.l1, 101) & RW).toBe(0n);
      expect(yield* unmapOp(r2.handle, entry)).toBe(GNTST.okay);
    });
    expect(flagsOf(8)).toBe(GTF.permit_access);
  });

  test('needs an L1 table of its own there', () => {
    grant(8, GTF.permit_access, b.domid, g.mfns[30]);
    const places: [bigint, number][] = [
      [1n << 40n, 0],
      [0xffff_8000_0000_0000n, 0],
      [BigInt(b.mfns[30] * PAGE), GNTMAP.contains_pte],
      [BigInt(b.l2 * PAGE + 80), GNTMAP.contains_pte],
      [BigInt(g.l1 * PAGE + 80), GNTMAP.contains_pte],
      [BigInt(b.l1 * PAGE + 81), GNTMAP.contains_pte],
      [1n << 50n, GNTMAP.contains_pte],
    ];
    m.guest(function* () {
      for (const [host, flag] of places)
        expect((yield* mapOp(8, host, GNTMAP.host_map | flag)).status).toBe(GNTST.general_error);
    });
    expect(flagsOf(8)).toBe(GTF.permit_access);
  });

  test('a domain that dies with mappings leaves nothing behind', () => {
    grant(8, GTF.permit_access, b.domid, g.mfns[30]);
    m.guest(function* () {
      expect((yield* mapOp(8, va(100), GNTMAP.host_map)).status).toBe(GNTST.okay);
      expect((yield* mapOp(8, va(101), GNTMAP.host_map | GNTMAP.device_map)).status).toBe(GNTST.okay);
      expect((yield* mapOp(8, 0n, GNTMAP.device_map | GNTMAP.readonly)).status).toBe(GNTST.okay);
      // It forgets one by an ordinary update.
      yield* c.call(HYPERCALL.update_va_mapping, va(101), 0, 0);
    });
    m.destroyDomain(b.domid);
    expect(flagsOf(8)).toBe(GTF.permit_access);
    m.destroyDomain(g.domid);
    expect(m.freeFrames()).toBe(free);
  });

  test('transfer gives a page away', () => {
    grant(9, GTF.accept_transfer, b.domid, 0);
    const off = GnttabTransfer.off;
    const status: number[] = [];
    m.guest(function* () {
      for (const [mfn, ref] of [
        [b.mfns[40], 9],
        [0x102, 10],
        [b.mfns[40], 8],
      ] as const) {
        yield* c.call(HYPERCALL.update_va_mapping, va(40), 0, 0);
        m.bytes.fill(0, c.argHost, c.argHost + 64);
        m.view.setBigUint64(c.argHost + off.mfn, BigInt(mfn), true);
        m.view.setUint16(c.argHost + off.domid, g.domid, true);
        m.view.setUint32(c.argHost + off.ref, ref, true);
        yield* c.call(HYPERCALL.grant_table_op, GNTTABOP.transfer, va(ARG_PAGE), 1);
        status.push(m.view.getInt16(c.argHost + off.status, true));
      }
    });
    expect(status).toEqual([GNTST.okay, GNTST.bad_page, GNTST.bad_page]);
    expect(flagsOf(9)).toBe(GTF.accept_transfer | GTF.transfer_committed | GTF.transfer_completed);
    expect(m.view.getUint32(table * PAGE + 9 * 8 + 4, true)).toBe(b.mfns[40]);
    // It is g's now.
    expect(m.dom0.foreign_page(g.domid, b.mfns[40])).toBe(b.mfns[40] * PAGE);
    m.destroyDomain(b.domid);
    m.destroyDomain(g.domid);
    expect(m.freeFrames()).toBe(free);
  });
});

describe('copy', () => {
  function copy(
    src: [number | bigint, number, number],
    dst: [number | bigint, number, number],
    len: number,
    flags: number,
  ): number {
    const off = GnttabCopy.off;
    const end = (p: number, [u, domid, offset]: [number | bigint, number, number]) => {
      m.view.setBigUint64(p + GnttabCopyPtr.off.u, BigInt(u), true);
      m.view.setUint16(p + GnttabCopyPtr.off.domid, domid, true);
      m.view.setUint16(p + GnttabCopyPtr.off.offset, offset, true);
    };
    const { at } = op(GNTTABOP.copy, GnttabCopy.size, (p) => {
      end(p + off.source, src);
      end(p + off.dest, dst);
      m.view.setUint16(p + off.len, len, true);
      m.view.setUint16(p + off.flags, flags, true);
    });
    return m.view.getInt16(at + off.status, true);
  }
  const both = GNTCOPY.source_gref | GNTCOPY.dest_gref;

  test('copies between grants, within a page', () => {
    const other = makeGuest(m);
    const otherTable = grantFrame(other.domid);
    grant(8, GTF.permit_access | GTF.readonly, 0, g.mfns[30]);
    grant(9, GTF.permit_access, 0, other.mfns[31], otherTable);
    m.bytes.set([1, 2, 3, 4], g.mfns[30] * PAGE + 100);
    expect(copy([8, g.domid, 100], [9, other.domid, 4092], 4, both)).toBe(GNTST.okay);
    expect([...m.bytes.slice(other.mfns[31] * PAGE + 4092, other.mfns[31] * PAGE + 4096)]).toEqual([1, 2, 3, 4]);
    expect(flagsOf(8)).toBe(GTF.permit_access | GTF.readonly);
    expect(copy([8, g.domid, 100], [9, other.domid, 4093], 4, both)).toBe(GNTST.bad_copy_arg);
    expect(copy([8, g.domid, 65535], [9, other.domid, 0], 65535, both)).toBe(GNTST.bad_copy_arg);
    expect(copy([9, other.domid, 0], [8, g.domid, 0], 4, both)).toBe(GNTST.general_error);
    expect(copy([8, g.domid, 0], [99, other.domid, 0], 4, both)).toBe(GNTST.general_error);
    expect(copy([8, 88, 0], [9, other.domid, 0], 4, both)).toBe(GNTST.bad_domain);
    // By frame: one's own only.
    expect(copy([g.mfns[30], g.domid, 0], [9, other.domid, 0], 4, GNTCOPY.dest_gref)).toBe(GNTST.permission_denied);
    expect(copy([0x102, SELF, 0], [9, other.domid, 0], 4, GNTCOPY.dest_gref)).toBe(GNTST.bad_page);
  });

  test('does not write to page tables', () => {
    expect(m.mmuext(3, g.l4, 0, g.domid)).toBe(0);
    grant(8, GTF.permit_access, 0, g.mfns[30]);
    grant(9, GTF.permit_access, 0, g.l1);
    expect(copy([8, g.domid, 0], [9, g.domid, 0], 8, both)).toBe(GNTST.general_error);
    expect(flagsOf(9)).toBe(GTF.permit_access);
  });
});

describe('the table itself', () => {
  test('size, set-up and growth', () => {
    const off = GnttabQuerySize.off;
    const query = (dom: number) => {
      const { at } = op(GNTTABOP.query_size, GnttabQuerySize.size, (p) => m.view.setUint16(p, dom, true));
      return [off.status, off.nr_frames, off.max_nr_frames].map((o, i) =>
        i ? m.view.getUint32(at + o, true) : m.view.getInt16(at + o, true),
      );
    };
    expect(query(g.domid)).toEqual([GNTST.okay, 1, 4]);
    expect(query(99)[0]).toBe(GNTST.bad_domain);
    const setup = (n: number) => {
      const list = m.list([0, 0, 0, 0, 0]);
      const { at } = op(GNTTABOP.setup_table, GnttabSetupTable.size, (p) => {
        m.view.setUint16(p + GnttabSetupTable.off.dom, g.domid, true);
        m.view.setUint32(p + GnttabSetupTable.off.nr_frames, n, true);
        m.view.setBigUint64(p + GnttabSetupTable.off.frame_list, BigInt(list), true);
      });
      return [
        m.view.getInt16(at + GnttabSetupTable.off.status, true),
        Number(m.view.getBigUint64(list, true)),
        Number(m.view.getBigUint64(list + 8, true)),
      ];
    };
    expect(setup(5)[0]).toBe(GNTST.general_error);
    const [status, first, second] = setup(2);
    expect([status, first]).toEqual([GNTST.okay, table]);
    expect(second).not.toBe(0);
    expect(query(g.domid)).toEqual([GNTST.okay, 2, 4]);
    m.destroyDomain(g.domid);
    expect(m.freeFrames()).toBe(free);
  });

  test('its frames can be mapped writable by their domain, and are no one else’s', () => {
    expect(m.mmuext(3, g.l4, 0, g.domid)).toBe(0);
    expect(m.mmuUpdate(g.domid, [g.l1 * PAGE + 100 * 8, pte(table, P | RW)]).rc).toBe(0);
    const other = makeGuest(m);
    expect(m.mmuext(3, other.l4, 0, other.domid)).toBe(0);
    expect(m.mmuUpdate(other.domid, [other.l1 * PAGE + 100 * 8, pte(table, P)]).rc).toBe(-ERRNO.EBUSY);
    // Nor can it be a page table.
    expect(m.mmuext(0, table, 0, g.domid)).toBe(-ERRNO.EINVAL);
    // Destroyed with the mapping in place.
    m.destroyDomain(g.domid);
    m.destroyDomain(other.domid);
    expect(m.freeFrames()).toBe(free);
  });

  test('has version 1 until another is chosen', () => {
    const version = (v: number) => {
      const { rc, at } = op(GNTTABOP.set_version, 4, (p) => m.view.setUint32(p, v, true));
      return [rc, m.view.getUint32(at, true)];
    };
    expect(version(1)).toEqual([0, 1]);
    expect(version(3)).toEqual([-ERRNO.EINVAL, 1]);
    expect(version(2)).toEqual([0, 2]);
    expect(version(1)).toEqual([0, 1]);
    const { rc, at } = op(GNTTABOP.get_version, GnttabGetVersion.size, (p) => m.view.setUint16(p, g.domid, true));
    expect([rc, m.view.getUint32(at + GnttabGetVersion.off.version, true)]).toEqual([0, 1]);
  });

  test('swap, and what does not exist', () => {
    const swap = (a: number, b: number) => {
      const { at } = op(GNTTABOP.swap_grant_ref, GnttabSwapGrantRef.size, (p) => {
        m.view.setUint32(p, a, true);
        m.view.setUint32(p + 4, b, true);
      });
      return m.view.getInt16(at + GnttabSwapGrantRef.off.status, true);
    };
    expect(swap(8, 9)).toBe(GNTST.okay);
    expect(swap(8, 512)).toBe(GNTST.bad_gntref);
    for (const cmd of [3, 13, 0xfff]) expect(op(cmd, 64, () => {}).rc).toBe(-ERRNO.ENOSYS);
    expect(op(0x1000, 64, () => {}).rc).toBe(-ERRNO.EINVAL);
    expect(op(GNTTABOP.cache_flush, 64, () => {}).rc).toBe(0);
    expect(op(0, 64, () => {}, 0x80000000).rc).toBe(-ERRNO.EINVAL);
    expect(op(2, 64, () => {}, 2).rc).toBe(-ERRNO.EINVAL);
    expect(op(0, 64, () => {}, 0x7fffffff).rc).toBe(-ERRNO.EFAULT);
  });
});
