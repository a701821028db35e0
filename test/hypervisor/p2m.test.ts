/** The memory of HVM containers: a p2m that says what their frame numbers name (docs/decisions/0022-pvh.md). */
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { DOMCTL, DomctlGetdomaininfo, DomctlGetpageframeinfo3 } from '../../src/abi/domctl.ts';
import { ERRNO } from '../../src/abi/errno.ts';
import { EVTCHNOP, EvtchnExpandArray, EvtchnInitControl } from '../../src/abi/event_channel.ts';
import { XENFEAT } from '../../src/abi/features.ts';
import { GNTTABOP, GnttabSetVersion } from '../../src/abi/grant_table.ts';
import {
  AddToPhysmap,
  AddToPhysmapBatch,
  E820Entry,
  ForeignMemoryMap,
  MemAcquireResource,
  MemoryExchange,
  MemoryMap,
  MemoryReservation,
  PodTarget,
  RemoveFromPhysmap,
  XENMAPIDX_grant_table_status,
  XENMAPSPACE,
  XENMEM,
} from '../../src/abi/memory.ts';
import { VCPUOP, VcpuRegisterVcpuInfo } from '../../src/abi/vcpu.ts';
import { FeatureInfo, XENVER } from '../../src/abi/version.ts';
import { HYPERCALL } from '../../src/abi/xen.ts';
import { ARG_GFN, auditMachine, type Fields, gpa, HvmGuest, INVALID_GFN, putStruct } from './hvm-guest.ts';
import { MmMachine, makeGuest, P, PAGE, pte } from './mm-machine.ts';

/** gfns are below this. */
const END = 1 << 21;
const R_W_RAM = 0x13;

let m: MmMachine;
let before: number;
let g: HvmGuest;

beforeEach(() => {
  m = new MmMachine();
  before = m.freeFrames();
  g = new HvmGuest(m);
});

const op = (cmd: number, s: Parameters<typeof putStruct>[2], fields: Fields) => {
  const at = m.arg(s.size);
  putStruct(m.view, at, s, fields);
  return m.hypercall(HYPERCALL.memory_op, cmd, at);
};
const populate = (gfns: (number | bigint)[], order = 0, cmd: number = XENMEM.populate_physmap) =>
  m.reservation(cmd, g.domid, m.list(gfns), gfns.length, order);
const decrease = (...gfns: (number | bigint)[]) => populate(gfns, 0, XENMEM.decrease_reservation);
const add = (space: number, idx: number | bigint, gpfn: number | bigint, size = 0) =>
  op(XENMEM.add_to_physmap, AddToPhysmap, { domid: g.domid, size, space, idx, gpfn });
const remove = (gpfn: number | bigint) => op(XENMEM.remove_from_physmap, RemoveFromPhysmap, { domid: g.domid, gpfn });
const reserved = (cmd: number = XENMEM.current_reservation) => {
  const at = m.arg(2);
  m.view.setUint16(at, g.domid, true);
  return m.hypercall(HYPERCALL.memory_op, cmd, at);
};
const foreignMap = (gfn: number) => Number(m.dom0.foreign_map(g.domid, gfn)) >>> 0;

