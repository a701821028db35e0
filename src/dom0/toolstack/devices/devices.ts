/** The split devices of all domains: one class for each kind, and the driver domains that their back ends run in. */
import { VBD_COUNTERS, VIF_COUNTERS } from '../../backends/counters.ts';
import { Networks } from '../../backends/net/networks.ts';
import { type DiskConfig, Disks } from './disk.ts';
import { DriverDomains, type DriverDomainsParts } from './driver-domains.ts';
import { type NicConfig, Nics } from './nic.ts';

/** Devices that a domain is configured with. */
export interface DeviceConfig {
  readonly disks?: readonly DiskConfig[];
  readonly nics?: readonly NicConfig[];
}

/** null where the back end is a guest's. */
export interface DeviceCounters {
  readonly vbds: { devid: number; vdev: string; counters: Record<keyof typeof VBD_COUNTERS, number> | null }[];
  readonly vifs: { devid: number; counters: Record<keyof typeof VIF_COUNTERS, number> | null }[];
}

export class Devices {
  readonly drivers: DriverDomains;
  readonly disks: Disks;
  readonly nics: Nics;
  readonly #networks: Networks;
  readonly #warn: (message: string) => void;
  /** Devices of domains that are gone, on their way out. */
  readonly #leaving = new Set<Promise<void>>();

  constructor(parts: DriverDomainsParts) {
    this.drivers = new DriverDomains(parts);
    this.disks = new Disks(parts.store, this.drivers);
    this.#networks = new Networks(parts.xen.memory.buffer, parts.warn);
    this.nics = new Nics(parts.store, this.drivers, this.#networks);
    this.#warn = parts.warn;
  }

  /**
   * Gives a new domain, which is still paused, all its devices. Those of domains that were destroyed before have let go of
   * their images then. If one cannot be attached, this throws and none is.
   */
  async attachAll(domid: number, config: DeviceConfig): Promise<void> {
    await this.settled();
    const disks = async () => {
      for (const disk of config.disks ?? []) await this.disks.attach(domid, disk);
    };
    const nics = async () => {
      for (const nic of config.nics ?? []) await this.nics.attach(domid, nic);
    };
    // Each waits for a back end to start: the two kinds do so side by side.
    const failed = (await Promise.allSettled([disks(), nics()])).find((r) => r.status === 'rejected');
    if (!failed) return;
    await this.detachAll(domid);
    throw failed.reason;
  }

  /** The domain is gone: its devices close without being asked. Never rejects; `settled` waits for it too. */
  detachAll(domid: number): Promise<void> {
    const leaving = Promise.all([this.disks.detachAll(domid), this.nics.detachAll(domid)]).then(
      () => {},
      (e) => this.#warn(`devices of domain ${domid}: ${e.message}`),
    );
    this.#leaving.add(leaving);
    void leaving.finally(() => this.#leaving.delete(leaving));
    return leaving;
  }

  /** What the domain's disks and network cards have done so far. */
  counters(domid: number): DeviceCounters {
    return {
      vbds: this.disks
        .list(domid)
        .map(({ id, vdev }) => ({ devid: id.devid, vdev, counters: this.drivers.counters(id, VBD_COUNTERS) })),
      vifs: this.nics
        .list(domid)
        .map(({ id }) => ({ devid: id.devid, counters: this.drivers.counters(id, VIF_COUNTERS) })),
    };
  }

  /** Resolves when no device is on its way out. */
  async settled(): Promise<void> {
    while (this.#leaving.size > 0) await Promise.all(this.#leaving);
  }

  /** Ends every driver domain. */
  async close(): Promise<void> {
    await this.settled();
    await this.drivers.close();
    await this.#networks.close();
  }
}
