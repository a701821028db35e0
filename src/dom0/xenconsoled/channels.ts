/**
 * Consoles besides a domain's first (`channel=` in xl.cfg): split devices `console` with a ring that the guest grants
 * (public/io/console.h, "secondary consoles"; Linux: /dev/hvc1 and so on). Each has a log of its own, and a pty or a socket.
 */
import { XenbusState } from '../../abi/xenbus.ts';
import type { EventChannels } from '../kernel/evtchn.ts';
import { GrantMap } from '../kernel/grant-map.ts';
import type { Hypercalls } from '../kernel/hypercalls.ts';
import { backendPath, type DeviceId, frontendPath, type Nodes, writeDevice } from '../toolstack/devices/device.ts';
import type { WatchHandle, XenStore } from '../xenstored/xenstored.ts';
import type { Console } from './console.ts';
import { CONSOLE_LIMIT } from './limits.ts';
import type { ConsolePage } from './ring.ts';

/** Names its console for those who look for it, in the guest and outside. */
export interface ChannelConfig {
  readonly name: string;
  /** Of a Unix socket that its console is reached by (connection=socket); without it is by a pty. */
  readonly path?: string;
}

/** Linux's driver tells them apart by the last digit of their number; 0 is the first console. */
export const MAX_CHANNELS = 9;

export interface ChannelParts {
  readonly xen: Hypercalls;
  readonly events: EventChannels;
  readonly store: XenStore;
}

/** Where a channel's console is served while the guest has it connected; `tty` is told the path of its pty. */
export interface Served {
  readonly console: Console;
  readonly tty: string | undefined;
  close(): void;
}
export type Serve = (page: ConsolePage) => Served;

export class Channel {
  readonly id: DeviceId;
  readonly name: string;
  /** Of its socket; undefined: it has a pty. */
  readonly path: string | undefined;
  readonly #parts: ChannelParts;
  readonly #serve: Serve;
  readonly #grants: GrantMap;
  readonly #watch: WatchHandle;
  #connected: { served: Served; port: number } | undefined;
  #state: number = XenbusState.Initialising;

  /** Writes the device's nodes, and waits for the guest's driver. */
  constructor(parts: ChannelParts, id: DeviceId, config: ChannelConfig, serve: Serve) {
    this.id = id;
    this.name = config.name;
    this.path = config.path;
    this.#parts = parts;
    this.#serve = serve;
    this.#grants = new GrantMap(parts.xen, { domid: id.domid, limit: 1 });
    const { name, path } = config;
    const connection: Nodes = path === undefined ? { connection: 'pty' } : { connection: 'socket', path };
    const output = path === undefined ? 'pty' : `chardev:libxl-channel${id.devid}`;
    const back = { protocol: 'vt100', name, ...connection };
    const front = { protocol: 'vt100', limit: `${CONSOLE_LIMIT}`, type: 'xenconsoled', output, tty: '' };
    writeDevice(parts.store, id, back, front);
    this.#setState(XenbusState.InitWait);
    this.#watch = parts.store.watch(`${frontendPath(id)}/state`, () => this.#frontChanged());
  }

  /** undefined: the guest has not connected it. */
  get console(): Console | undefined {
    return this.#connected?.served.console;
  }

  /** To be called while the domain is still there: its page is given back. */
  close(): void {
    this.#watch.close();
    this.#disconnect();
  }

  #frontChanged(): void {
    const state = Number(this.#front('state') ?? XenbusState.Closed);
    switch (state) {
      case XenbusState.Initialising:
        if (this.#state === XenbusState.Closed) this.#setState(XenbusState.InitWait);
        break;
      case XenbusState.Initialised:
      case XenbusState.Connected:
        if (this.#state === XenbusState.InitWait) this.#connect();
        break;
      case XenbusState.Closing:
      case XenbusState.Closed:
        this.#disconnect();
        this.#setState(state);
        break;
    }
  }

  #connect(): void {
    const { xen, events } = this.#parts;
    const ref = this.#number('ring-ref', 0xffff_ffff);
    const remote = this.#number('port', 0xffff_ffff);
    try {
      if (ref === undefined || remote === undefined) throw new Error('ring-ref or port is no number');
      const [page] = this.#grants.map([ref], false);
      const port = events.bindInterdomain(this.id.domid, remote, () => this.#connected?.served.console.event());
      const { address } = page;
      const served = this.#serve({ memory: xen.memory.buffer, address, notify: () => events.notify(port) });
      this.#connected = { served, port };
      if (served.tty !== undefined) this.#parts.store.write(`${frontendPath(this.id)}/tty`, served.tty);
      this.#setState(XenbusState.Connected);
      served.console.event();
    } catch (error) {
      // What the guest wrote is not what it has: it may try again.
      this.#grants.close();
      xen.consoleWrite(`console ${this.id.devid} of domain ${this.id.domid}: ${(error as Error).message}\n`);
      this.#setState(XenbusState.Closed);
    }
  }

  #disconnect(): void {
    const connected = this.#connected;
    if (!connected) return;
    this.#connected = undefined;
    connected.served.close();
    try {
      this.#parts.events.unbind(connected.port);
    } finally {
      this.#grants.close();
    }
  }

  #front(key: string): string | undefined {
    return this.#parts.store.tryRead(`${frontendPath(this.id)}/${key}`);
  }

  #number(key: string, max: number): number | undefined {
    const text = this.#front(key) ?? '';
    return /^\d{1,10}$/.test(text) && Number(text) <= max ? Number(text) : undefined;
  }

  #setState(state: number): void {
    this.#state = state;
    this.#parts.store.write(`${backendPath(this.id)}/state`, `${state}`);
  }
}
