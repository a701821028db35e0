import type { deviceCalls } from '../../schema/device.ts';
import type { Handlers } from './handler.ts';

export const deviceHandlers: Handlers<keyof typeof deviceCalls> = {
  'device.counters': ({ host }) =>
    host.toolstack.domainInfos().map(({ domid }) => ({ domid, ...host.devices.counters(domid) })),
};
