/** event_channel_op (public/event_channel.h). evtchn.ts delivers events. */
import {
  EVTCHNOP,
  EvtchnAllocUnbound,
  EvtchnBindInterdomain,
  EvtchnBindVirq,
  EvtchnClose,
  EvtchnSend,
  EvtchnStatus,
  EvtchnUnmask,
} from '../../../abi/event_channel.ts';
import type { Struct } from '../../../abi/layout.ts';
import { DOMID, HYPERCALL } from '../../../abi/xen.ts';
import type { Hypercalls } from '../hypercalls.ts';
import type { StructView } from '../memory.ts';

export interface ChannelStatus {
  /** EVTCHNSTAT. */
  readonly status: number;
  readonly vcpu: number;
  /** Of unbound and interdomain channels. */
  readonly remoteDomain: number;
  /** Of interdomain channels; for VIRQs the number. */
  readonly remotePort: number;
}

export class EventChannelCalls {
  private readonly xen: Hypercalls;

  constructor(xen: Hypercalls) {
    this.xen = xen;
  }

  private op<N extends string, T = void>(
    name: keyof typeof EVTCHNOP,
    arg: Struct<N>,
    fill: (a: StructView<N>) => void,
    result?: (a: StructView<N>) => T,
  ): T {
    return this.xen.scratch((s) => {
      const a = s.struct(arg);
      fill(a);
      this.xen.call(`event channel ${name}`, HYPERCALL.event_channel_op, EVTCHNOP[name], a.address);
      return result?.(a) as T;
    });
  }

  /** A port of `domid` that `remote` may bind to. */
  allocUnbound(domid: number, remote: number): number {
    return this.op(
      'alloc_unbound',
      EvtchnAllocUnbound,
      (a) => a.set('dom', domid).set('remote_dom', remote),
      (a) => a.get('port'),
    );
  }

  /** Our end of another domain's unbound port. */
  bindInterdomain(remote: number, remotePort: number): number {
    return this.op(
      'bind_interdomain',
      EvtchnBindInterdomain,
      (a) => a.set('remote_dom', remote).set('remote_port', remotePort),
      (a) => a.get('local_port'),
    );
  }

  bindVirq(virq: number, vcpu = 0): number {
    return this.op(
      'bind_virq',
      EvtchnBindVirq,
      (a) => a.set('virq', virq).set('vcpu', vcpu),
      (a) => a.get('port'),
    );
  }

  close(port: number): void {
    this.op('close', EvtchnClose, (a) => a.set('port', port));
  }

  send(port: number): void {
    this.op('send', EvtchnSend, (a) => a.set('port', port));
  }

  unmask(port: number): void {
    this.op('unmask', EvtchnUnmask, (a) => a.set('port', port));
  }

  status(port: number, domid: number = DOMID.SELF): ChannelStatus {
    return this.op(
      'status',
      EvtchnStatus,
      (a) => a.set('dom', domid).set('port', port),
      (a) => ({
        status: a.get('status'),
        vcpu: a.get('vcpu'),
        remoteDomain: this.xen.memory.view.getUint16(a.at('u'), true),
        remotePort: this.xen.memory.view.getUint32(a.at('u') + 4, true),
      }),
    );
  }
}
