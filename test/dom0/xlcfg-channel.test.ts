/** channel= of xl.cfg. */
import { expect, it } from 'vitest';
import { parseChannel } from '../../src/dom0/toolstack/xlcfg/channel.ts';

const parse = (text: string) => {
  const problems: string[] = [];
  return parseChannel(text, (m) => problems.push(m)) ?? problems;
};

it('names a console with a pty or a socket', () => {
  expect(parse('name=org.example.agent,connection=pty')).toEqual({ name: 'org.example.agent' });
  expect(parse('name=a,connection=socket,path=/run/a.sock')).toEqual({ name: 'a', path: '/run/a.sock' });
  expect(parse(' connection = pty , name = a , backend=0')).toEqual({ name: 'a' });
});

it.each([
  ['connection=pty', 'needs a name'],
  ['name=a', 'needs a connection'],
  ['name=a,connection=socket', 'needs a path'],
  ['name=a,connection=socket,path=', 'needs a path'],
  ['name=a,connection=tcp', 'pty or socket is wanted'],
  ['name=a,connection=pty,path=/x', 'belongs to connection=socket'],
  ['name=a,connection=pty,backend=other', 'not supported yet'],
  ['name=a,colour=red', '"colour=red"'],
  ['', '""'],
])('refuses %j', (text, why) => {
  expect(parse(text)).toEqual([expect.stringContaining(why)]);
});
