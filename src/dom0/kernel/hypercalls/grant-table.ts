/**
 * grant_table_op (public/grant_table.h): what a back end in the control domain does with granted frames. Batches of any
 * length are split so that their arguments fit the buffer.
 */
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
  GnttabSetVersion,
  GnttabUnmapGrantRef,
} from '../../../abi/grant_table.ts';
import { DOMID, HYPERCALL } from '../../../abi/xen.ts';
import type { Hypercalls } from '../hypercalls.ts';

const STATUS_NAME = new Map<number, string>(Object.entries(GNTST).map(([k, v]) => [v, k]));

/** Operations of one call: their arguments fit any buffer of 16 KiB. */
const BATCH = 256;

/** A grant operation's own status was not okay. */
export class GrantError extends Error {
  override readonly name = 'GrantError';
  /** GNTST. */
  readonly status: number;

  constructor(what: string, status: number) {
    super(`${what}: ${STATUS_NAME.get(status) ?? `status ${status}`}`);
    this.status = status;
  }
}

/** One end of a copy: a granted frame, or a frame of one's own. */
export type CopyEnd =
  | { readonly domid: number; readonly ref: number; readonly offset: number }
  | { readonly mfn: number; readonly offset: number };

export interface Copy {
  readonly source: CopyEnd;
  readonly dest: CopyEnd;
  /** Bytes; neither end may cross its page. */
  readonly length: number;
}

export interface MapRequest {
  /** Who granted. */
  readonly domid: number;
  readonly ref: number;
  /** Only to read: all that a read-only grant allows. */
  readonly readonly?: boolean;
}

export interface MapResult {
  /** GNTST; the rest holds if it is okay. */
  readonly status: number;
  /** What unmap takes. */
  readonly handle: number;
  /** Machine address of the frame. */
  readonly address: number;
}

export class GrantTableCalls {
  private readonly xen: Hypercalls;

  constructor(xen: Hypercalls) {
    this.xen = xen;
  }

  /**
   * Does `op` for each item, in calls of at most BATCH: `fill` writes an item's structure (zeros before) at a machine
   * address, `result` reads it afterwards.
   */
  private batch<T, R>(
    what: string,
    op: number,
    size: number,
    items: readonly T[],
    fill: (view: DataView, at: number, item: T) => void,
    result: (view: DataView, at: number) => R,
  ): R[] {
    const { view } = this.xen.memory;
    const results: R[] = [];
    for (let first = 0; first < items.length; first += BATCH) {
      const n = Math.min(BATCH, items.length - first);
      this.xen.scratch((s) => {
        const base = s.bytes(n * size);
        for (let i = 0; i < n; i++) fill(view, base + i * size, items[first + i]);
        this.xen.call(what, HYPERCALL.grant_table_op, op, base, n);
        for (let i = 0; i < n; i++) results.push(result(view, base + i * size));
      });
    }
    return results;
  }

  /**
   * Maps granted frames: the frame stays its owner's and can neither be freed nor become a page table until it is unmapped.
   * The status of each is its own; those that are okay stay mapped.
   */
  map(requests: readonly MapRequest[]): MapResult[] {
    const { off } = GnttabMapGrantRef;
    return this.batch(
      'grant map',
      GNTTABOP.map_grant_ref,
      GnttabMapGrantRef.size,
      requests,
      (view, at, r) => {
        view.setUint32(at + off.flags, GNTMAP.host_map | (r.readonly ? GNTMAP.readonly : 0), true);
        view.setUint32(at + off.ref, r.ref, true);
        view.setUint16(at + off.dom, r.domid, true);
      },
      (view, at) => ({
        status: view.getInt16(at + off.status, true),
        handle: view.getUint32(at + off.handle, true),
        address: Number(view.getBigUint64(at + off.dev_bus_addr, true)),
      }),
    );
  }

  /** Ends mappings by their handles. Returns the status (GNTST) of each. */
  unmap(handles: readonly number[]): number[] {
    const { off } = GnttabUnmapGrantRef;
    return this.batch(
      'grant unmap',
      GNTTABOP.unmap_grant_ref,
      GnttabUnmapGrantRef.size,
      handles,
      (view, at, handle) => view.setUint32(at + off.handle, handle, true),
      (view, at) => view.getInt16(at + off.status, true),
    );
  }

  /** Copies between granted frames and own ones. Returns the status (GNTST) of each. */
  copy(copies: readonly Copy[]): number[] {
    const { off } = GnttabCopy;
    const end = (view: DataView, at: number, e: CopyEnd, flag: number): number => {
      view.setUint16(at + GnttabCopyPtr.off.offset, e.offset, true);
      const granted = 'ref' in e;
      view.setUint32(at + GnttabCopyPtr.off.u, granted ? e.ref : e.mfn, true);
      view.setUint16(at + GnttabCopyPtr.off.domid, granted ? e.domid : DOMID.SELF, true);
      return granted ? flag : 0;
    };
    return this.batch(
      'grant copy',
      GNTTABOP.copy,
      GnttabCopy.size,
      copies,
      (view, at, c) => {
        const flags =
          end(view, at + off.source, c.source, GNTCOPY.source_gref) |
          end(view, at + off.dest, c.dest, GNTCOPY.dest_gref);
        view.setUint16(at + off.len, c.length, true);
        view.setUint16(at + off.flags, flags, true);
      },
      (view, at) => view.getInt16(at + off.status, true),
    );
  }

  /** Frames that a domain's grant table has, and may have. */
  querySize(domid: number = DOMID.SELF): { frames: number; maxFrames: number } {
    return this.xen.scratch((s) => {
      const q = s.struct(GnttabQuerySize).set('dom', domid);
      this.xen.call('grant query_size', HYPERCALL.grant_table_op, GNTTABOP.query_size, q.address, 1);
      const status = q.get('status');
      if (status !== GNTST.okay) throw new GrantError(`grant query_size of domain ${domid}`, status);
      return { frames: q.get('nr_frames'), maxFrames: q.get('max_nr_frames') };
    });
  }

  /** Chooses the version of our own table; returns the one in force. */
  setVersion(version: number): number {
    return this.xen.scratch((s) => {
      const v = s.struct(GnttabSetVersion).set('version', version);
      this.xen.call('grant set_version', HYPERCALL.grant_table_op, GNTTABOP.set_version, v.address, 1);
      return v.get('version');
    });
  }

  /** Version of a domain's table: 1 or 2. */
  getVersion(domid: number = DOMID.SELF): number {
    return this.xen.scratch((s) => {
      const v = s.struct(GnttabGetVersion).set('dom', domid);
      this.xen.call('grant get_version', HYPERCALL.grant_table_op, GNTTABOP.get_version, v.address, 1);
      return v.get('version');
    });
  }
}
