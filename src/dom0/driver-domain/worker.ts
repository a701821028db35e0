/** A driver domain's thread: its kernel, and the back ends of the devices that XenStore says it has. Never returns. */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { BACKENDS } from '../backends/backends.ts';
import { DriverKernel } from '../kernel/driver-kernel.ts';
import { BackendBus, type BackendDriver } from '../kernel/xenbus/bus.ts';
import type { DeviceMemory, FromDriver, ToDriver, WorkerStart } from './messages.ts';

const port = parentPort!;
const start = workerData as WorkerStart;
const log = (text: string) => port.postMessage({ k: 'log', text } satisfies FromDriver);
const kernel = new DriverKernel(start.kernel, log);

/** The device's memory, which was sent before its nodes were written. */
function memoryOf(device: string): DeviceMemory {
  for (let m = receiveMessageOnPort(port); m; m = receiveMessageOnPort(port)) {
    const { key, memory } = m.message as ToDriver;
    start.devices.set(key, memory);
  }
  const memory = start.devices.get(device);
  if (!memory) throw new Error(`${device} has no memory`);
  return memory;
}

const drivers: Record<string, BackendDriver> = {};
for (const [type, { create }] of Object.entries(BACKENDS)) {
  drivers[type] = (k, device) => create({ kernel: k, device, ...memoryOf(device.path), log });
}
new BackendBus(kernel, drivers).start();
kernel.loop.run();
