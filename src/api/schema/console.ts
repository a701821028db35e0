/** Calls about consoles. Their bytes are streams: CONSOLE_PATH. */
import { z } from 'zod';
import { call } from './call.ts';
import { Which } from './domain.ts';

export const ConsoleEntry = z.strictObject({
  number: z.int().describe('0 is the first'),
  name: z.string().describe('that of the channel; empty for the first console'),
  connected: z.boolean().describe('the guest’s driver has it'),
  connection: z.enum(['pty', 'socket']).describe('what reaches it from outside'),
  path: z.string().nullable().describe('of its socket; a channel with a pty has none'),
  tty: z.string().nullable().describe('path of its pty, where there are ptys'),
  state: z.int().describe('XenbusState of the front end; the first console is no such device: 4'),
  eventChannel: z.int().describe('-1: not connected'),
  ringRef: z.int().describe('-1: not connected'),
});

export const consoleCalls = {
  'console.list': call({
    summary: 'the consoles of a guest: the first, and its channels',
    params: z.strictObject({ domain: Which }),
    result: z.array(ConsoleEntry),
  }),
};
