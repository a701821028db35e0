import { domainCommand } from '../simple.ts';

export const unpause = domainCommand({
  name: 'unpause',
  summary: 'Unpause a paused domain',
  usage: '<Domain>',
  act: (client, { domid }) => client.call('domain.unpause', { domain: domid }),
});
