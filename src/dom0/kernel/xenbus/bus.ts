/**
 * The devices of which this domain is the back end, as the toolstack puts them below `backend` in XenStore: the counterpart
 * of Linux's xenbus_backend bus.
 */
import type { DriverKernel } from '../driver-kernel.ts';
import { type Backend, BackendDevice } from './device.ts';

/** Makes the back end of a device; throws DeviceError if its nodes do not allow it. */
export type BackendDriver = (kernel: DriverKernel, device: BackendDevice) => Backend;

/** `backend/<type>/<domid>/<handle>/<key>` */
const NODE = /^(backend\/([^/]+)\/\d+\/[^/]+)(?:\/(.+))?$/;
/** Nodes that this side writes itself. */
const OWN = new Set(['state']);

export class BackendBus {
  readonly #kernel: DriverKernel;
  readonly #drivers: Readonly<Record<string, BackendDriver>>;
  readonly #devices = new Map<string, BackendDevice>();

  /** `drivers` by type of device (`vbd`, `vif`). */
  constructor(kernel: DriverKernel, drivers: Readonly<Record<string, BackendDriver>>) {
    this.#kernel = kernel;
    this.#drivers = drivers;
  }

  start(): void {
    this.#kernel.store.watch('backend', (path) => this.#changed(path));
  }

  #changed(path: string): void {
    const match = NODE.exec(path);
    if (!match) {
      this.#rescan();
      return;
    }
    const [, node, type, key] = match;
    const device = this.#devices.get(node);
    if (!device) this.#found(node, type);
    else if (this.#kernel.store.tryRead(`${node}/frontend`) === undefined) this.#lost(node, device);
    else if (key !== undefined && !OWN.has(key)) device.changed(key);
  }

  /** The folder itself, or one of a type or domain, has changed: what there is, and what there is no more. */
  #rescan(): void {
    const { store } = this.#kernel;
    for (const [node, device] of this.#devices) {
      if (store.tryRead(`${node}/frontend`) === undefined) this.#lost(node, device);
    }
    for (const type of store.directory('backend')) {
      for (const domid of store.directory(`backend/${type}`)) {
        for (const handle of store.directory(`backend/${type}/${domid}`)) {
          this.#found(`backend/${type}/${domid}/${handle}`, type);
        }
      }
    }
  }

  #found(node: string, type: string): void {
    const driver = this.#drivers[type];
    if (!driver || this.#devices.has(node)) return;
    // The toolstack writes all nodes in one transaction; anything less is not for us.
    if (this.#kernel.store.tryRead(`${node}/frontend`) === undefined) return;
    if (this.#kernel.store.tryRead(`${node}/online`) !== '1') return;
    const device = new BackendDevice(this.#kernel, node, () => this.#devices.delete(node));
    this.#devices.set(node, device);
    device.start((d) => driver(this.#kernel, d));
  }

  #lost(node: string, device: BackendDevice): void {
    this.#devices.delete(node);
    device.remove();
  }
}