describe('the control domain', () => {
  test('gives a domain memory at gfns of its own', () => {
    for (let gfn = 0; gfn < 64; gfn++) {
      expect(g.entry(gfn) & 0xfff).toBe(R_W_RAM);
      expect(g.gfnOf(g.mfn(gfn))).toBe(BigInt(gfn));
    }
    // The list is not told the frames.
    const list = m.list([1000, 1032]);
    expect(m.reservation(XENMEM.populate_physmap, g.domid, list, 2, 5)).toBe(2);
    expect(m.view.getBigUint64(list, true)).toBe(1000n);
    for (let i = 0; i < 32; i++) expect(g.mfn(1000 + i)).toBe(g.mfn(1000) + i);
    expect(g.gfnOf(g.mfn(1031))).toBe(1031n);
    expect(reserved()).toBe(128);
    expect(reserved(XENMEM.maximum_gpfn)).toBe(1063);
    expect(auditMachine(m)).toEqual([]);
  });

  test('has nothing lost where there are no gfns, or no room', () => {
    const free = m.freeFrames();
    for (const gfn of [END, END * 2, 1n << 32n, (1n << 64n) - 1n]) expect(populate([gfn])).toBe(0);
    expect(populate([END - 16], 5)).toBe(0);
    expect(m.freeFrames()).toBe(free);
    expect(reserved()).toBe(64);
    expect(populate([END - 1])).toBe(1);
    expect(populate([0], 7)).toBe(0);
    expect(populate([0], 60)).toBe(0);
    expect(reserved()).toBe(65);
    expect(auditMachine(m)).toEqual([]);
  });

  test('gets at pages by their gfns, and holds the frame itself', () => {
    const mfn = g.mfn(30);
    const at = foreignMap(30);
    expect(at).toBe(mfn * PAGE);
    expect(m.dom0.foreign_page(g.domid, 30)).toBe(at);
    m.view.setUint32(at, 0x1234, true);
    expect(auditMachine(m, [mfn])).toEqual([]);
    const free = m.freeFrames();
    expect(decrease(30)).toBe(1);
    // It is gone from the guest, but is not free.
    expect([g.entry(30), m.freeFrames(), m.view.getUint32(at, true)]).toEqual([0, free, 0x1234]);
    expect([foreignMap(30), m.dom0.foreign_page(g.domid, 30)]).toEqual([0, 0]);
    m.dom0.foreign_unmap(mfn);
    expect(m.freeFrames()).toBe(free + 1);
    for (const gfn of [mfn, 64, 0xffff_ffff, END]) expect(foreignMap(gfn)).toBe(0);
    expect(auditMachine(m)).toEqual([]);
  });

  test('takes pages back once', () => {
    const free = m.freeFrames();
    expect(decrease(5, 6, 7)).toBe(3);
    expect(m.freeFrames()).toBe(free + 3);
    expect(decrease(5)).toBe(0);
    expect(decrease(4, 5, 8)).toBe(1);
    expect(g.mfn(8)).not.toBe(0);
    for (const gfn of [END, 1n << 40n, (1n << 64n) - 1n]) expect(decrease(gfn)).toBe(0);
    expect(populate([5])).toBe(1);
    expect(reserved()).toBe(61);
    expect(auditMachine(m)).toEqual([]);
  });

  test('puts a page over another, which the domain still has but cannot name', () => {
    const old = g.mfn(9);
    expect(populate([9])).toBe(1);
    expect(g.mfn(9)).not.toBe(old);
    expect(g.gfnOf(old)).toBe(INVALID_GFN);
    expect(reserved()).toBe(65);
    expect(auditMachine(m)).toEqual([]);
    m.destroyDomain(g.domid);
    expect(m.freeFrames()).toBe(before);
  });

  test('allocates pages without a gfn', () => {
    expect(populate([0], 0, XENMEM.increase_reservation)).toBe(1);
    expect(reserved()).toBe(65);
    expect(auditMachine(m)).toEqual([]);
  });

  test('has back all of the machine’s memory when the domain ends', () => {
    expect(populate([1 << 20, END - 1, 4000])).toBe(3);
    expect(add(XENMAPSPACE.shared_info, 0, 100)).toBe(0);
    expect(add(XENMAPSPACE.grant_table, 3, 101)).toBe(0);
    m.destroyDomain(g.domid);
    expect(m.freeFrames()).toBe(before);
    expect(auditMachine(m)).toEqual([]);
  });

  test('cannot have page tables among its pages, nor change them as such', () => {
    const mfn = g.mfn(9);
    expect(m.mmuext(0, mfn, 0, g.domid)).toBe(-ERRNO.ESRCH);
    expect(m.mmuUpdate(g.domid, [mfn * PAGE, pte(mfn, P)]).rc).toBeLessThan(0);
    expect(m.mmuUpdate(g.domid, [BigInt(mfn * PAGE) | 1n, 77n]).rc).toBeLessThan(0);
    expect(m.setVcpuContext(g.domid, mfn, 0n)).toBeLessThan(0);
    expect(g.gfnOf(mfn)).toBe(9n);
    expect(auditMachine(m)).toEqual([]);
  });

  test('learns of it what Xen says of a translated domain', () => {
    const info = (field: keyof typeof DomctlGetdomaininfo.off) => {
      const { u } = m.domctl(DOMCTL.getdomaininfo, g.domid);
      return m.view.getBigUint64(u + DomctlGetdomaininfo.off[field], true);
    };
    expect(info('shared_info_frame')).toBe(INVALID_GFN);
    expect(add(XENMAPSPACE.shared_info, 0, 70)).toBe(0);
    expect(info('shared_info_frame')).toBe(70n);
    const types = m.list([5, 70, 71, g.mfn(5), END]);
    const { rc } = m.domctl(DOMCTL.getpageframeinfo3, g.domid, (u) => {
      m.view.setBigUint64(u + DomctlGetpageframeinfo3.off.num, 5n, true);
      m.view.setBigUint64(u + DomctlGetpageframeinfo3.off.array, BigInt(types), true);
    });
    const none = 0xf000_0000n;
    expect(rc).toBe(0);
    expect(Array.from({ length: 5 }, (_, i) => m.view.getBigUint64(types + i * 8, true))).toEqual([
      0n,
      none,
      none,
      none,
      none,
    ]);
    const at = m.arg(PodTarget.size);
    putStruct(m.view, at, PodTarget, { domid: g.domid, target_pages: 64 });
    expect(m.hypercall(HYPERCALL.memory_op, XENMEM.set_pod_target, at)).toBe(0);
    expect(m.view.getBigUint64(at + PodTarget.off.tot_pages, true)).toBe(64n);
  });
});

