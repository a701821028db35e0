/** sched_op (public/sched.h). */
import { SCHEDOP, SchedRemoteShutdown } from '../../../abi/sched.ts';
import { HYPERCALL } from '../../../abi/xen.ts';
import type { Hypercalls } from '../hypercalls.ts';

export class SchedCalls {
  private readonly xen: Hypercalls;

  constructor(xen: Hypercalls) {
    this.xen = xen;
  }

  /** Stops a domain as if it had called shutdown itself (SHUTDOWN). */
  remoteShutdown(domid: number, reason: number): void {
    this.xen.scratch((s) => {
      const a = s.struct(SchedRemoteShutdown).set('domain_id', domid).set('reason', reason);
      this.xen.call(`remote_shutdown of domain ${domid}`, HYPERCALL.sched_op, SCHEDOP.remote_shutdown, a.address);
    });
  }
}
