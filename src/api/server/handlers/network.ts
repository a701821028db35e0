import type { networkCalls } from '../../schema/network.ts';
import { domidOf, type Handlers } from './handler.ts';

export const networkHandlers: Handlers<keyof typeof networkCalls> = {
  'network.attach': async (c, { domain, nic }) => {
    const { devid } = await c.host.devices.nics.attach(domidOf(c, domain), nic);
    return { devid };
  },
  'network.detach': async (c, { domain, card, force }) => {
    await c.host.devices.nics.detach(domidOf(c, domain), card, { force });
    return {};
  },
  'network.list': (c, { domain }) =>
    c.host.devices.nics
      .list(domidOf(c, domain))
      .map(({ id, ...nic }) => ({ devid: id.devid, backendDomid: id.backendDomid, ...nic })),
};
