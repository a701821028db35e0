/** `channel=` of xl.cfg(5): `name=…,connection=pty`. */
import type { ChannelConfig } from '../../xenconsoled/channels.ts';

/** What is wrong is told to `problem`; undefined then. */
export function parseChannel(text: string, problem: (message: string) => void): ChannelConfig | undefined {
  const values = new Map<string, string>();
  for (const part of text.split(',')) {
    const [, key, value] = /^\s*(\w+)\s*=\s*(.*?)\s*$/.exec(part) ?? [];
    if (!['name', 'connection', 'path', 'backend'].includes(key)) {
      problem(`"${part.trim()}": name=, connection=, path= or backend= is wanted`);
      return undefined;
    }
    values.set(key, value);
  }
  const { name, connection, backend = '0' } = Object.fromEntries(values);
  if (!name) problem('a channel needs a name=');
  else if (connection === undefined) problem(`channel ${name} needs a connection=`);
  else if (connection === 'socket') problem('connection=socket is not supported yet; see docs/SUPPORT.md');
  else if (connection !== 'pty') problem(`connection=${connection}: pty or socket is wanted`);
  else if (values.has('path')) problem('path= belongs to connection=socket');
  else if (backend !== '0' && backend !== 'Domain-0') problem('backend= other than Domain-0 is not supported yet');
  else return { name };
  return undefined;
}
