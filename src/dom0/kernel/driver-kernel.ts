/** The kernel of a driver domain: what a back end needs of hypercalls, events, XenStore and time, on the domain's thread. */
import { type DomainThreadData, enterHypervisor } from '../../machine/domain-thread.ts';
import { EventLoop } from './event-loop.ts';
import { EventChannels } from './evtchn.ts';
import { Hypercalls } from './hypercalls.ts';
import { XsClient } from './xs-client.ts';

/** What the control domain tells a driver domain's thread. Machine addresses. */
export interface DriverKernelData {
  readonly thread: DomainThreadData;
  readonly domid: number;
  readonly sharedInfo: number;
  /** Memory for hypercall arguments. */
  readonly buffer: { readonly address: number; readonly size: number };
  /** Ring page to xenstored, and our port of its event channel. */
  readonly store: { readonly address: number; readonly port: number };
}

export class DriverKernel {
  readonly domid: number;
  readonly xen: Hypercalls;
  readonly events: EventChannels;
  readonly store: XsClient;
  readonly loop: EventLoop;

  /** Enters the hypervisor; once on a thread. */
  constructor(data: DriverKernelData, log: (text: string) => void) {
    const port = enterHypervisor(data.thread, log);
    const wakeWord = (port.hypervisor.wake_word as () => number)() >>> 0;
    const wakeLater = (port.hypervisor.wake_later as () => number)() >>> 0;
    this.domid = data.domid;
    this.xen = new Hypercalls(port, data.buffer);
    const { memory } = this.xen;
    this.events = new EventChannels(this.xen, { sharedInfo: data.sharedInfo, wakeWord }, (e) => {
      throw e;
    });
    this.loop = new EventLoop(memory, this.events, { wakeWord, wakeLater });
    this.store = new XsClient({
      memory: memory.buffer,
      address: data.store.address,
      notify: () => this.events.notify(data.store.port),
      wakeCount: () => this.loop.wakeCount,
      expect: () => this.events.expect(data.store.port),
      sleep: (seen, ms) => this.loop.waitFor(seen, ms),
    });
    this.loop.add(this.store);
  }
}