describe('add_to_physmap', () => {
  test('puts the hypervisor’s pages where they are wanted, in one place each', () => {
    expect(add(XENMAPSPACE.shared_info, 0, 100)).toBe(0);
    const shared = g.mfn(100);
    expect(shared).toBe(g.field('shared_info_mfn'));
    expect(add(XENMAPSPACE.shared_info, 0, 101)).toBe(0);
    expect([g.mfn(100), g.mfn(101), g.gfnOf(shared)]).toEqual([0, shared, 101n]);
    for (const i of [0, 3]) expect(add(XENMAPSPACE.grant_table, i, 102 + i)).toBe(0);
    expect(g.mfn(102)).toBe(m.grantFrame(g.domid));
    for (const i of [4, 0x7fff_ffff, XENMAPIDX_grant_table_status, 1n << 33n])
      expect(add(XENMAPSPACE.grant_table, i, 110)).toBe(-ERRNO.EINVAL);
    expect(add(XENMAPSPACE.shared_info, 1, 110)).toBe(-ERRNO.EINVAL);
    expect(auditMachine(m)).toEqual([]);
  });

  test('gives up what was there, but not what is the hypervisor’s', () => {
    const free = m.freeFrames();
    expect(add(XENMAPSPACE.shared_info, 0, 10)).toBe(0);
    expect([reserved(), m.freeFrames()]).toEqual([63, free + 1]);
    expect(add(XENMAPSPACE.grant_table, 0, 10)).toBe(0);
    expect([reserved(), g.mfn(10)]).toEqual([63, m.grantFrame(g.domid)]);
    expect(g.gfnOf(g.field('shared_info_mfn'))).toBe(INVALID_GFN);
    expect(add(XENMAPSPACE.shared_info, 0, 11)).toBe(0);
    expect(auditMachine(m)).toEqual([]);
  });

  test('moves the domain’s own pages', () => {
    const mfn = g.mfn(5);
    expect(add(XENMAPSPACE.gmfn, 5, 200)).toBe(0);
    expect([g.mfn(5), g.mfn(200), g.gfnOf(mfn)]).toEqual([0, mfn, 200n]);
    expect(add(XENMAPSPACE.gmfn, 200, 200)).toBe(0);
    expect(add(XENMAPSPACE.gmfn, 5, 201)).toBe(-ERRNO.EINVAL);
    expect(add(XENMAPSPACE.gmfn, 200, END)).toBe(-ERRNO.EINVAL);
    expect(g.mfn(200)).toBe(mfn);
    // Over another, which is freed.
    expect(add(XENMAPSPACE.gmfn, 200, 6)).toBe(0);
    expect(reserved()).toBe(63);
    expect(add(XENMAPSPACE.gmfn_range, 30, 2000, 20)).toBe(0);
    expect([g.mfn(30), g.mfn(49), g.mfn(50)].map(Boolean)).toEqual([false, false, true]);
    expect(Array.from({ length: 20 }, (_, i) => g.gfnOf(g.mfn(2000 + i)))).toEqual(
      Array.from({ length: 20 }, (_, i) => BigInt(2000 + i)),
    );
    expect(add(XENMAPSPACE.gmfn_range, 50, (1n << 64n) - 4n, 20)).toBe(-ERRNO.EOVERFLOW);
    expect(auditMachine(m)).toEqual([]);
  });

  test('in batches, each with its own answer', () => {
    const idxs = m.list([0, 4, 1]);
    const gpfns = m.list([300, 301, 302]);
    const errs = m.arg(12);
    const at = m.arg(AddToPhysmapBatch.size);
    const fields = { domid: g.domid, space: XENMAPSPACE.grant_table, size: 3, idxs, gpfns, errs };
    putStruct(m.view, at, AddToPhysmapBatch, fields);
    expect(m.hypercall(HYPERCALL.memory_op, XENMEM.add_to_physmap_batch, at)).toBe(0);
    expect([0, 4, 8].map((i) => m.view.getInt32(errs + i, true))).toEqual([0, -ERRNO.EINVAL, 0]);
    expect([300, 301, 302].map((gfn) => g.mfn(gfn) !== 0)).toEqual([true, false, true]);
    const batch = (more: Fields) => op(XENMEM.add_to_physmap_batch, AddToPhysmapBatch, { ...fields, ...more });
    expect(batch({ space: XENMAPSPACE.gmfn_foreign })).toBe(0);
    expect(m.view.getInt32(errs, true)).toBe(-ERRNO.EPERM);
    expect(batch({ space: XENMAPSPACE.gmfn_range })).toBe(-ERRNO.EOPNOTSUPP);
    expect(batch({ space: XENMAPSPACE.dev_mmio })).toBe(-ERRNO.EACCES);
    expect(batch({ idxs: 1n << 60n })).toBe(-ERRNO.EFAULT);
    expect(batch({ size: 0 })).toBe(0);
  });

  test('is for translated domains, and who may act on them', () => {
    const pv = makeGuest(m);
    const ask = (domid: number, space: number) =>
      op(XENMEM.add_to_physmap, AddToPhysmap, { domid, space, idx: 0, gpfn: 100 });
    expect(ask(pv.domid, XENMAPSPACE.shared_info)).toBe(-ERRNO.EACCES);
    expect(ask(77, XENMAPSPACE.shared_info)).toBe(-ERRNO.ESRCH);
    expect(ask(g.domid, XENMAPSPACE.gmfn_foreign)).toBe(-ERRNO.ENOSYS);
    const other = new HvmGuest(m);
    g.start();
    m.guest(function* () {
      const domid = other.domid;
      expect(yield* g.memoryOp(XENMEM.add_to_physmap, AddToPhysmap, { domid, gpfn: 9 })).toBe(-ERRNO.EPERM);
      expect(yield* g.memoryOp(XENMEM.remove_from_physmap, RemoveFromPhysmap, { domid, gpfn: 9 })).toBe(-ERRNO.EPERM);
      expect(yield* g.memoryOp(XENMEM.decrease_reservation, MemoryReservation, { domid, nr_extents: 1 })).toBe(0);
    });
    expect(other.mfn(9)).not.toBe(0);
  });
});

