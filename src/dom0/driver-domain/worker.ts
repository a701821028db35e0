/** A driver domain's thread: its kernel, and the back ends of the devices that XenStore says it has. Never returns. */
import { parentPort, receiveMessageOnPort } from 'node:worker_threads';
import { BACKENDS } from '../backends/backends.ts';
import { DriverKernel } from '../kernel/driver-kernel.ts';
import { BackendBus, type BackendDriver } from '../kernel/xenbus/bus.ts';
import type { DeviceMemory, FromDriver, ToDriver, WorkerStart } from './messages.ts';

const port = parentPort!;
const send = (message: FromDriver) => port.postMessage(message);
const log = (text: string) => send({ k: 'log', text });

/** The device's memory, which was sent before its nodes were written. */
function memoryOf(start: WorkerStart, device: string): DeviceMemory {
  for (let m = receiveMessageOnPort(port); m; m = receiveMessageOnPort(port)) {
    const { key, memory } = m.message as ToDriver;
    start.devices.set(key, memory);
  }
  const memory = start.devices.get(device);
  if (!memory) throw new Error(`${device} has no memory`);
  return memory;
}

function run(start: WorkerStart): void {
  const kernel = new DriverKernel(start.kernel, log);
  const drivers: Record<string, BackendDriver> = {};
  for (const [type, kind] of Object.entries(BACKENDS)) {
    const create = start.lost ? kind.createLost : kind.create;
    if (!create) continue;
    drivers[type] = (k, device) => {
      const { counters, ...memory } = memoryOf(start, device.path);
      return create({ kernel: k, device, ...memory, counters: new Float64Array(counters), log });
    };
  }
  new BackendBus(kernel, drivers).start();
  send({ k: 'up' });
  kernel.loop.run();
}

port.once('message', run);
