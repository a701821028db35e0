/** What the control domain and a driver domain's thread say to each other besides XenStore. */
import type { DriverKernelData } from '../kernel/driver-kernel.ts';

/** Journals of rings by device (`backend/vbd/1/51712`): memory that outlives the thread. */
export type Journals = Map<string, SharedArrayBuffer>;

export interface WorkerStart {
  readonly kernel: DriverKernelData;
  readonly journals: Journals;
}

/** Sent before the device's nodes appear in XenStore. */
export interface ToDriver {
  readonly k: 'journal';
  readonly key: string;
  readonly journal: SharedArrayBuffer;
}

/** Something that the user of the host may want to know. */
export interface FromDriver {
  readonly k: 'log';
  readonly text: string;
}
