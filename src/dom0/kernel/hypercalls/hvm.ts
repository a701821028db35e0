/** hvm_op (public/hvm/hvm_op.h): parameters of HVM and PVH domains. */
import { HVMOP, HvmParam } from '../../../abi/hvm/hvm_op.ts';
import { HVM_PARAM } from '../../../abi/hvm/params.ts';
import { HYPERCALL } from '../../../abi/xen.ts';
import type { Hypercalls } from '../hypercalls.ts';

export type HvmParamName = keyof typeof HVM_PARAM;

export class HvmCalls {
  private readonly xen: Hypercalls;

  constructor(xen: Hypercalls) {
    this.xen = xen;
  }

  setParam(domid: number, name: HvmParamName, value: number | bigint): void {
    this.param('set_param', domid, name, value);
  }

  getParam(domid: number, name: HvmParamName): bigint {
    return this.param('get_param', domid, name, 0);
  }

  private param(op: 'set_param' | 'get_param', domid: number, name: HvmParamName, value: number | bigint): bigint {
    return this.xen.scratch((s) => {
      const a = s.struct(HvmParam).set('domid', domid).set('index', HVM_PARAM[name]).set('value', value);
      this.xen.call(`hvm_op ${op} ${name} of domain ${domid}`, HYPERCALL.hvm_op, HVMOP[op], a.address);
      return a.big('value');
    });
  }
}
