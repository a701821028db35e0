/** Grants of and to HVM containers: frame numbers are gfns, and what is mapped lies in the p2m. */
import { beforeEach, describe, expect, test } from 'vitest';
import { DOMCTL, DOMINF, DomctlGetdomaininfo } from '../../src/abi/domctl.ts';
import { ERRNO } from '../../src/abi/errno.ts';
import {
  GNTCOPY,
  GNTMAP,
  GNTST,
  GNTTABOP,
  GnttabCopy,
  GnttabCopyPtr,
  GnttabMapGrantRef,
  GnttabSetupTable,
  GnttabTransfer,
  GnttabUnmapGrantRef,
  GTF,
} from '../../src/abi/grant_table.ts';
import { AddToPhysmap, XENMAPSPACE, XENMEM } from '../../src/abi/memory.ts';
import { HYPERCALL } from '../../src/abi/xen.ts';
import { GuestCalls, ARG_PAGE as PV_ARG_PAGE, start, va } from './guest-script.ts';
import { ARG_GFN, auditMachine, gpa, HvmGuest, INVALID_GFN, putStruct } from './hvm-guest.ts';
import { MmMachine, makeGuest, PAGE, SELF, type TestGuest } from './mm-machine.ts';

/** p2m types and rights (mm/p2m.ts). */
const GRANT_RW = 0x23;
const GRANT_RO = 0x31;

let m: MmMachine;
/** A PV domain that grants, an HVM one that maps and grants. */
let pv: TestGuest;
let g: HvmGuest;
let table: number;

beforeEach(() => {
  m = new MmMachine();
  pv = makeGuest(m);
  table = m.grantFrame(pv.domid);
  g = new HvmGuest(m);
  g.start();
});

function grant(ref: number, flags: number, domid: number, frame: number, of = table): void {
  m.view.setUint16(of * PAGE + ref * 8 + 2, domid, true);
  m.view.setUint32(of * PAGE + ref * 8 + 4, frame, true);
  m.view.setUint16(of * PAGE + ref * 8, flags, true);
}
const flagsOf = (ref: number, of = table) => m.view.getUint16(of * PAGE + ref * 8, true);

function* map(ref: number, host_addr: bigint, flags: number = GNTMAP.host_map, dom = pv.domid) {
  const fields = { host_addr, flags, ref, dom };
  expect(yield* g.with(HYPERCALL.grant_table_op, GNTTABOP.map_grant_ref, GnttabMapGrantRef, fields, 1)).toBe(0);
  const { off } = GnttabMapGrantRef;
  return { status: m.view.getInt16(g.argHost + off.status, true), handle: g.u32(off.handle) };
}

function* unmap(handle: number, host_addr: bigint) {
  const fields = { handle, host_addr };
  expect(yield* g.with(HYPERCALL.grant_table_op, GNTTABOP.unmap_grant_ref, GnttabUnmapGrantRef, fields, 1)).toBe(0);
  return m.view.getInt16(g.argHost + GnttabUnmapGrantRef.off.status, true);
}

/** A mapping by dom0. */
function dom0Map(ref: number, flags: number, dom: number) {
  const at = m.arg(GnttabMapGrantRef.size);
  putStruct(m.view, at, GnttabMapGrantRef, { ref, flags, dom });
  expect(m.hypercall(HYPERCALL.grant_table_op, GNTTABOP.map_grant_ref, at, 1)).toBe(0);
  const { off } = GnttabMapGrantRef;
  return {
    status: m.view.getInt16(at + off.status, true),
    handle: m.view.getUint32(at + off.handle, true),
    address: Number(m.view.getBigUint64(at + off.dev_bus_addr, true)),
  };
}

