import { sendSysrq, sendTrigger } from '../../../dom0/toolstack/control.ts';
import { setMemoryMax, setMemoryTarget } from '../../../dom0/toolstack/memory.ts';
import { listVcpus, pinVcpu, setVcpusOnline } from '../../../dom0/toolstack/vcpus.ts';
import type { vcpuCalls } from '../../schema/vcpu.ts';
import { domidOf, type Handlers } from './handler.ts';

export const vcpuHandlers: Handlers<keyof typeof vcpuCalls> = {
  'vcpu.list': (c, { domain }) =>
    listVcpus(c.host.toolstack, domidOf(c, domain)).map((v) => ({ ...v, hard: [...v.hard], soft: [...v.soft] })),
  'vcpu.pin': (c, { domain, vcpu, ...affinity }) => {
    pinVcpu(c.host.toolstack, domidOf(c, domain), vcpu, affinity);
    return {};
  },
  'vcpu.set': (c, { domain, count }) => {
    setVcpusOnline(c.host.toolstack, domidOf(c, domain), count);
    return {};
  },
  'memory.setTarget': (c, { domain, kib }) => {
    setMemoryTarget(c.host.toolstack, domidOf(c, domain), kib);
    return {};
  },
  'memory.setMax': (c, { domain, kib }) => {
    setMemoryMax(c.host.toolstack, domidOf(c, domain), kib);
    return {};
  },
  'domain.sysrq': (c, { domain, key }) => {
    sendSysrq(c.host.toolstack, domidOf(c, domain), key);
    return {};
  },
  'domain.trigger': (c, { domain, trigger, vcpu }) => {
    sendTrigger(c.host.toolstack, domidOf(c, domain), trigger, vcpu);
    return {};
  },
};
