/** A ring that a front end shares, with its event channel: mapped and bound when it connects, given back when it leaves. */
import type { DriverKernel } from '../driver-kernel.ts';
import type { GrantedPage, GrantMap } from '../grant-map.ts';
import { BackRing } from '../ring.ts';

export interface RingSpec {
  /** References of the ring's pages, in order, and the front end's port. */
  readonly refs: readonly number[];
  readonly port: number;
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

  /** Throws, with nothing held, if the front end's references or port are not what it says. */
  constructor(kernel: DriverKernel, grants: GrantMap, domid: number, spec: RingSpec) {
    this.#kernel = kernel;
    this.#grants = grants;
    this.#pages = grants.map(spec.refs, false);
    try {
      const { memory } = kernel.xen;
      this.ring = new BackRing({ ...spec, memory: memory.buffer, pages: this.#pages.map((p) => p.address) });
      // Waking the thread is all that an event is for: the ring is looked at then.
      this.#port = kernel.events.bindInterdomain(domid, spec.port, () => {});
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
    this.#kernel.events.unbind(this.#port);
    this.#grants.unmap(this.#pages);
  }
}
