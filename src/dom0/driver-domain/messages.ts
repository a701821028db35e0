/** What the control domain and a driver domain's thread say to each other besides XenStore. */
import type { DriverKernelData } from '../kernel/driver-kernel.ts';

/** Memory of a device that outlives the thread. */
export interface DeviceMemory {
  /** Journals of its rings. */
  readonly journal: SharedArrayBuffer;
  /** What its kind of back end shares with others besides. */
  readonly share: unknown;
}

/** By device (`backend/vbd/1/51712`). */
export type DeviceMemories = Map<string, DeviceMemory>;

export interface WorkerStart {
  readonly kernel: DriverKernelData;
  readonly devices: DeviceMemories;
}

/** Sent before the device's nodes appear in XenStore. */
export interface ToDriver {
  readonly k: 'device';
  readonly key: string;
  readonly memory: DeviceMemory;
}

/** Something that the user of the host may want to know. */
export interface FromDriver {
  readonly k: 'log';
  readonly text: string;
}
