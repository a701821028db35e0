/** dom0's kernel: hypercalls and events for the thread that is domain 0. */
import { EventChannels } from './evtchn.ts';
import { Hypercalls } from './hypercalls.ts';
import type { HypervisorPort } from './memory.ts';

export interface Dom0Kernel {
  readonly xen: Hypercalls;
  readonly events: EventChannels;
}

/** Events are delivered from `events.start()` on. */
export function createDom0Kernel(port: HypervisorPort, onError?: (error: unknown) => void): Dom0Kernel {
  const xen = new Hypercalls(port);
  const self = xen.domctl.getDomainInfo(0);
  const wakeWord = port.hypervisor.wake_word?.() ?? 0;
  if (!self || wakeWord === 0) throw new Error('the hypervisor has no domain 0 for this thread');
  const handledWord = port.hypervisor.wake_handled?.();
  const sharedInfo = Number(self.sharedInfoFrame) * 4096;
  return { xen, events: new EventChannels(xen, { sharedInfo, wakeWord: wakeWord >>> 0, handledWord }, onError) };
}
