/** The kinds of back ends, one row each, by the type of device that XenStore names (`backend/<type>/…`). */
import type { DriverKernel } from '../kernel/driver-kernel.ts';
import type { Backend, BackendDevice } from '../kernel/xenbus/device.ts';
import { vbd } from './block/block.ts';
import type { CounterNames, Counters } from './counters.ts';
import { vif } from './net/net.ts';

export interface BackendContext {
  readonly kernel: DriverKernel;
  readonly device: BackendDevice;
  /** Memory for the rings' journals, of `journalBytes`; what a killed thread left is still in it. */
  readonly journal: SharedArrayBuffer;
  /** Of `kind.counters`, for others to read. */
  readonly counters: Counters;
  /** What else the toolstack gives the devices of this kind (VifShare). */
  readonly share: unknown;
  /** Tells the user of the host. */
  readonly log: (text: string) => void;
}

export interface BackendKind {
  readonly journalBytes: number;
  readonly counters: CounterNames;
  /** Throws DeviceError if the device's nodes do not allow it. */
  create(context: BackendContext): Backend;
  /**
   * The same of a device whose back end failed too often: it answers every request with an error, and touches nothing of the
   * host. Without it such a device is closed.
   */
  createLost?(context: BackendContext): Backend;
}

export const BACKENDS: Readonly<Record<string, BackendKind>> = { vbd, vif };
