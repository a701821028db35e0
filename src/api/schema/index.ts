/** Every call of the control API. Server, client and the OpenAPI description are made from this table. */
import type { z } from 'zod';
import { consoleCalls } from './console.ts';
import { deviceCalls } from './device.ts';
import { diskCalls } from './disk.ts';
import { domainCalls } from './domain.ts';
import { driverCalls } from './driver.ts';
import { hostCalls } from './host.ts';
import { networkCalls } from './network.ts';
import { schedulerCalls } from './scheduler.ts';
import { vcpuCalls } from './vcpu.ts';

export const CALLS = {
  ...hostCalls,
  ...domainCalls,
  ...vcpuCalls,
  ...schedulerCalls,
  ...consoleCalls,
  ...deviceCalls,
  ...diskCalls,
  ...networkCalls,
  ...driverCalls,
};

export type CallName = keyof typeof CALLS;
/** As a client writes them, and as the server sees them with their defaults. */
export type ParamsIn<N extends CallName> = z.input<(typeof CALLS)[N]['params']>;
export type Params<N extends CallName> = z.output<(typeof CALLS)[N]['params']>;
export type Result<N extends CallName> = z.output<(typeof CALLS)[N]['result']>;

/** Path prefix of this version of the API. */
export const API_PREFIX = '/v1/';
export const callPath = (name: CallName) => `${API_PREFIX}${name.replace('.', '/')}`;
export const EVENTS_PATH = `${API_PREFIX}events`;
/** Health, figures for Prometheus, the description: plain GETs. */
export const HEALTH_PATH = '/health';
export const METRICS_PATH = '/metrics';
export const OPENAPI_PATH = `${API_PREFIX}openapi.json`;
export const CONSOLE_PATH = `${API_PREFIX}console`;
/** Protocol that a console's connection is upgraded to: plain bytes both ways. */
export const CONSOLE_PROTOCOL = 'xenolith-console';

/** What a failed call answers: `{ "error": … }`. */
export interface ApiErrorBody {
  /** `usage`: wrong parameters; `not-found`; `refused`: it cannot be done now; `hypervisor`; `internal`. */
  readonly kind: 'usage' | 'not-found' | 'refused' | 'hypervisor' | 'internal';
  readonly message: string;
  /** Name of the error number, where the hypervisor gave one. */
  readonly errno?: string;
  /** What is wrong with parameters, by path. */
  readonly problems?: readonly { readonly key: string; readonly message: string }[];
}
