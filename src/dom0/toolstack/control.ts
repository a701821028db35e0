/** What a guest is told from outside, besides shutdown: sysrq keys and triggers. */
import { SENDTRIGGER } from '../../abi/domctl.ts';
import { ToolstackError } from './error.ts';
import { domainPath } from './store.ts';
import type { Toolstack } from './toolstack.ts';

/** Names of xl trigger. */
export const TRIGGERS = ['nmi', 'reset', 'init', 'power', 'sleep', 's3resume'] as const;
export type Trigger = (typeof TRIGGERS)[number];

/** A magic system request: one letter, which Linux takes from XenStore. */
export function sendSysrq(toolstack: Toolstack, domid: number, key: string): void {
  toolstack.domain(domid);
  toolstack.store.write(`${domainPath(domid)}/control/sysrq`, key);
}

/** PV and PVH guests have no buttons: only an NMI reaches them. */
export function sendTrigger(toolstack: Toolstack, domid: number, trigger: Trigger, vcpu: number): void {
  const { name, config } = toolstack.domain(domid);
  const type = (config.type ?? 'pv').toUpperCase();
  if (trigger !== 'nmi') throw new ToolstackError(`domain ${name} is a ${type} guest: it takes no trigger ${trigger}`);
  if (vcpu >= toolstack.domainInfo(domid).vcpusMax) throw new ToolstackError(`domain ${name} has no vCPU ${vcpu}`);
  toolstack.xen.domctl.sendTrigger(domid, SENDTRIGGER.NMI, vcpu);
}