test('remove_from_physmap leaves the page with the domain', () => {
  const mfn = g.mfn(12);
  expect(remove(12)).toBe(0);
  expect([g.mfn(12), reserved(), g.gfnOf(mfn)]).toEqual([0, 64, INVALID_GFN]);
  for (const gfn of [12, END, (1n << 64n) - 1n]) expect(remove(gfn)).toBe(-ERRNO.ENOENT);
  expect(add(XENMAPSPACE.shared_info, 0, 12)).toBe(0);
  expect(remove(12)).toBe(0);
  expect(auditMachine(m)).toEqual([]);
});

test('exchange is refused, and takes nothing', () => {
  const list = m.list([5]);
  const part = { extent_start: list, nr_extents: 1, domid: g.domid };
  const at = m.arg(MemoryExchange.size);
  for (const f of ['in', 'out'] as const) putStruct(m.view, at + MemoryExchange.off[f], MemoryReservation, part);
  expect(m.hypercall(HYPERCALL.memory_op, XENMEM.exchange, at)).toBe(-ERRNO.EOPNOTSUPP);
  expect([g.gfnOf(g.mfn(5)), reserved()]).toEqual([5n, 64]);
  expect(auditMachine(m)).toEqual([]);
});

describe('the guest', () => {
  beforeEach(() => g.start());
  const flushes = () => m.tlbCalls.filter((c) => c === `tlb_flush_domain ${g.domid}`).length;

  test('changes its own memory, and no translation of what is gone is left', () => {
    m.guest(function* () {
      m.tlbCalls.length = 0;
      expect(yield* g.reservation(XENMEM.populate_physmap, [500, 501])).toBe(2);
      // Nothing was there.
      expect(flushes()).toBe(0);
      expect(yield* g.reservation(XENMEM.decrease_reservation, [500, 40, 41])).toBe(3);
      expect(flushes()).toBe(1);
      m.tlbCalls.length = 0;
      expect(yield* g.reservation(XENMEM.populate_physmap, [501, 40])).toBe(2);
      expect(flushes()).toBe(1);
      m.tlbCalls.length = 0;
      expect(yield* g.memoryOp(XENMEM.add_to_physmap, AddToPhysmap, { space: 2, idx: 42, gpfn: 43 })).toBe(0);
      expect(yield* g.memoryOp(XENMEM.remove_from_physmap, RemoveFromPhysmap, { gpfn: 43 })).toBe(0);
      expect(flushes()).toBe(2);
    });
    expect(auditMachine(m)).toEqual([]);
  });

  test('is stopped in a long call, and goes on with it', () => {
    m.busy = true;
    m.guest(function* () {
      const gfns = Array.from({ length: 12 }, (_, i) => 600 + i);
      expect(yield* g.reservation(XENMEM.populate_physmap, gfns)).toBe(12);
      expect(m.continuations).toBe(11);
      expect(yield* g.memoryOp(XENMEM.add_to_physmap, AddToPhysmap, { space: 3, idx: 600, gpfn: 700, size: 12 })).toBe(
        0,
      );
      expect(m.continuations).toBe(22);
      for (let i = 0; i < 12; i++) {
        m.view.setBigUint64(g.argHost + 1024 + i * 8, BigInt(700 + i), true);
        m.view.setBigUint64(g.argHost + 2048 + i * 8, BigInt(800 + i), true);
      }
      const fields = {
        space: 2,
        size: 12,
        idxs: gpa(ARG_GFN, 1024),
        gpfns: gpa(ARG_GFN, 2048),
        errs: gpa(ARG_GFN, 3072),
      };
      expect(yield* g.memoryOp(XENMEM.add_to_physmap_batch, AddToPhysmapBatch, fields)).toBe(0);
      expect(m.continuations).toBe(33);
      expect(g.mfn(811)).not.toBe(0);
    });
    expect(auditMachine(m)).toEqual([]);
  });

  test('has the calls of Xen’s table for HVM', () => {
    const pvOnly = [
      'set_trap_table',
      'mmu_update',
      'set_gdt',
      'stack_switch',
      'set_callbacks',
      'fpu_taskswitch',
      'sched_op_compat',
      'set_debugreg',
      'get_debugreg',
      'update_descriptor',
      'update_va_mapping',
      'update_va_mapping_otherdomain',
      'set_segment_base',
      'mmuext_op',
      'nmi_op',
      'callback_op',
      'physdev_op',
    ] as const;
    m.guest(function* () {
      for (const name of pvOnly) {
        expect([name, yield* g.call(HYPERCALL[name], 0, 0, 0, 0, 0)]).toEqual([name, -ERRNO.ENOSYS]);
      }
      expect(yield* g.call(HYPERCALL.xenpmu_op, 0, 0)).toBe(-ERRNO.EOPNOTSUPP);
      for (const cmd of [XENMEM.machine_memory_map, XENMEM.machphys_mapping])
        expect(yield* g.call(HYPERCALL.memory_op, cmd, gpa(ARG_GFN))).toBe(-ERRNO.ENOSYS);
      expect(yield* g.memoryOp(XENMEM.acquire_resource, MemAcquireResource, { domid: 0 })).toBe(-ERRNO.EACCES);
      expect(yield* g.call(HYPERCALL.vm_assist, 0, 5)).toBe(0);
      for (const type of [0, 1, 2, 3, 4, 32]) expect(yield* g.call(HYPERCALL.vm_assist, 0, type)).toBe(-ERRNO.EINVAL);
      expect(yield* g.with(HYPERCALL.xen_version, XENVER.get_features, FeatureInfo, { submap_idx: 0 })).toBe(0);
      const has = [
        'writable_page_tables',
        'auto_translated_physmap',
        'hvm_callback_vector',
        'hvm_safe_pvclock',
        'memory_op_vnode_supported',
        'not_direct_mapped',
      ] as const;
      expect(g.u32(FeatureInfo.off.submap)).toBe(has.reduce((x, f) => x | (1 << XENFEAT[f]), 0));
    });
  });

  test('is told the memory map that it was given', () => {
    const entry = m.arg(E820Entry.size);
    putStruct(m.view, entry, E820Entry, { addr_lo: 0, size_lo: 0x40000, type: 1 });
    const at = m.arg(ForeignMemoryMap.size);
    m.view.setUint16(at + ForeignMemoryMap.off.domid, g.domid, true);
    putStruct(m.view, at + ForeignMemoryMap.off.map, MemoryMap, { nr_entries: 1, buffer: entry });
    expect(m.hypercall(HYPERCALL.memory_op, XENMEM.set_memory_map, at)).toBe(0);
    m.guest(function* () {
      const fields = { nr_entries: 8, buffer: gpa(ARG_GFN, 512) };
      expect(yield* g.with(HYPERCALL.memory_op, XENMEM.memory_map, MemoryMap, fields)).toBe(0);
      expect([g.u32(MemoryMap.off.nr_entries), g.u32(512 + E820Entry.off.size_lo)]).toEqual([1, 0x40000]);
    });
  });

  test('gives the pages of its event channels and vcpu_info by gfn', () => {
    const frames = [30, 31, 32].map((gfn) => g.mfn(gfn));
    m.guest(function* () {
      const control = { control_gfn: 30, offset: 64, vcpu: 0 };
      for (const gfn of [END, frames[0], (1n << 64n) - 1n])
        expect(
          yield* g.with(HYPERCALL.event_channel_op, EVTCHNOP.init_control, EvtchnInitControl, {
            ...control,
            control_gfn: gfn,
          }),
        ).toBe(-ERRNO.EINVAL);
      expect(yield* g.with(HYPERCALL.event_channel_op, EVTCHNOP.init_control, EvtchnInitControl, control)).toBe(0);
      const array = { array_gfn: 31 };
      expect(yield* g.with(HYPERCALL.event_channel_op, EVTCHNOP.expand_array, EvtchnExpandArray, array)).toBe(0);
      putStruct(m.view, g.argHost, VcpuRegisterVcpuInfo, { mfn: frames[2], offset: 128 });
      expect(yield* g.call(HYPERCALL.vcpu_op, VCPUOP.register_vcpu_info, 0, gpa(ARG_GFN))).toBe(-ERRNO.EINVAL);
      putStruct(m.view, g.argHost, VcpuRegisterVcpuInfo, { mfn: 32, offset: 128 });
      expect(yield* g.call(HYPERCALL.vcpu_op, VCPUOP.register_vcpu_info, 0, gpa(ARG_GFN))).toBe(0);
      // evtchn_upcall_pending: the guest is to look.
      expect(m.bytes[frames[2] * PAGE + 128]).toBe(1);
      // Giving them up does not take them from the hypervisor.
      expect(yield* g.reservation(XENMEM.decrease_reservation, [30, 31, 32])).toBe(3);
    });
    expect(reserved()).toBe(64);
    expect(auditMachine(m)).toEqual([]);
    m.destroyDomain(g.domid);
    expect(m.freeFrames()).toBe(before);
  });

  test('loses its status frames with the second version of the grant table', () => {
    m.guest(function* () {
      const version = (n: number) =>
        g.with(HYPERCALL.grant_table_op, GNTTABOP.set_version, GnttabSetVersion, { version: n }, 1);
      expect(yield* version(2)).toBe(0);
      const status = { space: XENMAPSPACE.grant_table, idx: XENMAPIDX_grant_table_status, gpfn: 400 };
      expect(yield* g.memoryOp(XENMEM.add_to_physmap, AddToPhysmap, status)).toBe(0);
      const mfn = g.mfn(400);
      expect(mfn).not.toBe(0);
      m.tlbCalls.length = 0;
      expect(yield* version(1)).toBe(0);
      expect([g.entry(400), g.gfnOf(mfn), flushes()]).toEqual([0, INVALID_GFN, 1]);
      expect(yield* g.memoryOp(XENMEM.add_to_physmap, AddToPhysmap, status)).toBe(-ERRNO.EINVAL);
    });
    expect(auditMachine(m)).toEqual([]);
  });
});

