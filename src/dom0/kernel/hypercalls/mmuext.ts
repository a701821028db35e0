/** mmuext_op (public/xen.h): the operations on another domain's frames that a toolstack needs. */
import { HYPERCALL, MMUEXT, MmuextOp } from '../../../abi/xen.ts';
import type { Hypercalls } from '../hypercalls.ts';

export class MmuextCalls {
  private readonly xen: Hypercalls;

  constructor(xen: Hypercalls) {
    this.xen = xen;
  }

  private op(name: keyof typeof MMUEXT, domid: number, mfns: readonly number[]): void {
    if (mfns.length === 0) return;
    this.xen.scratch((s) => {
      const ops = s.bytes(mfns.length * MmuextOp.size);
      mfns.forEach((mfn, i) => {
        this.xen.memory
          .struct(ops + i * MmuextOp.size, MmuextOp)
          .set('cmd', MMUEXT[name])
          .set('arg1', mfn);
      });
      this.xen.call(`mmuext ${name} of domain ${domid}`, HYPERCALL.mmuext_op, ops, mfns.length, 0, domid);
    });
  }

  /** Fills frames of the domain with zeros. */
  clearPages(domid: number, mfns: readonly number[]): void {
    this.op('CLEAR_PAGE', domid, mfns);
  }

  pinL4(domid: number, mfns: readonly number[]): void {
    this.op('PIN_L4_TABLE', domid, mfns);
  }
}
