/**
 * The frames that a back end has mapped of one front end's grants, never more than a limit. Two kinds of use:
 *
 * - `map` and `unmap`: for one request.
 * - `acquire` and `release`: mappings that stay for later requests with the same reference (blkif's persistent grants);
 *   those unused for longest go when the limit asks for it.
 *
 * A front end can have no mapping kept from it but by granting it, and its crash or destruction leaves the frames in
 * place until `close`: so a page may be read and written for as long as it is held, whatever the other side does. Its
 * contents may change at any time: copy first, then look.
 */
import { GNTST } from '../../abi/grant_table.ts';
import { GrantError } from './hypercalls/grant-table.ts';
import type { Hypercalls } from './hypercalls.ts';
import { PAGE_SHIFT } from './memory.ts';

/** A granted frame that is mapped. */
export interface GrantedPage {
  readonly ref: number;
  readonly readonly: boolean;
  /** Machine address; good until the page is unmapped or released. */
  readonly address: number;
}

interface Mapping extends GrantedPage {
  readonly handle: number;
  /** Requests that use it now. */
  users: number;
}

/** A front end's requests need more pages at once than the back end allows it. */
export class GrantLimitError extends Error {
  override readonly name = 'GrantLimitError';
}

export class GrantMap {
  readonly domid: number;
  /** Pages mapped at once, of both kinds together. */
  readonly limit: number;
  private readonly xen: Hypercalls;
  /** Mappings for one request. */
  private readonly mapped = new Set<Mapping>();
  /** Mappings that stay, by reference; least recently used first. */
  private readonly kept = new Map<number, Mapping>();

  constructor(xen: Hypercalls, domid: number, limit: number) {
    this.xen = xen;
    this.domid = domid;
    this.limit = limit;
  }

  /** Pages that are mapped now. */
  get size(): number {
    return this.mapped.size + this.kept.size;
  }

  /** Maps all of `refs`, or none: GrantError if one is not granted so, GrantLimitError if they are too many. */
  map(refs: readonly number[], readonly = false): GrantedPage[] {
    this.makeRoom(refs.length);
    const pages = this.mapAll(refs, readonly);
    for (const p of pages) this.mapped.add(p);
    return pages;
  }

  /** Ends mappings that `map` made. */
  unmap(pages: readonly GrantedPage[]): void {
    const mine = (pages as readonly Mapping[]).filter((p) => this.mapped.delete(p));
    this.end(mine);
  }

  /** As `map`, but mappings that are there are used again, and they stay after `release`. */
  acquire(refs: readonly number[], readonly = false): GrantedPage[] {
    const usable = (ref: number) => {
      const m = this.kept.get(ref);
      return m !== undefined && (readonly || !m.readonly) ? m : undefined;
    };
    const missing = [...new Set(refs.filter((ref) => !usable(ref)))];
    // One that is mapped to be read only, and now wanted to be written: it goes, unless it is in use.
    const narrow = missing.map((ref) => this.kept.get(ref)).filter((m) => m !== undefined);
    if (narrow.some((m) => m.users > 0))
      throw new GrantLimitError('a page in use as read-only is wanted to be written');
    for (const m of narrow) this.kept.delete(m.ref);
    this.end(narrow);
    const present = refs.map(usable).filter((m) => m !== undefined);
    // Held already, so that making room does not take them.
    for (const m of present) m.users++;
    try {
      this.makeRoom(missing.length);
      for (const m of this.mapAll(missing, readonly)) this.kept.set(m.ref, m);
    } finally {
      for (const m of present) m.users--;
    }
    return refs.map((ref) => {
      const m = this.kept.get(ref) as Mapping;
      this.kept.delete(ref);
      this.kept.set(ref, m);
      m.users++;
      return m;
    });
  }

  /** Ends a use that `acquire` began. */
  release(pages: readonly GrantedPage[]): void {
    for (const p of pages as readonly Mapping[]) {
      if (p.users === 0) throw new RangeError(`grant ${p.ref} of domain ${this.domid} was released before`);
      p.users--;
      // It may hold code that the guest will run.
      if (!p.readonly) this.xen.memory.frameWritten(p.address >>> PAGE_SHIFT);
    }
  }

  /** Ends all mappings; nothing may use them any more. */
  close(): void {
    const all = [...this.mapped, ...this.kept.values()];
    this.mapped.clear();
    this.kept.clear();
    this.end(all);
  }

  private makeRoom(n: number): void {
    const over = this.size + n - this.limit;
    if (over <= 0) return;
    const unused = [...this.kept.values()].filter((m) => m.users === 0).slice(0, over);
    if (unused.length < over)
      throw new GrantLimitError(`domain ${this.domid} wants more than ${this.limit} pages mapped at once`);
    for (const m of unused) this.kept.delete(m.ref);
    this.end(unused);
  }

  private mapAll(refs: readonly number[], readonly: boolean): Mapping[] {
    const results = this.xen.grant.map(refs.map((ref) => ({ domid: this.domid, ref, readonly })));
    const pages = results.flatMap((r, i): Mapping[] =>
      r.status === GNTST.okay ? [{ ref: refs[i], readonly, address: r.address, handle: r.handle, users: 0 }] : [],
    );
    const failed = results.findIndex((r) => r.status !== GNTST.okay);
    if (failed < 0) return pages;
    this.end(pages);
    throw new GrantError(`mapping grant ${refs[failed]} of domain ${this.domid}`, results[failed].status);
  }

  private end(pages: readonly Mapping[]): void {
    const failed = this.xen.grant.unmap(pages.map((p) => p.handle)).find((s) => s !== GNTST.okay);
    // The handles are ours: this is a fault of our own.
    if (failed !== undefined) throw new GrantError(`unmapping grants of domain ${this.domid}`, failed);
  }
}
