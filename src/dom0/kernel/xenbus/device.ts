/**
 * One device of which this domain is the back end: its nodes in XenStore and the handshake of states
 * (public/io/xenbus.h; Linux's drivers/xen/xenbus and the back ends there are what front ends expect).
 *
 *     back end: Initialising → InitWait ─────────────→ Connected → Closing → Closed (→ InitWait again, or gone)
 *     front end: Initialising ────→ Initialised or Connected ────→ Closing → Closed (→ Initialising)
 */
import { XenbusState } from '../../../abi/xenbus.ts';
import type { DriverKernel } from '../driver-kernel.ts';
import type { StoreWatch, XsClient } from '../xs-client.ts';

/** The front end wrote what no front end may, or its toolstack did: the message says what. Ends the connection. */
export class DeviceError extends Error {
  override readonly name = 'DeviceError';
}

/** What a kind of device does in each step. Whatever throws ends the connection of this device, and nothing else. */
export interface Backend {
  /** Nodes that the front end reads before it connects. */
  readonly features: Readonly<Record<string, string>>;
  /**
   * The front end has written its nodes. `resume`: it was connected to a thread that was killed. Returns nodes for the
   * front end to read once the state is Connected.
   */
  connect(front: FrontNodes, resume: boolean): Readonly<Record<string, string>>;
  /** The front end is leaving, or broke something. Also called when there is no connection. */
  disconnect(): void;
  /** The toolstack changed `key` below the back end's own node. Returns nodes to publish, if it matters. */
  changed?(key: string): Readonly<Record<string, string>> | undefined;
  /** The device goes away; follows disconnect. */
  close(): void;
}

/** The front end's nodes, each checked as it is read. */
export class FrontNodes {
  readonly domid: number;
  readonly #store: XsClient;
  readonly #path: string;

  constructor(store: XsClient, path: string, domid: number) {
    this.#store = store;
    this.#path = path;
    this.domid = domid;
  }

  text(key: string): string | undefined {
    return this.#store.tryRead(`${this.#path}/${key}`);
  }

  /** A whole number from `min` to `max`; `missing` if there is no such node. */
  number(key: string, min: number, max: number, missing?: number): number {
    const text = this.text(key);
    if (text === undefined && missing !== undefined) return missing;
    const n = text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (n >= min && n <= max) return n;
    const what = text === undefined ? 'missing' : `"${text.slice(0, 40)}"`;
    throw new DeviceError(`the front end’s ${key} is ${what}: a number from ${min} to ${max} is needed`);
  }

  flag(key: string): boolean {
    return this.number(key, 0, 1, 0) === 1;
  }

  /** Calls back now and whenever the front end changes the node. To be closed with the connection. */
  watch(key: string, changed: () => void): StoreWatch {
    return this.#store.watch(`${this.#path}/${key}`, changed);
  }
}

const stateOf = (text: string | undefined): number => {
  const n = text !== undefined && /^\d$/.test(text) ? Number(text) : XenbusState.Unknown;
  return n <= XenbusState.Reconfigured ? n : XenbusState.Unknown;
};

export class BackendDevice {
  /** `backend/<type>/<front end's domid>/<handle>`, relative to the domain's home. */
  readonly path: string;
  readonly frontDomid: number;
  readonly #kernel: DriverKernel;
  readonly #front: string;
  readonly #gone: () => void;
  #backend: Backend | undefined;
  #state: number = XenbusState.Unknown;
  #watch: StoreWatch | undefined;

  /** `gone` is called when the device has closed for good. Throws DeviceError for nodes that make no sense. */
  constructor(kernel: DriverKernel, path: string, gone: () => void) {
    this.#kernel = kernel;
    this.path = path;
    this.#gone = gone;
    const front = this.text('frontend');
    const domid = this.text('frontend-id');
    if (!front?.startsWith('/') || !domid || !/^\d{1,5}$/.test(domid)) {
      throw new DeviceError(`${path}: frontend or frontend-id is missing`);
    }
    this.#front = front;
    this.frontDomid = Number(domid);
  }

  /** A node of the back end's own, as the toolstack wrote it. */
  text(key: string): string | undefined {
    return this.#kernel.store.tryRead(`${this.path}/${key}`);
  }