describe('an HVM container maps', () => {
  test('a granted frame at a gfn of its own, and gives it back', () => {
    grant(8, GTF.permit_access, g.domid, pv.mfns[30]);
    m.guest(function* () {
      const a = yield* map(8, gpa(100));
      expect(a.status).toBe(GNTST.okay);
      expect(g.entry(100)).toBe(((pv.mfns[30] << 12) | GRANT_RW) >>> 0);
      // The granting domain's pfn of it is nobody else's business.
      expect(g.gfnOf(pv.mfns[30])).toBe(30n);
      expect(g.field('maps_foreign')).toBe(1);
      expect(flagsOf(8)).toBe(GTF.permit_access | GTF.reading | GTF.writing);
      expect(auditMachine(m)).toEqual([]);
      for (const at of [gpa(101), gpa(30), 0n, gpa(1 << 21), 1n << 60n])
        expect(yield* unmap(a.handle, at)).toBe(at === 0n ? GNTST.okay : GNTST.general_error);
      m.tlbCalls.length = 0;
      expect(yield* unmap(a.handle, gpa(100))).toBe(GNTST.okay);
      expect(m.tlbCalls).toContain(`tlb_flush_domain ${g.domid}`);
      expect([g.entry(100), flagsOf(8)]).toEqual([0, GTF.permit_access]);
      expect(yield* unmap(a.handle, gpa(100))).toBe(GNTST.bad_handle);
    });
    expect(auditMachine(m)).toEqual([]);
  });

  test('to read only, if it says so or is not allowed more', () => {
    grant(8, GTF.permit_access | GTF.readonly, g.domid, pv.mfns[30]);
    m.guest(function* () {
      expect((yield* map(8, gpa(100))).status).toBe(GNTST.general_error);
      expect(g.entry(100)).toBe(0);
      const r = yield* map(8, gpa(100), GNTMAP.host_map | GNTMAP.readonly);
      expect(g.entry(100) & 0xfff).toBe(GRANT_RO);
      // The hypervisor does not write there for it either.
      expect(yield* g.call(HYPERCALL.xen_version, 1, gpa(100))).toBe(-ERRNO.EFAULT);
      expect(yield* unmap(r.handle, gpa(100))).toBe(GNTST.okay);
    });
    expect(auditMachine(m)).toEqual([]);
  });

  test('the same twice, and the rights of one mapping do not outlive its references', () => {
    grant(8, GTF.permit_access, g.domid, pv.mfns[30]);
    m.guest(function* () {
      const rw = yield* map(8, gpa(100));
      const ro = yield* map(8, gpa(101), GNTMAP.host_map | GNTMAP.readonly);
      expect([rw.status, ro.status]).toEqual([0, 0]);
      expect(yield* unmap(rw.handle, gpa(101))).toBe(GNTST.general_error);
      expect(yield* unmap(ro.handle, gpa(100))).toBe(GNTST.general_error);
      expect(auditMachine(m)).toEqual([]);
      expect(yield* unmap(ro.handle, gpa(101))).toBe(GNTST.okay);
      expect(flagsOf(8)).toBe(GTF.permit_access | GTF.reading | GTF.writing);
      expect(yield* unmap(rw.handle, gpa(100))).toBe(GNTST.okay);
    });
    expect(auditMachine(m)).toEqual([]);
  });

  test('in no other way than Xen lets it', () => {
    grant(8, GTF.permit_access, g.domid, pv.mfns[30]);
    m.guest(function* () {
      for (const flag of [GNTMAP.contains_pte, GNTMAP.application_map, GNTMAP.device_map])
        expect((yield* map(8, gpa(100), GNTMAP.host_map | flag)).status).toBe(GNTST.general_error);
      for (const at of [gpa(1 << 21), 1n << 50n, (1n << 64n) - 4096n])
        expect((yield* map(8, at)).status).toBe(GNTST.general_error);
      expect([g.entry(100), flagsOf(8)]).toEqual([0, GTF.permit_access]);
    });
    expect(auditMachine(m)).toEqual([]);
  });

  test('over a page of its own, which it then has without a gfn', () => {
    grant(8, GTF.permit_access, g.domid, pv.mfns[30]);
    const old = g.mfn(40);
    m.guest(function* () {
      const r = yield* map(8, gpa(40));
      expect([r.status, g.mfn(40), g.gfnOf(old)]).toEqual([GNTST.okay, pv.mfns[30], INVALID_GFN]);
      expect(auditMachine(m)).toEqual([]);
      expect(yield* unmap(r.handle, gpa(40))).toBe(GNTST.okay);
      expect(g.entry(40)).toBe(0);
    });
    expect(auditMachine(m)).toEqual([]);
  });

  test('and what is mapped is none of its own', () => {
    grant(8, GTF.permit_access, g.domid, pv.mfns[30]);
    grant(9, GTF.permit_access, g.domid, ARG_GFN, m.grantFrame(g.domid));
    m.guest(function* () {
      const r = yield* map(8, gpa(100));
      // A frame of its own, by a grant to itself: the same.
      const own = yield* map(9, gpa(101), GNTMAP.host_map, g.domid);
      expect([r.status, own.status, g.mfn(101)]).toEqual([0, 0, g.mfn(ARG_GFN)]);
      for (const gfn of [100, 101]) {
        expect(yield* g.reservation(XENMEM.decrease_reservation, [gfn])).toBe(0);
        expect(yield* g.memoryOp(XENMEM.remove_from_physmap, AddToPhysmap, { size: 0, idx: gfn })).toBe(-ERRNO.ENOENT);
        const move = { space: XENMAPSPACE.gmfn, idx: gfn, gpfn: 300 };
        expect(yield* g.memoryOp(XENMEM.add_to_physmap, AddToPhysmap, move)).toBe(-ERRNO.EINVAL);
        const over = { space: XENMAPSPACE.shared_info, idx: 0, gpfn: gfn };
        expect(yield* g.memoryOp(XENMEM.add_to_physmap, AddToPhysmap, over)).toBe(-ERRNO.ENXIO);
        expect(m.dom0.foreign_map(g.domid, gfn)).toBe(0);
      }
      expect(auditMachine(m)).toEqual([]);
      expect(yield* unmap(r.handle, gpa(100))).toBe(GNTST.okay);
      expect(yield* unmap(own.handle, gpa(101))).toBe(GNTST.okay);
    });
    expect(auditMachine(m)).toEqual([]);
  });

  test('and if a page is put over it, the domain is at an end', () => {
    grant(8, GTF.permit_access, g.domid, pv.mfns[30]);
    m.guest(function* () {
      yield* map(8, gpa(100));
    });
    const list = m.list([100]);
    expect(m.reservation(XENMEM.populate_physmap, g.domid, list, 1, 0)).toBe(0);
    const { u } = m.domctl(DOMCTL.getdomaininfo, g.domid);
    expect(m.view.getUint32(u + DomctlGetdomaininfo.off.flags, true) & DOMINF.shutdown).not.toBe(0);
    expect(g.mfn(100)).toBe(pv.mfns[30]);
    expect(auditMachine(m)).toEqual([]);
    const free = m.freeFrames();
    m.destroyDomain(g.domid);
    expect(m.freeFrames()).toBeGreaterThan(free + 64);
    expect(flagsOf(8)).toBe(GTF.permit_access);
    expect(auditMachine(m)).toEqual([]);
  });

  test('page tables to read only, which the granting domain may then still have', () => {
    expect(m.mmuext(3, pv.l4, 0, pv.domid)).toBe(0);
    grant(8, GTF.permit_access, g.domid, pv.l1);
    grant(9, GTF.permit_access, g.domid, pv.mfns[30]);
    m.guest(function* () {
      expect((yield* map(8, gpa(100))).status).toBe(GNTST.general_error);
      expect((yield* map(8, gpa(100), GNTMAP.host_map | GNTMAP.readonly)).status).toBe(GNTST.okay);
      expect((yield* map(9, gpa(101))).status).toBe(GNTST.okay);
    });
    // A frame that it can write to becomes no page table.
    expect(m.mmuext(0, pv.mfns[30], 0, pv.domid)).toBeLessThan(0);
    expect(auditMachine(m)).toEqual([]);
    m.destroyDomain(g.domid);
    expect([flagsOf(8), flagsOf(9)]).toEqual([GTF.permit_access, GTF.permit_access]);
    expect(auditMachine(m)).toEqual([]);
  });
});

