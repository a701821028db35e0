import { type Command, EXIT } from '../command.ts';
import { domainTable } from '../format/domains.ts';

export const claims: Command = {
  name: 'claims',
  summary: 'List outstanding claim information about all domains',
  usage: '',
  async run({ client, print, say, conf }) {
    if (!(await conf()).claimMode) say('claim_mode not enabled (see man xl.conf).');
    const c = await client();
    for (const line of domainTable(await c.call('domain.list', {}), { claim: true })) print(line);
    return EXIT.SUCCESS;
  },
};
