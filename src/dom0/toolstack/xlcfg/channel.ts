/** `channel=` of xl.cfg(5): `name=…,connection=pty` or `name=…,connection=socket,path=…`. */
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
  const { name, connection, path, backend = '0' } = Object.fromEntries(values);
  if (!name) problem('a channel needs a name=');
  else if (connection === undefined) problem(`channel ${name} needs a connection=`);
  else if (connection !== 'pty' && connection !== 'socket') {
    problem(`connection=${connection}: pty or socket is wanted`);
  } else if (connection === 'socket' && !path) problem('connection=socket needs a path=');
  else if (connection === 'pty' && path !== undefined) problem('path= belongs to connection=socket');
  else if (backend !== '0' && backend !== 'Domain-0') problem('backend= other than Domain-0 is not supported yet');
  else return path === undefined ? { name } : { name, path };
  return undefined;
}
