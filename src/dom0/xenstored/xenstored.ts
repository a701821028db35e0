/**
 * xenstored: the store with its clients. Domains talk to it over rings (ring.ts), code in the control domain through this
 * class. Follows docs/misc/xenstore.txt and C xenstored 4.17.
 */
import { XsAccess } from './client.ts';
import { Connection, type ConnectionOptions } from './connection.ts';
import { XsError } from './errors.ts';
import type { DomainHooks } from './operations.ts';
import { formatPerm } from './perms.ts';
import type { Quota } from './quota.ts';
import { type RingPage, XenstoreRing } from './ring.ts';
import { Session } from './session.ts';
import { DOMID_MAX, Store } from './store.ts';
import { fromBytes } from './strings.ts';
import { walk } from './tree.ts';

export type { RingPage } from './ring.ts';
export { XsAccess, XsError };

export interface XenStoreOptions {
  quota?: Partial<Quota>;
  /**
   * Finds the ring page and binds the event channel for INTRODUCE requests that come over the wire. Throws XsError; the page
   * is given back through its `release`.
   */
  attach?: (domid: number, gfn: number, port: number) => RingPage;
}

export interface WatchHandle {
  close(): void;
}

/** How often `transaction` starts over before it gives up. */
const RETRIES = 100;

export class XenStore extends XsAccess {
  readonly #store: Store;
  readonly #session: Session;
  readonly #attach: XenStoreOptions['attach'];
  readonly #rings = new Map<number, { ring: XenstoreRing; connection: Connection; page: RingPage }>();
  readonly #callbacks = new Map<string, (path: string) => void>();
  #lastToken = 0;

  constructor(options: XenStoreOptions = {}) {
    const store = new Store(options.quota);
    const callbacks = new Map<string, (path: string) => void>();
    const session = new Session(store, 0, {
      relative: false,
      deliver: (path, token) => queueMicrotask(() => callbacks.get(token)?.(path)),
    });
    super(session);
    this.#store = store;
    this.#session = session;
    this.#callbacks = callbacks;
    this.#attach = options.attach;
  }

  /**
   * Calls `callback` with the changed path, never from within the operation that changed it; once right away, with
   * `path`. Special names: `@introduceDomain`, `@releaseDomain`, either with `/<domid>`.
   */
  watch(path: string, callback: (path: string) => void, depth?: number): WatchHandle {
    const token = `${this.#lastToken++}`;
    this.#session.watch(path, token, depth);
    this.#callbacks.set(token, callback);
    this.#session.deliver(path, token);
    return {
      close: () => {
        if (this.#callbacks.delete(token)) this.#session.unwatch(path, token);
      },
    };
  }

  /** Runs `body` in a transaction, again if it met a conflict. Nothing it did remains if it throws. */
  transaction<T>(body: (access: XsAccess) => T): T {
    for (let attempt = 0; ; attempt++) {
      const tx = this.#session.startTransaction();
      let result: T;
      try {
        result = body(new XsAccess(this.#session, tx));
      } catch (error) {
        this.#session.endTransaction(tx, false);
        throw error;
      }
      try {
        this.#session.endTransaction(tx, true);
        return result;
      } catch (error) {
        if (!(error instanceof XsError) || error.code !== 'EAGAIN' || attempt === RETRIES) throw error;
      }
    }
  }

  /**
   * Serves a domain over its ring from now on. For a domain already introduced, the new page replaces the old.
   * The page must stay the domain's until `release`.
   */
  introduce(domid: number, page: RingPage): void {
    if (!Number.isInteger(domid) || domid <= 0 || domid > DOMID_MAX)
      throw new XsError('EINVAL', `bad domain id ${domid}`);
    this.#disconnect(domid);
    let ring: XenstoreRing | undefined;
    const connection = this.connect(domid, {
      relative: true,
      onOutput: () => ring?.output(),
      onClose: () => ring?.close(),
    });
    ring = new XenstoreRing(page, connection);
    this.#rings.set(domid, { ring, connection, page });
    this.#store.introduce(domid);
    ring.service();
  }

  /** The domain signalled its event channel. */
  event(domid: number): void {
    this.#rings.get(domid)?.ring.service();
  }

  isIntroduced(domid: number): boolean {
    return this.#store.domain(domid)?.introduced ?? false;
  }

  /** SET_TARGET: the domain acts for another, as a device model's stub domain does. */
  setTarget(domid: number, target: number): void {
    this.#store.setTarget(domid, target);
  }

  /** The domain shut down or crashed (VIRQ_DOM_EXC): tells @releaseDomain, once. Its ring stays in service. */
  shutdown(domid: number): void {
    this.#store.shutdown(domid);
  }

  /** The domain that had shut down runs on (after a suspend that was cancelled). */
  resume(domid: number): void {
    this.#store.resume(domid);
  }

  /** The domain is gone, or is to be served no more: its ring page is not touched after this. */
  release(domid: number): void {
    const old = this.#rings.get(domid);
    this.#rings.delete(domid);
    this.#store.release(domid);
    old?.page.release?.();
  }

  /** A client on some other transport; domain 0 may do all. The transport calls `feed` and `take`. */
  connect(domid: number, options: Omit<ConnectionOptions, 'hooks'>): Connection {
    const hooks: DomainHooks = {
      introduce: (id, gfn, port) => {
        if (!this.#attach) throw new XsError('ENOSYS', 'no way to map a ring');
        this.introduce(id, this.#attach(id, gfn, port));
      },
      release: (id) => this.release(id),
    };
    return new Connection(this.#store, domid, { ...options, hooks });
  }

  /** Every node as one line, as `xenstore-ls -f -p` prints it. */
  *dump(): Generator<string> {
    for (const [path, node] of walk('/', this.#store.tree.get('/')!)) {
      if (path === '/') continue;
      yield `${path} = ${JSON.stringify(fromBytes(node.value))}   (${node.perms.map(formatPerm).join(',')})`;
    }
  }

  #disconnect(domid: number): void {
    const old = this.#rings.get(domid);
    if (!old) return;
    this.#rings.delete(domid);
    old.connection.close();
    old.page.release?.();
  }
}