describe('an HVM container grants', () => {
  beforeEach(() => {
    table = m.grantFrame(g.domid);
  });

  test('its pages by gfn', () => {
    grant(8, GTF.permit_access, 0, 30);
    grant(9, GTF.permit_access, 0, g.mfn(31));
    grant(10, GTF.permit_access, 0, 0xffff_ffff);
    const r = dom0Map(8, GNTMAP.host_map, g.domid);
    expect(r).toMatchObject({ status: GNTST.okay, address: g.mfn(30) * PAGE });
    for (const ref of [9, 10]) {
      expect(dom0Map(ref, GNTMAP.host_map, g.domid).status).toBe(GNTST.bad_page);
      expect(flagsOf(ref)).toBe(GTF.permit_access);
    }
    expect(auditMachine(m)).toEqual([]);
    // The frame stays with the grant, whatever its gfn becomes.
    expect(m.reservation(XENMEM.decrease_reservation, g.domid, m.list([30]), 1, 0)).toBe(1);
    expect(m.reservation(XENMEM.populate_physmap, g.domid, m.list([30]), 1, 0)).toBe(1);
    const again = dom0Map(8, GNTMAP.host_map, g.domid);
    expect(again.address).toBe(r.address);
    expect(g.mfn(30) * PAGE).not.toBe(r.address);
    expect(auditMachine(m)).toEqual([]);
    m.destroyDomain(g.domid);
    expect(auditMachine(m)).toEqual([]);
    for (const { handle } of [r, again]) {
      const at = m.arg(GnttabUnmapGrantRef.size);
      putStruct(m.view, at, GnttabUnmapGrantRef, { handle });
      m.hypercall(HYPERCALL.grant_table_op, GNTTABOP.unmap_grant_ref, at, 1);
      expect(m.view.getInt16(at + GnttabUnmapGrantRef.off.status, true)).toBe(GNTST.okay);
    }
    expect(auditMachine(m)).toEqual([]);
  });

  test('to another, which copies between that and a page of its own', () => {
    const other = new HvmGuest(m);
    grant(8, GTF.permit_access, g.domid, 30, m.grantFrame(other.domid));
    m.view.setUint32(other.mfn(30) * PAGE + 64, 0x5eed, true);
    function* copy(gfn: number, to: boolean) {
      const s = GnttabCopy.off;
      const [theirs, mine] = to ? [s.dest, s.source] : [s.source, s.dest];
      putStruct(m.view, g.argHost, GnttabCopy, { len: 8, flags: to ? GNTCOPY.dest_gref : GNTCOPY.source_gref });
      putStruct(m.view, g.argHost + theirs, GnttabCopyPtr, { u: 8, domid: other.domid, offset: 64 });
      putStruct(m.view, g.argHost + mine, GnttabCopyPtr, { u: gfn, domid: SELF, offset: 128 });
      expect(yield* g.call(HYPERCALL.grant_table_op, GNTTABOP.copy, gpa(ARG_GFN), 1)).toBe(0);
      return m.view.getInt16(g.argHost + s.status, true);
    }
    m.guest(function* () {
      expect(yield* copy(40, false)).toBe(GNTST.okay);
      expect(m.view.getUint32(g.mfn(40) * PAGE + 128, true)).toBe(0x5eed);
      m.view.setUint32(g.mfn(41) * PAGE + 128, 0xfeed, true);
      expect(yield* copy(41, true)).toBe(GNTST.okay);
      expect(m.view.getUint32(other.mfn(30) * PAGE + 64, true)).toBe(0xfeed);
      for (const gfn of [g.mfn(40), 64, 1 << 21]) expect(yield* copy(gfn, false)).toBe(GNTST.bad_page);
    });
    expect(auditMachine(m)).toEqual([]);
  });

  test('by a table that it puts where it likes', () => {
    m.guest(function* () {
      function* setup() {
        const fields = { dom: SELF, nr_frames: 2, frame_list: gpa(ARG_GFN, 512) };
        expect(yield* g.with(HYPERCALL.grant_table_op, GNTTABOP.setup_table, GnttabSetupTable, fields, 1)).toBe(0);
        expect(m.view.getInt16(g.argHost + GnttabSetupTable.off.status, true)).toBe(GNTST.okay);
        return [0, 8].map((i) => m.view.getBigUint64(g.argHost + 512 + i, true));
      }
      expect(yield* setup()).toEqual([INVALID_GFN, INVALID_GFN]);
      const place = { space: XENMAPSPACE.grant_table, idx: 1, gpfn: 200 };
      expect(yield* g.memoryOp(XENMEM.add_to_physmap, AddToPhysmap, place)).toBe(0);
      expect(yield* setup()).toEqual([INVALID_GFN, 200n]);
    });
  });
});

