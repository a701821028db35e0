import { type Command, EXIT } from '../command.ts';
import { findDomain } from '../domain.ts';

const two = (n: number) => `${n}`.padStart(2, '0');

/** `1 day,  2:03:04`; without seconds in the short form. */
function formatUptime(seconds: number, short: boolean): string {
  const days = Math.floor(seconds / 86400);
  const hours = Math.floor((seconds % 86400) / 3600);
  const rest = `${`${hours}`.padStart(2)}:${two(Math.floor((seconds % 3600) / 60))}${short ? '' : `:${two(seconds % 60)}`}`;
  return days === 0 ? rest : `${days} day${days > 1 ? 's' : ''}, ${rest}`;
}

export const uptime: Command = {
  name: 'uptime',
  summary: 'Print uptime for all/some domains',
  usage: '[-s] [Domain]',
  options: [{ short: 's', help: 'Short form' }],
  async run({ client, print }, { positionals, has }) {
    const c = await client();
    const short = has('s');
    const domains = positionals.length
      ? await Promise.all(positionals.map((word) => findDomain(c, word)))
      : await c.call('domain.list', {});
    const now = new Date();
    if (!short) print(`${'Name'.padEnd(33)} ${'ID'.padStart(4)} Uptime`);
    for (const { domid, name, startTime } of domains) {
      const up = formatUptime(Math.max(0, Math.floor(now.getTime() / 1000 - startTime)), short);
      if (short) print(` ${now.toTimeString().slice(0, 8)} up ${up}, ${name} (${domid})`);
      else print(`${name.padEnd(33)} ${`${domid}`.padStart(4)} ${up}`);
    }
    return EXIT.SUCCESS;
  },
};
