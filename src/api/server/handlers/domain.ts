import { dumpCore } from '../../../dom0/toolstack/core/dump-core.ts';
import { ToolstackError } from '../../../dom0/toolstack/error.ts';
import { retrieveSpec } from '../../../dom0/toolstack/retrieve.ts';
import type { domainCalls } from '../../schema/domain.ts';
import type { CallContext, Handlers } from './handler.ts';

/** A guest; the control domain cannot be changed by these calls. */
const guest = ({ host }: CallContext, which: number | string) => host.toolstack.domain(which);

export const domainHandlers: Handlers<keyof typeof domainCalls> = {
  'domain.list': ({ host }) => host.toolstack.domainInfos(),
  'domain.info': ({ host }, { domain }) => host.toolstack.domainInfo(domain),
  'domain.create': async ({ host, progress }, { config, paused, monitor }) => {
    const { domid, name, uuid } = await host.guests.create(config, { paused, monitor, progress });
    return { domid, name, uuid };
  },
  'domain.config': (context, { domain }) => {
    const found = guest(context, domain);
    const spec = retrieveSpec(context.host.toolstack, found);
    if (!spec) throw new ToolstackError(`domain ${found.name} was not made from a configuration`);
    return spec;
  },
  'domain.updateConfig': (context, { domain, config }) => {
    context.host.guests.updateConfig(guest(context, domain), config);
    return {};
  },
  'domain.destroy': async (context, { domain }) => {
    guest(context, domain).destroy();
    // Its disks are another's to open then.
    await context.host.devices.settled();
    return {};
  },
  'domain.pause': (context, { domain }) => {
    guest(context, domain).pause();
    return {};
  },
  'domain.unpause': (context, { domain }) => {
    guest(context, domain).unpause();
    return {};
  },
  'domain.shutdown': (context, { domain, how }) => {
    guest(context, domain).requestShutdown(how);
    return {};
  },
  'domain.dumpCore': async (context, { domain, file }) => ({
    bytes: await dumpCore(context.host.xen, guest(context, domain), file, context.progress),
  }),
  'domain.debug': async (context, { domain, at }) => {
    const where = typeof at === 'number' ? { port: at } : { path: at };
    return { address: (await context.host.debug(guest(context, domain), where)).address };
  },
  'domain.rename': (context, { domain, name }) => {
    guest(context, domain).rename(name);
    return {};
  },
};
