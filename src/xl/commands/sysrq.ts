import { UsageError } from '../command.ts';
import { domainCommand } from '../simple.ts';

export const sysrq = domainCommand({
  name: 'sysrq',
  summary: 'Send a sysrq to a domain',
  usage: '<Domain> <letter>',
  more: 1,
  act(client, { domid }, [key]) {
    if (key.length !== 1) throw new UsageError('Invalid sysrq.\n', true);
    return client.call('domain.sysrq', { domain: domid, key });
  },
});
