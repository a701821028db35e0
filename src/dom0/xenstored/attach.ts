/** Reaches the ring of a domain that a program introduced (INTRODUCE over the wire): maps its page, binds its event channel. */
import type { EventChannels } from '../kernel/evtchn.ts';
import { HypercallError, type Hypercalls } from '../kernel/hypercalls.ts';
import { ForeignMapError, type ForeignMapping } from '../kernel/memory.ts';
import { XsError } from './errors.ts';
import type { RingPage } from './ring.ts';

/** EINVAL for a frame or a port that is not the domain's, as C xenstored says. */
export function attachRing(
  { xen, events }: { xen: Hypercalls; events: EventChannels },
  { domid, gfn, port, onEvent }: { domid: number; gfn: number; port: number; onEvent: () => void },
): RingPage {
  let page: ForeignMapping | undefined;
  try {
    if (gfn > 0xffff_ffff) throw new ForeignMapError(`frame 0x${gfn.toString(16)} is beyond the machine`);
    page = xen.memory.foreignMap(domid, gfn);
    const local = events.bindInterdomain(domid, port, onEvent);
    const { address, unmap } = page;
    const release = () => {
      events.unbind(local);
      unmap();
    };
    return { memory: xen.memory.buffer, address, notify: () => events.notify(local), release };
  } catch (error) {
    page?.unmap();
    if (!(error instanceof ForeignMapError || error instanceof HypercallError)) throw error;
    throw new XsError('EINVAL', error.message);
  }
}
