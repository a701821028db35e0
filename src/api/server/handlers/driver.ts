import type { driverCalls } from '../../schema/driver.ts';
import type { Handlers } from './handler.ts';

export const driverHandlers: Handlers<keyof typeof driverCalls> = {
  'driver.create': (c, { name }) => ({ domid: c.host.devices.drivers.create(name).domid }),
  'driver.destroy': async (c, { name }) => {
    await c.host.devices.drivers.destroy(name);
    return {};
  },
  'driver.list': (c) => {
    const { drivers } = c.host.devices;
    return drivers.list().map((d) => ({
      name: d.name,
      domid: d.domid,
      devices: drivers.devicesOf(d),
      restarts: d.restarts,
      lost: d.lost,
    }));
  },
};
