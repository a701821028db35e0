/** What domctl getdomaininfo says of a domain. */
import { DOMCTL, DOMINF, DomctlGetdomaininfo } from '../../src/abi/domctl.ts';
import type { MmMachine } from './mm-machine.ts';

export class DomainState {
  readonly flags: number;
  readonly onlineVcpus: number;

  constructor(m: MmMachine, domid: number) {
    const { rc, u } = m.domctl(DOMCTL.getdomaininfo, domid);
    if (rc !== 0) throw new Error(`getdomaininfo: ${rc}`);
    this.flags = m.view.getUint32(u + DomctlGetdomaininfo.off.flags, true);
    this.onlineVcpus = m.view.getUint32(u + DomctlGetdomaininfo.off.nr_online_vcpus, true);
  }
  get shutdown(): boolean {
    return (this.flags & DOMINF.shutdown) !== 0;
  }
  get reason(): number {
    return (this.flags >>> DOMINF.shutdownshift) & DOMINF.shutdownmask;
  }
  get paused(): boolean {
    return (this.flags & DOMINF.paused) !== 0;
  }
  get blocked(): boolean {
    return (this.flags & DOMINF.blocked) !== 0;
  }
}