test('whatever is asked, every frame is accounted for', () => {
  const gfn = fc.oneof(fc.integer({ min: 0, max: 70 }), fc.constantFrom(1023, 1024, END - 1, END, -1));
  const step = fc.tuple(fc.integer({ min: 0, max: 6 }), gfn, gfn, fc.integer({ min: 0, max: 3 }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      m = new MmMachine();
      before = m.freeFrames();
      g = new HvmGuest(m);
      const big = (n: number) => BigInt.asUintN(64, BigInt(n));
      for (const [kind, a, b, n] of steps) {
        if (kind === 0) populate([big(a), big(b)], n);
        else if (kind === 1) populate([big(a), big(b)], n, XENMEM.decrease_reservation);
        else if (kind === 2) add(XENMAPSPACE.gmfn, big(a), big(b));
        else if (kind === 3) add(XENMAPSPACE.grant_table, n, big(b));
        else if (kind === 4) add(XENMAPSPACE.shared_info, 0, big(b));
        else if (kind === 5) add(XENMAPSPACE.gmfn_range, big(a), big(b), 20);
        else remove(big(a));
      }
      expect(auditMachine(m)).toEqual([]);
      m.destroyDomain(g.domid);
      expect(m.freeFrames()).toBe(before);
    }),
    { numRuns: 30 },
  );
});
