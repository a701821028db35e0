/** The devices of one kind, of all domains: how they come and go, whatever they are. */
import type { XenStore } from '../../xenstored/xenstored.ts';
import { ToolstackError } from '../error.ts';
import {
  backendPath,
  backendReady,
  closeDevice,
  type DeviceId,
  frontendPath,
  libxlDevicePath,
  listDevices,
  type Nodes,
  removeDevice,
  writeDevice,
} from './device.ts';
import type { DriverDomains } from './driver-domains.ts';

/** A device that is to be. */
export interface NewDevice<Info> {
  readonly domid: number;
  readonly devid: number;
  /** What it is to the user, as `disk xvda`. */
  readonly what: string;
  /** As `backend=`. */
  readonly backend: string | undefined;
  /** What the back end needs besides its nodes (BackendContext). */
  readonly share?: unknown;
  readonly info: (id: DeviceId) => Info;
  /** Nodes of its kind. */
  readonly back: Nodes;
  readonly front: Nodes;
  /** Undoes what was done for it before; called once, when its back end is gone or never was. */
  readonly release?: () => Promise<void>;
}

interface Attached<Info> {
  readonly id: DeviceId;
  info: Info;
  readonly release: () => Promise<void>;
}

export class SplitDevices<Info> {
  readonly #kind: string;
  readonly #store: XenStore;
  readonly #drivers: DriverDomains;
  readonly #attached = new Map<string, Attached<Info>>();

  constructor(kind: string, store: XenStore, drivers: DriverDomains) {
    this.#kind = kind;
    this.#store = store;
    this.#drivers = drivers;
  }

  has(domid: number, devid: number): boolean {
    return this.#store.exists(libxlDevicePath({ kind: this.#kind, domid, devid }));
  }

  /** All that were attached here, with what `info` made of them. */
  infos(): Info[] {
    return [...this.#attached.values()].map((a) => a.info);
  }

  info(id: DeviceId): Info | undefined {
    return this.#attached.get(backendPath(id))?.info;
  }

  setInfo(id: DeviceId, info: Info): void {
    const attached = this.#attached.get(backendPath(id));
    if (attached) attached.info = info;
  }

  /** Resolves when the back end is ready. Nothing remains if it throws (ToolstackError for what the user can mend). */
  async attach(device: NewDevice<Info>): Promise<Info> {
    const { domid, devid, release = async () => {} } = device;
    let id: DeviceId;
    try {
      id = this.#drivers.place({ kind: this.#kind, domid, devid }, device.backend, device.share);
    } catch (e) {
      await release();
      throw e;
    }
    const attached = { id, info: device.info(id), release };
    this.#attached.set(backendPath(id), attached);
    try {
      writeDevice(this.#store, id, device.back, device.front);
      await backendReady(this.#store, id, device.what);
      return attached.info;
    } catch (e) {
      removeDevice(this.#store, id);
      await this.#released(id);
      throw e;
    }
  }

  /** Takes a device away. See closeDevice for `force`. */
  async detach(id: DeviceId, force: boolean): Promise<void> {
    await closeDevice(this.#store, id, force);
    await this.#released(id);
  }

  /** The domain is gone, or never ran: its devices close without being asked. */
  async detachAll(domid: number): Promise<void> {
    const mine = [...this.#attached.values()].filter((a) => a.id.domid === domid);
    await Promise.all(
      mine.map(async ({ id }) => {
        if (this.#store.exists(frontendPath(id))) this.#store.rm(frontendPath(id));
        await this.detach(id, true);
      }),
    );
  }

  /** The domain's devices, from the toolstack's own nodes. */
  list(domid: number): DeviceId[] {
    return listDevices(this.#store, this.#kind, domid);
  }

  /** Throws ToolstackError if the domain has none of the number; `what` says what to call it. */
  find(domid: number, devid: number, what: string): DeviceId {
    const id = this.list(domid).find((d) => d.devid === devid);
    if (!id) throw new ToolstackError(`domain ${domid} has no ${what}`);
    return id;
  }

  /** A node of the front end's. */
  front(id: DeviceId, key: string): string | undefined {
    return this.#store.tryRead(`${frontendPath(id)}/${key}`);
  }

  /** The first of these nodes of the front end's that is there, as a number; -1: none. */
  frontNumber(id: DeviceId, ...keys: string[]): number {
    return Number(keys.map((key) => this.front(id, key)).find((value) => value !== undefined) ?? -1);
  }

  async #released(id: DeviceId): Promise<void> {
    const path = backendPath(id);
    const attached = this.#attached.get(path);
    await this.#drivers.release(id);
    // Until now it counts: its image is still open, its port taken.
    this.#attached.delete(path);
    await attached?.release();
  }
}