  get connected(): boolean {
    return this.#state === XenbusState.Connected;
  }

  /** Begins the handshake, or takes up one that a killed thread left. */
  start(make: (device: BackendDevice) => Backend): void {
    const before = stateOf(this.text('state'));
    this.#run(() => {
      this.#backend = make(this);
      if (before === XenbusState.Connected && this.#frontState() === XenbusState.Connected) {
        this.#connect(true);
      } else if (before === XenbusState.Closing || before === XenbusState.Closed) {
        this.#setState(before);
      } else {
        this.#publish(this.#backend.features, XenbusState.InitWait);
      }
    });
    if (!this.#backend) return;
    this.#watch = this.#kernel.store.watch(`${this.#front}/state`, () => this.#frontChanged());
  }

  /** The toolstack changed a node of ours. */
  changed(key: string): void {
    this.#run(() => {
      const nodes = this.#backend?.changed?.(key);
      if (nodes) this.#publish(nodes, this.#state);
    });
  }

  /** Nodes that the front end may have read are others now: one that is connected looks again when the state is written. */
  update(nodes: Readonly<Record<string, string>>): void {
    this.#run(() => this.#publish(nodes, this.#state));
  }

  /** The toolstack removed our nodes: no front end is asked. */
  remove(): void {
    this.#watch?.close();
    this.#watch = undefined;
    this.#backend?.disconnect();
    this.#backend?.close();
    this.#backend = undefined;
  }

  /** Ends the connection because of something the front end did; it may connect again. */
  fail(error: unknown): void {
    const message = error instanceof Error ? error.message : `${error}`;
    this.#backend?.disconnect();
    const { store } = this.#kernel;
    store.write(`error/${this.path}/error`, message);
    // One that never began is the toolstack's concern.
    if (!this.#backend) store.write(`${this.path}/hotplug-error`, message);
    this.#kernel.xen.consoleWrite(`${this.path}: ${message}\n`);
    this.#setState(XenbusState.Closing);
  }

  #frontState(): number {
    return stateOf(this.#kernel.store.tryRead(`${this.#front}/state`));
  }

  #frontChanged(): void {
    this.#run(() => {
      switch (this.#frontState()) {
        case XenbusState.Initialising:
          if (this.#state === XenbusState.Closed && this.#backend) {
            this.#publish(this.#backend.features, XenbusState.InitWait);
          }
          break;
        case XenbusState.Initialised:
        case XenbusState.Connected:
          if (this.#state === XenbusState.InitWait) this.#connect(false);
          break;
        case XenbusState.Closing:
          this.#backend?.disconnect();
          if (this.#state !== XenbusState.Closed) this.#setState(XenbusState.Closing);
          break;
        case XenbusState.Closed:
          this.#closed();
          break;
        case XenbusState.Unknown:
          // The front end's nodes are gone.
          this.#closed();
          break;
      }
    });
  }

  #closed(): void {
    this.#backend?.disconnect();
    // In the beginning there is a front end that has not started.
    if (this.#state === XenbusState.InitWait && this.#online()) return;
    if (this.#state !== XenbusState.Closed) this.#setState(XenbusState.Closed);
    if (this.#online()) return;
    this.remove();
    this.#gone();
  }

  #online(): boolean {
    return this.text('online') === '1';
  }

  #connect(resume: boolean): void {
    const front = new FrontNodes(this.#kernel.store, this.#front, this.frontDomid);
    const nodes = this.#backend!.connect(front, resume);
    this.#publish(nodes, XenbusState.Connected);
  }

  #publish(nodes: Readonly<Record<string, string>>, state: number): void {
    this.#kernel.store.transaction((tx) => {
      for (const [key, value] of Object.entries(nodes)) this.#kernel.store.write(`${this.path}/${key}`, value, tx);
    });
    this.#setState(state);
  }

  #setState(state: number): void {
    this.#state = state;
    this.#kernel.store.write(`${this.path}/state`, `${state}`);
  }

  /** Runs a step of the handshake; what it throws is this device's own trouble. */
  #run(step: () => void): void {
    try {
      step();
    } catch (e) {
      this.fail(e);
    }
  }
}
