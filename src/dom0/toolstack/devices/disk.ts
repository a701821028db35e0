/** Disks of a domain: attached, listed, changed and detached (`xl block-*`, `cd-insert`, `cd-eject`). */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { formatNames } from '../../backends/block/formats/formats.ts';
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
  removeDevice,
  writeDevice,
} from './device.ts';
import type { DriverDomains } from './driver-domains.ts';
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

const KIND = 'vbd';
const MEDIUM_MS = 10_000;

export class Disks {
  readonly #store: XenStore;
  readonly #drivers: DriverDomains;
  readonly #disks = new Map<string, Disk>();

  constructor(store: XenStore, drivers: DriverDomains) {
    this.#store = store;
    this.#drivers = drivers;
  }

  /**
   * Gives the domain a disk, running or not. Resolves when the back end has opened the image; nothing remains if it throws
   * (ToolstackError for what the user can mend).
   */
  async attach(domid: number, config: DiskConfig): Promise<Disk> {
    const checked = check(config);
    const devid = vdevNumber(checked.vdev);
    const name = `disk ${checked.vdev}`;
    if (this.#store.exists(libxlDevicePath({ kind: KIND, domid, devid }))) {
      throw new ToolstackError(`${name}: domain ${domid} has one of that name already`);
    }
    this.#checkSharing(checked);
    const id = this.#drivers.place({ kind: KIND, domid, devid }, checked.backend);
    const disk: Disk = { id, vdev: checked.vdev, config: checked };
    this.#disks.set(backendPath(id), disk);
    try {
      writeDevice(this.#store, id, backNodes(checked), {
        'virtual-device': `${devid}`,
        'device-type': checked.cdrom ? 'cdrom' : 'disk',
      });
      await backendReady(this.#store, id, name);
      return disk;
    } catch (e) {
      removeDevice(this.#store, id);
      await this.#released(id);
      throw e;
    }
  }

  /** Takes a disk away. See closeDevice for `force`. */
  async detach(domid: number, vdev: string, options: { readonly force?: boolean } = {}): Promise<void> {
    const id = this.#find(domid, vdev);
    await closeDevice(this.#store, id, options.force ?? false);
    await this.#released(id);
  }

  /** The domain is gone, or never ran: its disks close without being asked. */
  async detachAll(domid: number): Promise<void> {
    await Promise.all(
      [...this.#disks.values()]
        .filter((d) => d.id.domid === domid)
        .map(async ({ id }) => {
          if (this.#store.exists(frontendPath(id))) this.#store.rm(frontendPath(id));
          await closeDevice(this.#store, id, true);
          await this.#released(id);
        }),
    );
  }

  list(domid: number): DiskStatus[] {
    return listDevices(this.#store, KIND, domid).map((id) => {
      const front = (key: string) => Number(this.#store.tryRead(`${frontendPath(id)}/${key}`) ?? -1);
      return {
        id,
        vdev: this.#store.tryRead(`${libxlDevicePath(id)}/dev`) ?? `${id.devid}`,
        state: front('state'),
        eventChannel: front('event-channel'),
        ringRef: front('ring-ref'),
        backend: backendPath(id),
      };
    });
  }

  /** Puts another disk into a CD drive; no `target`: takes out the one that is in. */
  async changeMedium(domid: number, vdev: string, medium?: { readonly target: string; readonly format?: string }) {
    const id = this.#find(domid, vdev);
    const old = this.#disks.get(backendPath(id));
    if (!old?.config.cdrom) throw new ToolstackError(`${vdev} of domain ${domid} is no CD drive`);
    const config = check({ ...old.config, target: medium?.target ?? '', format: medium?.format ?? 'raw' });
    this.#checkSharing(config);
    const path = backendPath(id);
    const { params } = backNodes(config);
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
      this.#disks.set(path, { ...old, config });
      return;
    }
    this.#store.write(`${path}/params`, backNodes(old.config).params);
    throw new ToolstackError(`${vdev}: ${why ?? 'its back end does not answer'}`);
  }

  #find(domid: number, vdev: string): DeviceId {
    const devid = vdevNumber(vdev);
    const id = listDevices(this.#store, KIND, domid).find((d) => d.devid === devid);
    if (!id) throw new ToolstackError(`domain ${domid} has no disk ${vdev}`);
    return id;
  }

  async #released(id: DeviceId): Promise<void> {
    await this.#drivers.release(id);
    this.#disks.delete(backendPath(id));
  }

  /** A file that somebody writes is nobody else's (Xen's block script does the same). */
  #checkSharing(config: DiskConfig): void {
    if (config.target === '') return;
    const key = fileKey(config.target);
    if (!key) return; // the back end says what is wrong
    for (const other of this.#disks.values()) {
      if ((config.readOnly && other.config.readOnly) || other.config.target === '') continue;
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

function backNodes(c: DiskConfig): Record<string, string> {
  return {
    params: c.target === '' ? '' : `${c.format}:${c.target}`,
    removable: c.cdrom ? '1' : '0',
    bootable: '1',
    dev: c.vdev,
    type: 'qdisk',
    mode: c.readOnly ? 'r' : 'w',
    'device-type': c.cdrom ? 'cdrom' : 'disk',
    'discard-enable': c.discard === false ? '0' : '1',
    'sector-size': `${c.sectorSize ?? 512}`,
  };
}
