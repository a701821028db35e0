/**
 * Where back ends run: each device gets a driver domain of its own, unless its configuration names one (`backend=NAME`):
 * a driver domain that was made by name, or any other domain that has its own back ends.
 */
import { XenbusState } from '../../../abi/xenbus.ts';
import { BACKENDS, type BackendKind } from '../../backends/backends.ts';
import { type CounterNames, counterBytes, readCounters } from '../../backends/counters.ts';
import { DriverDomain, type DriverDomainParts } from '../../driver-domain/driver-domain.ts';
import { DriverThreads } from '../../driver-domain/threads.ts';
import { ToolstackError } from '../error.ts';
import { domainPath } from '../store.ts';
import { backendKey, backendPath, type DeviceId } from './device.ts';

export interface DriverDomainsParts extends Omit<DriverDomainParts, 'threads'> {
  /** Id of a domain that is no driver domain of ours. */
  readonly domidOf: (name: string) => number | undefined;
}

interface Placed {
  readonly domain: DriverDomain;
  readonly kind: BackendKind;
  /** Has the device a domain to itself? */
  readonly own: boolean;
  readonly counters: SharedArrayBuffer;
}

export class DriverDomains {
  readonly #parts: DriverDomainsParts;
  readonly #named = new Map<string, DriverDomain>();
  /** By path of the back end's nodes. */
  readonly #placed = new Map<string, Placed>();
  readonly #stopping = new Set<Promise<void>>();
  readonly #threads = new DriverThreads();

  constructor(parts: DriverDomainsParts) {
    this.#parts = parts;
  }

  /** Makes a driver domain that devices can name. Throws ToolstackError if the name is taken. */
  create(name: string): DriverDomain {
    if (this.#named.has(name) || this.#parts.domidOf(name) !== undefined) {
      throw new ToolstackError(`a domain of the name ${name} is there already`);
    }
    const domain = this.#make(name);
    this.#named.set(name, domain);
    return domain;
  }

  find(name: string): DriverDomain | undefined {
    return this.#named.get(name);
  }

  /** The domains that devices name. */
  list(): DriverDomain[] {
    return [...this.#named.values()];
  }

  /** Paths of the back ends of the devices that a domain has. */
  devicesOf(domain: DriverDomain): string[] {
    return [...this.#placed].filter(([, p]) => p.domain === domain).map(([path]) => path);
  }

  /** Ends a named driver domain. Throws ToolstackError if there is none, or devices use it. */
  async destroy(name: string): Promise<void> {
    const domain = this.#named.get(name);
    if (!domain) throw new ToolstackError(`there is no driver domain ${name}`);
    const devices = this.devicesOf(domain);
    if (devices.length > 0) {
      throw new ToolstackError(
        `${name} has ${devices.length} devices still: detach them first (${devices.join(', ')})`,
      );
    }
    this.#named.delete(name);
    await this.#stop(domain);
  }

  /**
   * Is `backend=` the name of a guest, whose back ends are its own? False for none, and for a driver domain of ours. Throws
   * ToolstackError if there is no such domain.
   */
  isForeign(backend: string | undefined): boolean {
    if (isControlDomain(backend) || this.#named.has(backend)) return false;
    this.#guest(backend);
    return true;
  }

  /**
   * Finds or makes the domain for a new device's back end. The caller writes the device's nodes after this. `share`: what
   * the back end needs besides (BackendContext).
   */
  place(device: Omit<DeviceId, 'backendDomid'>, backend: string | undefined, share?: unknown): DeviceId {
    const own = isControlDomain(backend);
    const named = own ? undefined : this.#named.get(backend);
    if (!own && !named) return { ...device, backendDomid: this.#guest(backend) };
    if (named?.lost) throw new ToolstackError(`backend=${backend}: ${named.lost}; destroy it and make it anew`);
    const kind = BACKENDS[device.kind];
    if (!kind) throw new ToolstackError(`there is no back end for ${device.kind} devices`);
    const domain = named ?? this.#make(`${device.kind}-${device.domid}-${device.devid}`);
    const id = { ...device, backendDomid: domain.domid };
    const counters = new SharedArrayBuffer(counterBytes(kind.counters));
    domain.addDevice(backendKey(device), { journal: new SharedArrayBuffer(kind.journalBytes), counters, share });
    this.#placed.set(backendPath(id), { domain, kind, own: !named, counters });
    return id;
  }

  /** The device has closed and its nodes are gone. */
  async release(id: DeviceId): Promise<void> {
    const placed = this.#placed.get(backendPath(id));
    if (!placed) return;
    this.#placed.delete(backendPath(id));
    placed.domain.removeDevice(backendKey(id));
    if (placed.own) await this.#stop(placed.domain);
  }

  /** The domain that runs the device's back end, if it is one of ours. */
  of(id: DeviceId): DriverDomain | undefined {
    return this.#placed.get(backendPath(id))?.domain;
  }

  /** What the device has done, by the names of its kind's counters; null if another domain serves it. */
  counters<N extends CounterNames>(id: DeviceId, names: N): Record<keyof N, number> | null {
    const placed = this.#placed.get(backendPath(id));
    return placed ? readCounters(names, placed.counters) : null;
  }

  /** Ends all of them, and waits for those that are ending. */
  async close(): Promise<void> {
    const all = new Set([...this.#named.values(), ...[...this.#placed.values()].map((p) => p.domain)]);
    this.#named.clear();
    this.#placed.clear();
    await Promise.all([...[...all].map((d) => this.#stop(d)), ...this.#stopping]);
    await this.#threads.close();
  }

  #guest(name: string): number {
    const domid = this.#parts.domidOf(name);
    if (domid === undefined) {
      throw new ToolstackError(`backend=${name}: there is no domain of that name that could serve a device`);
    }
    return domid;
  }

  #make(name: string): DriverDomain {
    const made: DriverDomain = new DriverDomain({ ...this.#parts, threads: this.#threads }, name, {
      onLost: (reason) => this.#lost(made, reason, false),
      onDead: (reason) => this.#lost(made, reason, true),
    });
    return made;
  }

  async #stop(domain: DriverDomain): Promise<void> {
    const stop = domain.stop();
    this.#stopping.add(stop);
    try {
      await stop;
    } finally {
      this.#stopping.delete(stop);
    }
  }

  /** Its back ends gave up: XenStore says why. Front ends that nobody answers any more are told that their devices closed. */
  #lost(domain: DriverDomain, reason: string, dead: boolean): void {
    const { store } = this.#parts;
    const home = domainPath(domain.domid);
    for (const [path, { domain: of, kind }] of this.#placed) {
      if (of !== domain || !path.startsWith(home) || !store.exists(`${path}/state`)) continue;
      store.write(`${path}/hotplug-error`, reason);
      if (dead || !kind.createLost) store.write(`${path}/state`, `${XenbusState.Closed}`);
    }
  }
}

/** Those whose back ends are the control domain's, as most are: they get driver domains of their own. */
function isControlDomain(backend: string | undefined): backend is undefined | '0' | 'Domain-0' {
  return backend === undefined || backend === '0' || backend === 'Domain-0';
}
