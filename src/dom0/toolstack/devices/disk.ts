/** Disks of a domain: attached, listed, changed and detached (`xl block-*`, `cd-insert`, `cd-eject`). */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { formatNames } from '../../backends/block/formats/formats.ts';
import type { XenStore } from '../../xenstored/xenstored.ts';
import { ToolstackError } from '../error.ts';
import { backendPath, type DeviceId, libxlDevicePath } from './device.ts';
import type { DriverDomains } from './driver-domains.ts';
import { SplitDevices } from './split-devices.ts';
import { vdevNumber } from './vdev.ts';
import { waitForNode } from './wait.ts';

/** What `disk = [ '…' ]` says (xl-disk-configuration.5). */
export interface DiskConfig {
  /** `xvda`, `hdc` … */
  readonly vdev: string;
  /** File or block device; empty for a CD drive without a disk. */
  readonly target: string;
  /** `raw`, `qcow2`, `vhd`. Default raw. */
  readonly format?: string;
  readonly readOnly?: boolean;
  /** A removable disk, always read-only. */
  readonly cdrom?: boolean;
  /** Name of the driver domain. Default: one of its own. */
  readonly backend?: string;
  readonly discard?: boolean;
  /** Logical sector size that the guest sees: 512 (default) or 4096. */
  readonly sectorSize?: 512 | 4096;
}

export interface Disk {
  readonly id: DeviceId;
  readonly vdev: string;
  readonly config: DiskConfig;
  /** Is its back end in a guest? `target` is that guest's then. */
  readonly foreign: boolean;
}

/** What `xl block-list` prints. */
export interface DiskStatus {
  readonly id: DeviceId;
  readonly vdev: string;
  /** XenbusState of the front end. */
  readonly state: number;
  readonly eventChannel: number;
  readonly ringRef: number;
  readonly backend: string;
}

const MEDIUM_MS = 10_000;

export class Disks {
  readonly #store: XenStore;
  readonly #drivers: DriverDomains;
  readonly #all: SplitDevices<Disk>;

  constructor(store: XenStore, drivers: DriverDomains) {
    this.#store = store;
    this.#drivers = drivers;
    this.#all = new SplitDevices('vbd', store, drivers);
  }

