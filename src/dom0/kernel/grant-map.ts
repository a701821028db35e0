/**
 * Frames that front ends have granted to this domain, mapped: for a TypeScript domain a reference and a machine address. The
 * arguments of the hypercalls are built once, as they are on the path of every request.
 */
import { GNTMAP, GNTST, GNTTABOP, GnttabMapGrantRef, GnttabUnmapGrantRef } from '../../abi/grant_table.ts';
import { HYPERCALL } from '../../abi/xen.ts';
import { GrantError } from './hypercalls/grant-table.ts';
import type { Hypercalls } from './hypercalls.ts';
import { PAGE_SIZE } from './memory.ts';

/** Frames that are mapped or unmapped in one hypercall. */
const BATCH = 64;

/** A granted frame, until it is unmapped. */
export interface GrantedPage {
  readonly ref: number;
  readonly handle: number;
  /** Machine address and frame. */
  readonly address: number;
  readonly mfn: number;
  readonly readonly: boolean;
  /** All of it. Its bytes are the front end's too: they may change at any time. */
  readonly bytes: Buffer<SharedArrayBuffer>;
}

export interface GrantMapOptions {
  /** Domain that grants. */
  readonly domid: number;
  /** Most frames that may be mapped at once. */
  readonly limit: number;
}

/** The limit on mapped frames is reached: the front end asks for more than it may. */
export class GrantLimit extends Error {
  override readonly name = 'GrantLimit';
}

export class GrantMap {
  readonly #xen: Hypercalls;
  readonly #domid: number;
  readonly #limit: number;
  readonly #live = new Set<GrantedPage>();

  constructor(xen: Hypercalls, options: GrantMapOptions) {
    this.#xen = xen;
    this.#domid = options.domid;
    this.#limit = options.limit;
  }

  /** Frames mapped now. */
  get count(): number {
    return this.#live.size;
  }

  /**
   * Maps all of them or none. Throws GrantError if one is not granted (or not for writing, unless `readonly`), GrantLimit
   * beyond the limit. A reference may be mapped several times.
   */
  map(refs: ArrayLike<number>, readonly: boolean): GrantedPage[] {
    if (this.#live.size + refs.length > this.#limit) {
      throw new GrantLimit(`domain ${this.#domid} would have more than ${this.#limit} frames mapped`);
    }
    const pages: GrantedPage[] = [];
    try {
      for (let done = 0; done < refs.length; done += BATCH) {
        this.#mapBatch(refs, done, Math.min(BATCH, refs.length - done), readonly, pages);
      }
    } catch (e) {
      this.unmap(pages);
      throw e;
    }
    return pages;
  }

  /** Those that are mapped: the front end has them for itself again. */
  unmap(pages: readonly GrantedPage[]): void {
    const mine = pages.filter((p) => this.#live.delete(p));
    for (let done = 0; done < mine.length; done += BATCH) {
      const batch = mine.slice(done, done + BATCH);
      this.#xen.scratch((s) => {
        const { view } = this.#xen.memory;
        const at = s.bytes(batch.length * GnttabUnmapGrantRef.size);
        batch.forEach((p, i) => {
          view.setUint32(at + i * GnttabUnmapGrantRef.size + GnttabUnmapGrantRef.off.handle, p.handle, true);
        });
        this.#xen.call('grant unmap', HYPERCALL.grant_table_op, GNTTABOP.unmap_grant_ref, at, batch.length);
      });
    }
  }

  /** Everything. */
  close(): void {
    this.unmap([...this.#live]);
  }

  /** To be called after writing to a page that stays mapped: what was decoded of it as code is dropped. */
  written(page: GrantedPage): void {
    this.#xen.memory.frameWritten(page.mfn);
  }

  #mapBatch(refs: ArrayLike<number>, first: number, count: number, readonly: boolean, into: GrantedPage[]): void {
    const { memory } = this.#xen;
    const { off, size } = GnttabMapGrantRef;
    let failed: GrantError | undefined;
    this.#xen.scratch((s) => {
      const at = s.bytes(count * size);
      for (let i = 0; i < count; i++) {
        const op = at + i * size;
        memory.view.setUint32(op + off.flags, GNTMAP.host_map | (readonly ? GNTMAP.readonly : 0), true);
        memory.view.setUint32(op + off.ref, refs[first + i], true);
        memory.view.setUint16(op + off.dom, this.#domid, true);
      }
      this.#xen.call('grant map', HYPERCALL.grant_table_op, GNTTABOP.map_grant_ref, at, count);
      for (let i = 0; i < count; i++) {
        const op = at + i * size;
        const ref = refs[first + i];
        const status = memory.view.getInt16(op + off.status, true);
        if (status !== GNTST.okay) {
          failed ??= new GrantError(`mapping grant ${ref} of domain ${this.#domid}`, status);
          continue;
        }
        const address = Number(memory.view.getBigUint64(op + off.dev_bus_addr, true));
        const page: GrantedPage = {
          ref,
          handle: memory.view.getUint32(op + off.handle, true),
          address,
          mfn: address / PAGE_SIZE,
          readonly,
          bytes: Buffer.from(memory.buffer, address, PAGE_SIZE),
        };
        this.#live.add(page);
        into.push(page);
      }
    });
    if (failed) throw failed;
  }
}
