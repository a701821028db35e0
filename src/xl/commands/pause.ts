import { domainCommand } from '../simple.ts';

export const pause = domainCommand({
  name: 'pause',
  summary: 'Pause execution of a domain',
  usage: '<Domain>',
  act: (client, { domid }) => client.call('domain.pause', { domain: domid }),
});