test('operations that Xen does not give to HVM', () => {
  m.guest(function* () {
    for (const name of ['transfer', 'unmap_and_replace', 'get_status_frames', 'cache_flush', 'dump_table'] as const)
      expect([name, yield* g.call(HYPERCALL.grant_table_op, GNTTABOP[name], gpa(ARG_GFN), 1)]).toEqual([
        name,
        -ERRNO.ENOSYS,
      ]);
  });
});

test('nobody transfers a page to an HVM container', () => {
  m = new MmMachine();
  pv = makeGuest(m);
  const to = new HvmGuest(m);
  const frame = m.grantFrame(to.domid);
  grant(8, GTF.accept_transfer, pv.domid, 100, frame);
  start(m, pv);
  const c = new GuestCalls(m, pv);
  m.guest(function* () {
    // It is mapped no more, but is the domain's.
    expect(yield* c.mmuUpdate(pv.l1 * PAGE + 30 * 8, 0n)).toBe(0);
    putStruct(m.view, c.argHost, GnttabTransfer, { mfn: pv.mfns[30], domid: to.domid, ref: 8 });
    expect(yield* c.call(HYPERCALL.grant_table_op, GNTTABOP.transfer, va(PV_ARG_PAGE), 1)).toBe(0);
    expect(m.view.getInt16(c.argHost + GnttabTransfer.off.status, true)).toBe(GNTST.general_error);
  });
  expect(flagsOf(8, frame)).toBe(GTF.accept_transfer);
  expect(to.entry(100)).toBe(0);
  expect(auditMachine(m)).toEqual([]);
});
