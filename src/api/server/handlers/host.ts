import { hostInfo } from '../../../dom0/toolstack/host-info.ts';
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
  'host.info': ({ host }) => hostInfo(host.toolstack),
  'host.dmesg': ({ host }, { clear }) => ({ text: host.xen.sysctl.readConsole(clear) }),
  'host.debugKeys': ({ host }, { keys }) => {
    host.xen.sysctl.debugKeys(keys);
    return {};
  },
  'host.stop': ({ process: p }, { timeout }) => {
    p.stop(timeout === undefined ? undefined : timeout * 1000);
    return {};
  },
};
