/** memory_op (public/memory.h). */
import {
  E820Entry,
  ForeignMemoryMap,
  MachphysMfnList,
  MemAcquireResource,
  MemoryDomain,
  MemoryMap,
  MemoryReservation,
  XENMEM,
} from '../../../abi/memory.ts';
import { HYPERCALL } from '../../../abi/xen.ts';
import type { Hypercalls } from '../hypercalls.ts';

/** One range of a memory map, in bytes; `type`: E820. */
export interface MemoryRange {
  readonly addr: number;
  readonly size: number;
  readonly type: number;
}

const split = (bytes: number) => ({ lo: bytes % 2 ** 32, hi: Math.floor(bytes / 2 ** 32) });

/** Frames named in one call. */
const BATCH = 16384;

export class MemoryCalls {
  private readonly xen: Hypercalls;

  constructor(xen: Hypercalls) {
    this.xen = xen;
  }

  /**
   * Gives the domain memory: an extent of 2^order frames at each pfn. Returns the first frame of each extent that was
   * allocated; fewer than asked when memory (the domain's limit, or the machine's) ran out. A domain whose frame numbers
   * are translated (PVH) is given them at its own gfns, and of what is returned only the length means something.
   */
  populatePhysmap(domid: number, pfns: ArrayLike<number>, order = 0): Uint32Array {
    const mfns = new Uint32Array(pfns.length);
    for (let done = 0; done < pfns.length; ) {
      const n = Math.min(BATCH, pfns.length - done);
      const got = this.xen.scratch((s) => {
        const r = s.struct(MemoryReservation);
        const list = s.bytes(n * 8);
        const words = new BigUint64Array(this.xen.memory.buffer, list, n);
        for (let i = 0; i < n; i++) words[i] = BigInt(pfns[done + i]);
        r.set('extent_start', list).set('nr_extents', n).set('extent_order', order).set('domid', domid);
        const count = Number(
          this.xen.call(`populate_physmap of domain ${domid}`, HYPERCALL.memory_op, XENMEM.populate_physmap, r.address),
        );
        for (let i = 0; i < count; i++) mfns[done + i] = Number(words[i]);
        return count;
      });
      done += got;
      if (got < n) return mfns.subarray(0, done);
    }
    return mfns;
  }

  /**
   * Gives the domain (DOMID.SELF: the caller, whose pages lie at mfn * 4096 for it) `count` extents of 2^order frames in a
   * row. Returns the first frame of each; fewer than asked when memory or the domain's limit ran out.
   */
  increaseReservation(domid: number, count: number, order = 0): Uint32Array {
    const mfns = new Uint32Array(count);
    for (let done = 0; done < count; ) {
      const n = Math.min(BATCH, count - done);
      const got = this.xen.scratch((s) => {
        const r = s.struct(MemoryReservation);
        const list = s.bytes(n * 8);
        r.set('extent_start', list).set('nr_extents', n).set('extent_order', order).set('domid', domid);
        const what = `increase_reservation of domain ${domid}`;
        const given = Number(this.xen.call(what, HYPERCALL.memory_op, XENMEM.increase_reservation, r.address));
        for (let i = 0; i < given; i++) mfns[done + i] = Number(this.xen.memory.view.getBigUint64(list + i * 8, true));
        return given;
      });
      done += got;
      if (got < n) return mfns.subarray(0, done);
    }
    return mfns;
  }

  /** Frees frames of the domain; returns how many were freed. */
  decreaseReservation(domid: number, gmfns: ArrayLike<number>, order = 0): number {
    let done = 0;
    while (done < gmfns.length) {
      const n = Math.min(BATCH, gmfns.length - done);
      const got = this.xen.scratch((s) => {
        const r = s.struct(MemoryReservation);
        r.set('extent_start', s.u64s(Array.from({ length: n }, (_, i) => gmfns[done + i])));
        r.set('nr_extents', n).set('extent_order', order).set('domid', domid);
        const what = `decrease_reservation of domain ${domid}`;
        return Number(this.xen.call(what, HYPERCALL.memory_op, XENMEM.decrease_reservation, r.address));
      });
      done += got;
      if (got < n) break;
    }
    return done;
  }

  /** First frame of each 2 MiB of the machine-to-physical table, which has 8 bytes a frame. */
  machphysMfnList(): number[] {
    const MAX_EXTENTS = 64;
    return this.xen.scratch((s) => {
      const list = s.bytes(MAX_EXTENTS * 8);
      const a = s.struct(MachphysMfnList).set('max_extents', MAX_EXTENTS).set('extent_start', list);
      this.xen.call('machphys_mfn_list', HYPERCALL.memory_op, XENMEM.machphys_mfn_list, a.address);
      const extents = a.get('nr_extents');
      return Array.from({ length: extents }, (_, i) => Number(this.xen.memory.view.getBigUint64(list + i * 8, true)));
    });
  }

  /** Highest frame number of the machine. */
  maximumRamPage(): number {
    return Number(this.xen.call('maximum_ram_page', HYPERCALL.memory_op, XENMEM.maximum_ram_page, 0));
  }

  /** Frames that the domain has. */
  currentReservation(domid: number): number {
    return this.ofDomain('current_reservation', domid);
  }

  maximumReservation(domid: number): number {
    return this.ofDomain('maximum_reservation', domid);
  }

  /** The memory map that the domain is told of (XENMEM_memory_map). */
  setMemoryMap(domid: number, map: readonly MemoryRange[]): void {
    this.xen.scratch((s) => {
      const buffer = s.bytes(map.length * E820Entry.size);
      map.forEach(({ addr, size, type }, i) => {
        const [a, n] = [split(addr), split(size)];
        this.xen.memory
          .struct(buffer + i * E820Entry.size, E820Entry)
          .set('addr_lo', a.lo)
          .set('addr_hi', a.hi)
          .set('size_lo', n.lo)
          .set('size_hi', n.hi)
          .set('type', type);
      });
      const a = s.struct(ForeignMemoryMap).set('domid', domid);
      a.nested('map', MemoryMap).set('nr_entries', map.length).set('buffer', buffer);
      this.xen.call(`set_memory_map of domain ${domid}`, HYPERCALL.memory_op, XENMEM.set_memory_map, a.address);
    });
  }

  private ofDomain(op: 'current_reservation' | 'maximum_reservation', domid: number): number {
    return this.xen.scratch((s) => {
      const d = s.struct(MemoryDomain).set('domid', domid);
      return Number(this.xen.call(`${op} of domain ${domid}`, HYPERCALL.memory_op, XENMEM[op], d.address));
    });
  }

  /** Frames `first` to `first + count - 1` of a resource (XENMEM_resource) of the domain. */
  acquireResource(domid: number, type: number, id: number, first: number, count: number): number[] {
    return this.xen.scratch((s) => {
      const r = s.struct(MemAcquireResource);
      const list = s.bytes(count * 8);
      r.set('domid', domid).set('type', type).set('id', id).set('frame', first);
      r.set('nr_frames', count).set('frame_list', list);
      const what = `acquire_resource of domain ${domid}`;
      this.xen.call(what, HYPERCALL.memory_op, XENMEM.acquire_resource, r.address);
      return Array.from({ length: count }, (_, i) => Number(this.xen.memory.view.getBigUint64(list + i * 8, true)));
    });
  }
}
