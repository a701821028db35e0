/** grant_table_op (public/grant_table.h): what a back end in the control domain does with granted frames. */
import {
  GNTCOPY,
  GNTST,
  GNTTABOP,
  GnttabCopy,
  GnttabCopyPtr,
  GnttabQuerySize,
  GnttabSetVersion,
} from '../../../abi/grant_table.ts';
import { DOMID, HYPERCALL } from '../../../abi/xen.ts';
import type { Hypercalls } from '../hypercalls.ts';

const STATUS_NAME = new Map<number, string>(Object.entries(GNTST).map(([k, v]) => [v, k]));

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

export class GrantTableCalls {
  private readonly xen: Hypercalls;

  constructor(xen: Hypercalls) {
    this.xen = xen;
  }

  /** Copies between granted frames and own ones. Returns the status (GNTST) of each. */
  copy(copies: readonly Copy[]): number[] {
    return this.xen.scratch((s) => {
      const at = s.bytes(copies.length * GnttabCopy.size);
      const ops = copies.map((_, i) => this.xen.memory.struct(at + i * GnttabCopy.size, GnttabCopy));
      copies.forEach((c, i) => {
        let flags = 0;
        for (const [name, end, flag] of [
          ['source', c.source, GNTCOPY.source_gref],
          ['dest', c.dest, GNTCOPY.dest_gref],
        ] as const) {
          const p = ops[i].nested(name, GnttabCopyPtr).set('offset', end.offset);
          if ('ref' in end) {
            flags |= flag;
            p.set('domid', end.domid).set('u', end.ref);
          } else p.set('domid', DOMID.SELF).set('u', end.mfn);
        }
        ops[i].set('len', c.length).set('flags', flags);
      });
      this.xen.call('grant copy', HYPERCALL.grant_table_op, GNTTABOP.copy, at, copies.length);
      return ops.map((o) => o.get('status'));
    });
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
}
