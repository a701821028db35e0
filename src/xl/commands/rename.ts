import { domainCommand } from '../simple.ts';

export const rename = domainCommand({
  name: 'rename',
  summary: 'Rename a domain',
  usage: '<Domain> <NewDomainName>',
  more: 1,
  act: (client, { domid }, [name]) => client.call('domain.rename', { domain: domid, name }),
});
