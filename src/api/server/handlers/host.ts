import type { hostCalls } from '../../schema/host.ts';
import { VERSION } from '../../version.ts';
import type { Handlers } from './handler.ts';

export const hostHandlers: Handlers<keyof typeof hostCalls> = {
  'host.status': ({ host, process: p }) => ({
    pid: process.pid,
    version: VERSION,
    started: p.started,
    socket: p.socket,
    memoryMiB: host.machine.frames / 256,
    pcpus: host.machine.pcpus,
    domains: host.toolstack.list().length,
    state: p.state,
  }),
  'host.stop': ({ process: p }, { timeout }) => {
    p.stop(timeout === undefined ? undefined : timeout * 1000);
    return {};
  },
};
