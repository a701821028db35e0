import { consoleHandlers } from './console.ts';
import { deviceHandlers } from './device.ts';
import { diskHandlers } from './disk.ts';
import { domainHandlers } from './domain.ts';
import { driverHandlers } from './driver.ts';
import type { Handlers } from './handler.ts';
import { hostHandlers } from './host.ts';
import { networkHandlers } from './network.ts';
import { schedulerHandlers } from './scheduler.ts';
import { vcpuHandlers } from './vcpu.ts';

export const HANDLERS: Handlers = {
  ...hostHandlers,
  ...domainHandlers,
  ...vcpuHandlers,
  ...schedulerHandlers,
  ...networkHandlers,
  ...deviceHandlers,
  ...diskHandlers,
  ...driverHandlers,
  ...consoleHandlers,
};
