import type { diskCalls } from '../../schema/disk.ts';
import { domidOf, type Handlers } from './handler.ts';

export const diskHandlers: Handlers<keyof typeof diskCalls> = {
  'disk.list': (c, { domain }) =>
    c.host.devices.disks
      .list(domidOf(c, domain))
      .map(({ id: { devid, backendDomid }, ...rest }) => ({ devid, backendDomid, ...rest })),
  'disk.attach': async (c, { domain, disk }) => {
    await c.host.devices.disks.attach(domidOf(c, domain), disk);
    return {};
  },
  'disk.detach': async (c, { domain, vdev, force }) => {
    await c.host.devices.disks.detach(domidOf(c, domain), vdev, { force });
    return {};
  },
  'disk.insert': async (c, { domain, vdev, target }) => {
    await c.host.devices.disks.changeMedium(domidOf(c, domain), vdev, { target });
    return {};
  },
  'disk.eject': async (c, { domain, vdev }) => {
    await c.host.devices.disks.changeMedium(domidOf(c, domain), vdev);
    return {};
  },
};