  /**
   * Gives the domain a disk, running or not. Resolves when the back end has opened the image; nothing remains if it throws
   * (ToolstackError for what the user can mend).
   */
  async attach(domid: number, config: DiskConfig): Promise<Disk> {
    const checked = check(config);
    const { vdev, cdrom, backend } = checked;
    const devid = vdevNumber(vdev);
    const what = `disk ${vdev}`;
    if (this.#all.has(domid, devid)) throw new ToolstackError(`${what}: domain ${domid} has one of that name already`);
    const foreign = this.#drivers.isForeign(backend);
    if (foreign && checked.format !== 'raw') {
      throw new ToolstackError(
        `${what}: format=${checked.format}: a guest’s back end serves its own block devices only`,
      );
    }
    if (!foreign) this.#checkSharing(checked);
    return await this.#all.attach({
      domid,
      devid,
      what,
      backend,
      info: (id) => ({ id, vdev, config: checked, foreign }),
      back: backNodes(checked, foreign),
      front: { 'virtual-device': `${devid}`, 'device-type': cdrom ? 'cdrom' : 'disk' },
    });
  }

  /** Takes a disk away. See closeDevice for `force`. */
  async detach(domid: number, vdev: string, options: { readonly force?: boolean } = {}): Promise<void> {
    await this.#all.detach(this.#find(domid, vdev), options.force ?? false);
  }

  /** The domain is gone, or never ran: its disks close without being asked. */
  detachAll(domid: number): Promise<void> {
    return this.#all.detachAll(domid);
  }

  /** What its disks are, as they could be attached again. */
  configs(domid: number): DiskConfig[] {
    return this.#all.infos().flatMap((d) => (d.id.domid === domid ? [d.config] : []));
  }

  list(domid: number): DiskStatus[] {
    return this.#all.list(domid).map((id) => {
      const front = (...keys: string[]) => this.#all.frontNumber(id, ...keys);
      return {
        id,
        vdev: this.#store.tryRead(`${libxlDevicePath(id)}/dev`) ?? `${id.devid}`,
        state: front('state'),
        eventChannel: front('event-channel', 'queue-0/event-channel'),
        ringRef: front('ring-ref', 'ring-ref0', 'queue-0/ring-ref', 'queue-0/ring-ref0'),
        backend: backendPath(id),
      };
    });
  }

  /** Puts another disk into a CD drive; no `target`: takes out the one that is in. */
  async changeMedium(domid: number, vdev: string, medium?: { readonly target: string; readonly format?: string }) {
    const id = this.#find(domid, vdev);
    const old = this.#all.info(id);
    if (!old?.config.cdrom) throw new ToolstackError(`${vdev} of domain ${domid} is no CD drive`);
    const config = check({ ...old.config, target: medium?.target ?? '', format: medium?.format ?? 'raw' });
    this.#checkSharing(config);
    const path = backendPath(id);
    const { params } = backNodes(config, old.foreign);
    const error = `${path}/hotplug-error`;
    if (this.#store.exists(error)) this.#store.rm(error);
    this.#store.write(`${path}/params`, params);
    const answered = await waitForNode(
      this.#store,
      path,
      MEDIUM_MS,
      () => this.#store.tryRead(`${path}/medium`) === params || this.#store.exists(error),
    );
    const why = this.#store.tryRead(error);
    if (answered && !why) {
      this.#store.write(`${libxlDevicePath(id)}/params`, params);
      this.#all.setInfo(id, { ...old, config });
      return;
    }
    this.#store.write(`${path}/params`, backNodes(old.config, old.foreign).params);
    throw new ToolstackError(`${vdev}: ${why ?? 'its back end does not answer'}`);
  }

  #find(domid: number, vdev: string): DeviceId {
    return this.#all.find(domid, vdevNumber(vdev), `disk ${vdev}`);
  }

  /** A file that somebody writes is nobody else's (Xen's block script does the same). */
  #checkSharing(config: DiskConfig): void {
    if (config.target === '') return;
    const key = fileKey(config.target);
    if (!key) return; // the back end says what is wrong
    for (const other of this.#all.infos()) {
      if (other.foreign || (config.readOnly && other.config.readOnly) || other.config.target === '') continue;
      if (fileKey(other.config.target) !== key) continue;
      throw new ToolstackError(
        `${config.target} is ${other.vdev} of domain ${other.id.domid} already; only disks that all have read-only can be shared`,
      );
    }
  }
}

function fileKey(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) return undefined;
  return stat.isBlockDevice() ? `b${stat.rdev}` : `${stat.dev}:${stat.ino}`;
}

function check(config: DiskConfig): DiskConfig {
  const format = config.format ?? 'raw';
  const cdrom = config.cdrom ?? false;
  if (!formatNames().includes(format)) {
    throw new ToolstackError(`disk ${config.vdev}: format=${format}: there are ${formatNames().join(', ')}`);
  }
  if (config.target === '' && !cdrom) throw new ToolstackError(`disk ${config.vdev}: target= is missing`);
  if (config.target.includes('\0') || config.target.includes('\n')) {
    throw new ToolstackError(`disk ${config.vdev}: target= is no file name`);
  }
  const target = config.target === '' ? '' : resolve(config.target);
  return { ...config, format, cdrom, readOnly: cdrom || (config.readOnly ?? false), target };
}

function backNodes(c: DiskConfig, foreign: boolean): Record<string, string> {
  const format = foreign ? '' : `${c.format}:`;
  return {
    params: c.target === '' ? '' : `${format}${c.target}`,
    // As libxl leaves it to the other domain to find the device's numbers.
    ...(foreign && { script: '/etc/xen/scripts/block' }),
    removable: c.cdrom ? '1' : '0',
    bootable: '1',
    dev: c.vdev,
    type: foreign ? 'phy' : 'qdisk',
    mode: c.readOnly ? 'r' : 'w',
    'device-type': c.cdrom ? 'cdrom' : 'disk',
    'discard-enable': c.discard === false ? '0' : '1',
    ...(!foreign && { 'sector-size': `${c.sectorSize ?? 512}` }),
  };
}
