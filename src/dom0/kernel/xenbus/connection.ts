/** A ring that a front end shares, with its event channel: mapped and bound when it connects, given back when it leaves. */
import type { DriverKernel } from '../driver-kernel.ts';
import type { GrantedPage, GrantMap } from '../grant-map.ts';
import { BackRing } from '../ring.ts';

export interface RingSpec {
  /** References of the ring's pages, in order. */
  readonly refs: readonly number[];
  /** The front end's port, or the connection whose event channel this ring uses too. */
  readonly port: number | RingConnection;
  readonly entrySize: number;
  readonly journal: Uint8Array<SharedArrayBuffer>;
  readonly resume: boolean;
}

export class RingConnection {
  readonly ring: BackRing;
  readonly #kernel: DriverKernel;
  readonly #grants: GrantMap;
  readonly #pages: GrantedPage[];
  readonly #port: number;
  /** Whether the event channel is another connection's. */
  readonly #shared: boolean;

  /** Throws, with nothing held, if the front end's references or port are not what it says. */
  constructor(kernel: DriverKernel, grants: GrantMap, domid: number, spec: RingSpec) {
    this.#kernel = kernel;
    this.#grants = grants;
    this.#pages = grants.map(spec.refs, false);
    try {
      const { memory } = kernel.xen;
      this.ring = new BackRing({ ...spec, memory: memory.buffer, pages: this.#pages.map((p) => p.address) });
      // Waking the thread is all that an event is for: the ring is looked at then.
      this.#shared = typeof spec.port !== 'number';
      this.#port =
        typeof spec.port === 'number' ? kernel.events.bindInterdomain(domid, spec.port, () => {}) : spec.port.#port;
    } catch (e) {
      grants.unmap(this.#pages);
      throw e;
    }
    if (!spec.resume) return;
    this.ring.pushAll();
    this.notify();
  }

  /** Shows the front end the answers, and signals it if it asked for that. */
  push(): void {
    if (this.ring.push()) this.notify();
  }

  notify(): void {
    this.#kernel.events.notify(this.#port);
  }

  close(): void {
    this.ring.close();
    if (!this.#shared) this.#kernel.events.unbind(this.#port);
    this.#grants.unmap(this.#pages);
  }
}
