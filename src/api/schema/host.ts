/** Calls about the host as a whole. */
import { z } from 'zod';
import { call } from './call.ts';

export const HostStatus = z.strictObject({
  pid: z.int(),
  version: z.string(),
  /** ms since 1970. */
  started: z.number(),
  socket: z.string(),
  memoryMiB: z.int(),
  pcpus: z.int(),
  domains: z.int().describe('guests, the control domain not counted'),
  state: z.enum(['running', 'stopping', 'failed']),
});

export const hostCalls = {
  'host.status': call({ summary: 'what host this is', params: z.strictObject({}), result: HostStatus }),
  'host.stop': call({
    summary: 'shuts all guests down, then ends the host; answers at once, and the event stream ends when it is done',
    params: z.strictObject({
      timeout: z.number().min(0).max(3600).optional().describe('seconds that guests get to shut down in'),
    }),
    result: z.strictObject({}),
  }),
};
