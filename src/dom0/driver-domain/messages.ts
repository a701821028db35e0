/** What the control domain and a driver domain's thread say to each other besides XenStore. */
import type { DriverKernelData } from '../kernel/driver-kernel.ts';

/** Memory of a device that outlives the thread. */
export interface DeviceMemory {
  /** Journals of its rings. */
  readonly journal: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  /** What its kind of back end shares with others besides. */
  readonly share: unknown;
}

/** By device (`backend/vbd/1/51712`). */
export type DeviceMemories = Map<string, DeviceMemory>;

/** The first message to a thread. */
export interface WorkerStart {
  readonly kernel: DriverKernelData;
  readonly devices: DeviceMemories;
  /** The back ends failed too often: requests are answered with errors, and nothing else is tried. */
  readonly lost: boolean;
}

/** Sent before the device's nodes appear in XenStore. */
export interface ToDriver {
  readonly k: 'device';
  readonly key: string;
  readonly memory: DeviceMemory;
}

export type FromDriver =
  /** It has taken up the devices that there are. */
  | { readonly k: 'up' }
  /** Something that the user of the host may want to know. */
  | { readonly k: 'log'; readonly text: string };
